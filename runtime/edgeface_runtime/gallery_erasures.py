"""Who was deleted from a gallery, as marks: so that a backup of before does not bring them back.

A mark is a keyed hash of the name, with the last id that had been given when the person was deleted: rows of that
name up to that id are gone for good, the same person enrolled again later is not. It tells nobody a name, but lets
whoever has the file try names out: see docs/gallery.md.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable
from datetime import datetime, timezone
from typing import NamedTuple

from edgeface_runtime.gallery_layout import MARK_SALT, last_id, meta_value, seal
from edgeface_runtime.gallery_results import person_name

__all__ = ["Mark", "add_marks", "erased_names", "mark_erased", "marks", "name_mark", "now"]


def now() -> str:
    """UTC, to the second."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


class Mark(NamedTuple):
    """One deletion."""

    mark: bytes
    last_id: int
    """Last id that had been given to a template."""
    at: str
    """When, UTC."""


def name_mark(salt: str, name: str) -> bytes:
    """The mark of a name in the gallery with that salt, 16 bytes."""
    return hashlib.blake2b(person_name(name).encode(), digest_size=16, key=bytes.fromhex(salt)).digest()


def mark_erased(connection: sqlite3.Connection, name: str) -> None:
    """Note a deletion, within its transaction."""
    mark = name_mark(meta_value(connection, MARK_SALT), name)
    add_marks(connection, [Mark(mark, last_id(connection), now())])


def add_marks(connection: sqlite3.Connection, new: Iterable[Mark]) -> None:
    """Add marks that are not there yet, within the caller's transaction."""
    there = set(marks(connection))
    rows = [mark for mark in new if mark not in there]
    if rows:
        connection.executemany("INSERT INTO erasures (mark, last_id, at) VALUES (?, ?, ?)", rows)
        seal(
            connection,
            "erasures",
            int(connection.execute("SELECT last_insert_rowid()").fetchone()[0]) - len(rows) + 1,
        )


def marks(connection: sqlite3.Connection) -> list[Mark]:
    """All marks, oldest first; sqlite3.DatabaseError where one is none."""
    rows = connection.execute("SELECT mark, last_id, at FROM erasures ORDER BY id").fetchall()
    if not all(isinstance(mark, bytes) and isinstance(last, int) for mark, last, _ in rows):
        raise sqlite3.DatabaseError("a mark of a deletion has changed")
    return [Mark(bytes(mark), int(last), str(at)) for mark, last, at in rows]


def erased_names(names: Iterable[str], salt: str, known: Iterable[Mark]) -> dict[str, int]:
    """Of `names`, those that were deleted: name -> the id up to which their templates are gone."""
    until: dict[bytes, int] = {}
    for mark in known:
        until[mark.mark] = max(until.get(mark.mark, 0), mark.last_id)
    if not until:
        return {}
    found = {name: until.get(name_mark(salt, name), 0) for name in names}
    return {name: last for name, last in found.items() if last}
