"""Another key for a gallery, or none: each in one transaction, so that a cut leaves the gallery by one of both keys.

A new key wraps the people's keys anew: what they encrypt stays as it is. Encrypting and decrypting write every row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeface_runtime.errors import InputError
from edgeface_runtime.gallery_changes import log_enrolment
from edgeface_runtime.gallery_cipher import PersonKey
from edgeface_runtime.gallery_encryption import META, is_opened_by, make_encrypted, write_header
from edgeface_runtime.gallery_key import GalleryKey
from edgeface_runtime.gallery_layout import seal, seal_meta
from edgeface_runtime.gallery_results import person_name
from edgeface_runtime.gallery_rows import Rows
from edgeface_runtime.gallery_sealed import SealedRows
from edgeface_runtime.gallery_search import Progress

__all__ = ["Rekeyed", "change_key", "decrypt", "encrypt", "refuse_same", "rekey"]

PAGE = 1000


@dataclass(frozen=True)
class Rekeyed:
    """What became of a gallery's key."""

    encrypted: bool
    """Whether the gallery is encrypted now."""
    people: int
    """How many there are."""
    erased: bool
    """Whether what the old key opens, or the plain templates, have left the file."""
    pending: str | None = None
    """Why not yet, in one line; the next opening tries again."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


def rekey(connection: sqlite3.Connection, rows: Rows, key: GalleryKey | None, progress: Progress | None) -> Rows:
    """Encrypt plain rows, decrypt them where `key` is None, else change the key; the rows as they are then."""
    if not isinstance(rows, SealedRows):
        assert key is not None, "the caller has seen to that"
        return encrypt(connection, rows, key, progress)
    return decrypt(connection, rows, progress) if key is None else change_key(connection, rows, key)


def refuse_same(connection: sqlite3.Connection, path: Path, key: GalleryKey) -> None:
    """Raise InputError where an encrypted gallery has that key already."""
    if is_opened_by(dict(connection.execute("SELECT key, value FROM meta").fetchall()), key):
        raise InputError(f"gallery {path} is encrypted by that {key.kind} already: give another one")


def change_key(connection: sqlite3.Connection, rows: SealedRows, key: GalleryKey) -> SealedRows:
    """Wrap everybody's key by another one; within the caller's transaction.

    Raises:
        InputError: it is the key that the gallery has.
        ArtefactError: a row of people was changed.
    """
    rows.check(connection)
    refuse_same(connection, rows.path, key)
    cipher = write_header(connection, key)
    last = 0
    while True:
        page = connection.execute(
            "SELECT id, person, lookup, key, name FROM people WHERE id > ? ORDER BY id LIMIT ?", (last, PAGE)
        ).fetchall()
        if not page:
            seal(connection, "people")
            return SealedRows(rows.path, cipher)
        new = []
        for row_id, person, lookup, wrapped, sealed_name in page:
            _, name = rows.person(person, lookup, wrapped, sealed_name)  # which checks the row
            new.append((*rows.cipher.rewrap(person, lookup, wrapped, cipher, name), row_id))
        connection.executemany("UPDATE people SET lookup = ?, key = ? WHERE id = ?", new)
        last = int(page[-1][0])


def encrypt(
    connection: sqlite3.Connection, rows: Rows, key: GalleryKey, progress: Progress | None = None
) -> SealedRows:
    """Encrypt a plain gallery; within the caller's transaction."""
    rows.check(connection)
    sealed = make_encrypted(connection, key, rows.path)
    owners: dict[str, PersonKey] = {}

    def encrypted(row_id: int, name: str, created: str, *columns: Any) -> tuple[object, ...]:
        name = person_name(name)  # galleries of earlier versions keep names as they were typed
        owner = owners.get(name)
        if owner is None:
            owner = owners[name] = sealed.enrolled(connection, name)
        return (owner.person, *sealed.sealed(owner, row_id, created, *columns))

    _rewrite(connection, encrypted, progress)
    seal(connection, "people")
    return sealed


def decrypt(connection: sqlite3.Connection, rows: SealedRows, progress: Progress | None = None) -> Rows:
    """Write an encrypted gallery plain; within the caller's transaction.

    Raises:
        ArtefactError: a row was changed.
    """
    rows.check(connection)
    rows.unguard(connection)

    def unseal(row_id: int, person: str, created: str, *columns: object) -> tuple[object, ...]:
        owner, name = rows.person(*rows.people_row(connection, person, row_id))
        return (name, *rows.opened(owner, name, row_id, created, *columns))

    _rewrite(connection, unseal, progress)
    connection.execute("DROP TABLE people")
    connection.executemany("DELETE FROM meta WHERE key = ?", [(name,) for name in META])
    seal_meta(connection)
    return Rows(rows.path)


def _rewrite(
    connection: sqlite3.Connection, convert: Callable[..., tuple[object, ...]], progress: Progress | None
) -> None:
    """Write name, template, source and features of every row anew: `convert` of id, name, time and the others."""
    columns = ["template", "source"]
    if connection.execute("SELECT 1 FROM meta WHERE key = 'features'").fetchone():
        columns.append("features")
    select = f"SELECT id, name, created, {', '.join(columns)} FROM templates WHERE id > ? ORDER BY id LIMIT ?"
    update = f"UPDATE templates SET {', '.join(f'{name} = ?' for name in ('name', *columns))} WHERE id = ?"
    total = connection.execute("SELECT COUNT(*) FROM templates").fetchone()[0]
    last = done = 0
    while page := connection.execute(select, (last, PAGE)).fetchall():
        connection.executemany(update, [(*convert(*row), row[0]) for row in page])
        last, done = int(page[-1][0]), done + len(page)
        if progress is not None:
            progress(done, total)
    seal(connection, "templates")
    # Indexes of before, in whatever process, are of another gallery now.
    connection.execute("DELETE FROM changes")
    log_enrolment(connection)
