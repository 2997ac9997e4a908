"""The rows of an encrypted gallery: `templates` holds ciphertext and stands for people by random names of theirs.

`people` has a row a person: `person`, as `templates.name` has it; `lookup`, what a name is found by; `key`, the
person's key, wrapped; `name`, encrypted. Whoever deletes this row has made the person's templates unreadable.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.gallery_cipher import EXTRA_BYTES, Cipher, PersonKey, TamperedError, padded, unpadded
from edgeface_runtime.gallery_erasures import mark_erased
from edgeface_runtime.gallery_layout import last_id, meta_value, seal
from edgeface_runtime.gallery_results import person_name
from edgeface_runtime.gallery_rows import REFUSAL, NewRows, Rows, Stored, ordered

__all__ = ["PEOPLE", "SealedRows", "guard"]

PEOPLE = (
    "CREATE TABLE people (id INTEGER PRIMARY KEY AUTOINCREMENT, person TEXT NOT NULL UNIQUE, "
    "lookup BLOB NOT NULL UNIQUE, key BLOB NOT NULL, name BLOB NOT NULL, checksum BLOB)"
)
# Whoever does not know of encryption, such as a process that had the gallery open before, must not write into it.
GUARDED = {"plain_insert_refused": "INSERT", "plain_update_refused": "UPDATE OF template"}
GUARD = (
    "CREATE TRIGGER {0} BEFORE {1} ON templates WHEN length(new.template) <> {2} "
    f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
)
KEPT_KEYS = 1024
"""Keys of people in memory while rows are read."""


def guard(connection: sqlite3.Connection) -> None:
    """Have the database refuse plain templates."""
    size = int(meta_value(connection, "embedding_size"))
    for name, event in GUARDED.items():
        connection.execute(GUARD.format(name, event, 4 * size + EXTRA_BYTES))


class SealedRows(Rows):
    """Encrypted rows, as `Rows`."""

    encrypted = True

    def __init__(self, path: Path, cipher: Cipher) -> None:
        super().__init__(path)
        self.cipher = cipher
        self._keys: dict[tuple[object, ...], tuple[PersonKey, str]] = {}

    def unguard(self, connection: sqlite3.Connection) -> None:
        """Have it take them again."""
        for name in GUARDED:
            connection.execute(f"DROP TRIGGER {name}")

    def check(self, connection: sqlite3.Connection) -> None:
        """Raise InputError where another process has changed the gallery's key since it was opened."""
        if self._key_id(connection) != self.cipher.key_id:
            raise InputError(f"the key of gallery {self.path} was changed by another process: open it again")

    def forget(self) -> None:
        """Keep no person's key in memory."""
        self._keys.clear()

    def insert(self, connection: sqlite3.Connection, new: NewRows) -> int:
        """Write rows; the first one's id, those after it follow on."""
        self.check(connection)
        first = last_id(connection) + 1
        known = int(connection.execute("SELECT COALESCE(MAX(id), 0) FROM people").fetchone()[0])
        owners: dict[str, PersonKey] = {}
        values: list[tuple[object, ...]] = []
        for k, (name, *columns) in enumerate(new.rows()):
            owner = owners.get(name)
            if owner is None:
                owner = owners[name] = self.enrolled(connection, name)
            values.append(
                (first + k, owner.person, new.created, *self.sealed(owner, first + k, new.created, *columns))
            )
        marks = ", ".join("?" * len(values[0]))
        connection.executemany(f"INSERT INTO templates (id, name, created, {new.columns()}) VALUES ({marks})", values)
        seal(connection, "people", known + 1)
        return first

    def enrolled(self, connection: sqlite3.Connection, name: str) -> PersonKey:
        """The key of that person, who is made where there is none."""
        lookup = self.cipher.lookup(name)
        row = connection.execute(
            "SELECT person, lookup, key, name FROM people WHERE lookup = ?", (lookup,)
        ).fetchone()
        if row is not None:
            return self.person(*row)[0]
        owner, wrapped = self.cipher.new_person(lookup)
        connection.execute(
            "INSERT INTO people (person, lookup, key, name) VALUES (?, ?, ?, ?)",
            (owner.person, lookup, wrapped, owner.seal("name", "", padded(name))),
        )
        return owner

    def person(self, person: object, lookup: object, wrapped: object, name: object) -> tuple[PersonKey, str]:
        """Key and name of a row of `people`.

        Raises:
            ArtefactError: the row was changed.
        """
        row = (person, lookup, wrapped, name)
        found = self._keys.get(row)
        if found is None:
            try:
                owner = self.cipher.person(str(person), lookup, wrapped)
                found = owner, unpadded(owner.open("name", "", name))
            except TamperedError as exc:
                raise self._altered(f"the row of person {str(person)[:12]}") from exc
            if len(self._keys) >= KEPT_KEYS:
                self._keys.clear()
            self._keys[row] = found
        return found

    def people_row(self, connection: sqlite3.Connection, person: str, row_id: int) -> tuple[object, ...]:
        """The row of `people` that a template's `name` stands for."""
        statement = "SELECT person, lookup, key, name FROM people WHERE person = ?"
        row: tuple[object, ...] | None = connection.execute(statement, (person,)).fetchone()
        if row is None:
            raise self._altered(f"template {row_id} is nobody's")
        return row

    def sealed(
        self, owner: PersonKey, row_id: int, created: str, template: bytes, source: str, features: bytes | None = None
    ) -> tuple[bytes, ...]:
        """Template, source and, where there are, features of a row, encrypted."""
        place = f"{row_id}\0{created}"
        columns = owner.seal("template", place, template), owner.seal("source", place, padded(source))
        return columns if features is None else (*columns, owner.seal("features", place, features))

    def opened(
        self,
        owner: PersonKey,
        name: str,
        row_id: int,
        created: str,
        template: object,
        source: object,
        *features: object,
    ) -> tuple[object, ...]:
        """What `sealed` was given."""
        text = self._open(owner, name, "source", row_id, created, source)
        others = (self._open(owner, name, "features", row_id, created, some) for some in features)
        return self._open(owner, name, "template", row_id, created, template), unpadded(text or b""), *others

    def _open(
        self, owner: PersonKey, name: str, what: str, row_id: int, created: object, blob: object
    ) -> bytes | None:
        if blob is None:
            return None
        try:
            return owner.open(what, f"{row_id}\0{created}", blob)
        except TamperedError as exc:
            raise self._altered(f"{what} {row_id} of {name!r}") from exc

    def _altered(self, what: str) -> ArtefactError:
        return ArtefactError(f"gallery {self.path} was tampered with or is damaged ({what}): restore a backup of it")

    def owner(self, connection: sqlite3.Connection, row_id: int) -> str | None:
        """Whose a template is, None where there is no such row."""
        self.check(connection)
        found = self._owner(connection, row_id)
        return None if found is None else found[1]

    def _owner(self, connection: sqlite3.Connection, row_id: int) -> tuple[PersonKey, str] | None:
        row = connection.execute("SELECT name FROM templates WHERE id = ?", (row_id,)).fetchone()
        return None if row is None else self.person(*self.people_row(connection, row[0], row_id))

    def update(self, connection: sqlite3.Connection, row_id: int, new: NewRows) -> None:
        """Write another template into a row; `new` has one, of the row's own person."""
        found = self._owner(connection, row_id)
        assert found is not None, "the caller has asked for the owner in this transaction"
        _, *columns = next(new.rows())
        super().write(connection, row_id, new, self.sealed(found[0], row_id, new.created, *columns))

    def delete(self, connection: sqlite3.Connection, name: str) -> int:
        """Delete a person's key, then their rows; how many there were."""
        self.check(connection)
        self.forget()
        lookup = self.cipher.lookup(person_name(name))
        row = connection.execute("SELECT person FROM people WHERE lookup = ?", (lookup,)).fetchone()
        if row is None:
            return 0
        mark_erased(connection, str(row[0]))
        connection.execute("DELETE FROM people WHERE person = ?", row)
        return connection.execute("DELETE FROM templates WHERE name = ?", row).rowcount

    def people(self, connection: sqlite3.Connection) -> list[tuple[str, int]]:
        """Names, sorted, and how many templates each has."""
        self.check(connection)
        rows = connection.execute(
            "SELECT people.person, lookup, key, people.name, some.count FROM "
            "(SELECT name, COUNT(*) AS count FROM templates GROUP BY name) AS some "
            "LEFT JOIN people ON people.person = some.name"
        )
        return sorted((self.person(*row[:4])[1], int(row[4])) for row in rows)

    def read(
        self,
        connection: sqlite3.Connection,
        where: str = "",
        values: Sequence[object] = (),
        *,
        column: str = "template",
        page: int = 4096,
    ) -> Iterator[list[Stored]]:
        """Rows in pages, as `Rows.read`."""
        self.check(connection)
        cursor = connection.execute(
            f"SELECT templates.id, created, templates.{column}, people.person, lookup, key, people.name "
            f"FROM templates LEFT JOIN people ON people.person = templates.name {ordered(where)}",
            tuple(values),
        )
        while rows := cursor.fetchmany(page):
            yield [self._stored(column, *row) for row in rows]

    def _stored(self, column: str, row_id: int, created: object, blob: object, *person: object) -> Stored:
        if person[0] is None:
            raise self._altered(f"template {row_id} is nobody's")
        owner, name = self.person(*person)
        plain = self._open(owner, name, column, row_id, created, blob)
        return Stored(row_id, name, unpadded(plain or b"") if column == "source" else plain)
