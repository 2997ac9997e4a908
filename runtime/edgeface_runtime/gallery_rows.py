"""The rows of a gallery: what is written into its tables and read out of them, plain. `gallery_sealed` encrypts.

Every method runs within its caller's lock, and those that write within its transaction.
"""

from __future__ import annotations

import sqlite3
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from edgeface_runtime.errors import InputError
from edgeface_runtime.gallery_erasures import mark_erased
from edgeface_runtime.gallery_layout import ENCRYPTED_BY
from edgeface_runtime.gallery_results import person_name

__all__ = ["ENCRYPTED_BY", "REFUSAL", "NewRows", "Rows", "Stored", "ordered"]

REFUSAL = "the gallery is encrypted"
"""What its triggers say to whoever writes plain templates."""


@dataclass(frozen=True)
class NewRows:
    """Templates to write, one a row."""

    names: Sequence[str]
    templates: Sequence[bytes]
    sources: Sequence[str]
    created: str
    features: Sequence[bytes] | None = None
    """None where the gallery keeps none."""

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Name, template, source and, where there are, features of each."""
        parts = (self.names, self.templates, self.sources)
        return zip(*(parts if self.features is None else (*parts, self.features)), strict=True)

    def columns(self) -> str:
        """Names of the columns after `name`, in that order."""
        return "template, source" if self.features is None else "template, source, features"


class Stored(NamedTuple):
    """A row that was read."""

    id: int
    name: str
    blob: object
    """The column that was asked for; bytes unless the file is damaged."""


class Rows:
    """Plain rows of the gallery at `path`."""

    encrypted = False

    def __init__(self, path: Path) -> None:
        self.path = path

    def check(self, connection: sqlite3.Connection) -> None:
        """Raise InputError where another process has changed the gallery's key since it was opened."""
        if self._key_id(connection) is not None:
            raise InputError(f"gallery {self.path} was encrypted by another process: open it again with the key")

    def _key_id(self, connection: sqlite3.Connection) -> str | None:
        row = connection.execute("SELECT value FROM meta WHERE key = ?", (ENCRYPTED_BY,)).fetchone()
        return None if row is None else str(row[0])

    def forget(self) -> None:
        """Keep no secret of people in memory."""

    def insert(self, connection: sqlite3.Connection, new: NewRows) -> int:
        """Write rows; the first one's id, those after it follow on."""
        self.check(connection)
        values = [(new.created, *row) for row in new.rows()]
        marks = ", ".join("?" * len(values[0]))
        connection.executemany(f"INSERT INTO templates (created, name, {new.columns()}) VALUES ({marks})", values)
        # AUTOINCREMENT within one transaction: consecutive.
        last = int(connection.execute("SELECT last_insert_rowid()").fetchone()[0])
        return last - len(values) + 1

    def owner(self, connection: sqlite3.Connection, row_id: int) -> str | None:
        """Whose a template is, None where there is no such row."""
        self.check(connection)
        row = connection.execute("SELECT name FROM templates WHERE id = ?", (row_id,)).fetchone()
        return None if row is None else str(row[0])

    def update(self, connection: sqlite3.Connection, row_id: int, new: NewRows) -> None:
        """Write another template into a row; `new` has one, of the row's own person."""
        _, *columns = next(new.rows())
        self.write(connection, row_id, new, columns)

    def write(self, connection: sqlite3.Connection, row_id: int, new: NewRows, columns: Sequence[object]) -> None:
        """Write a row's columns as they are to lie in the file."""
        assignments = ", ".join(f"{name} = ?" for name in new.columns().split(", "))
        connection.execute(
            f"UPDATE templates SET {assignments}, created = ? WHERE id = ?", (*columns, new.created, row_id)
        )

    def delete(self, connection: sqlite3.Connection, name: str) -> int:
        """Delete a person's rows; how many there were."""
        self.check(connection)
        # Galleries of earlier versions keep names as they were typed.
        spellings = (person_name(name), unicodedata.normalize("NFD", person_name(name)), name)
        removed = connection.execute("DELETE FROM templates WHERE name IN (?, ?, ?)", spellings).rowcount
        if removed:
            mark_erased(connection, person_name(name))
        return removed

    def people(self, connection: sqlite3.Connection) -> list[tuple[str, int]]:
        """Names, sorted, and how many templates each has."""
        self.check(connection)
        return connection.execute("SELECT name, COUNT(*) FROM templates GROUP BY name ORDER BY name").fetchall()

    def read(
        self,
        connection: sqlite3.Connection,
        where: str = "",
        values: Sequence[object] = (),
        *,
        column: str = "template",
        page: int = 4096,
    ) -> Iterator[list[Stored]]:
        """Rows in pages, ordered by id; without `where` all of them, a person's one after the other.

        Args:
            where: a condition on `templates.id`.
            values: its values.
            column: template, source or features.
            page: rows in memory at once.
        """
        self.check(connection)
        cursor = connection.execute(
            f"SELECT templates.id, templates.name, templates.{column} FROM templates {ordered(where)}", tuple(values)
        )
        while rows := cursor.fetchmany(page):
            yield [Stored(*row) for row in rows]


def ordered(where: str) -> str:
    """The end of `Rows.read`'s statement."""
    return f"WHERE {where} ORDER BY templates.id" if where else "ORDER BY templates.name, templates.id"
