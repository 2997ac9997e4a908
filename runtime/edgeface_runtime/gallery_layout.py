"""What version 2 of the gallery file adds to version 1: a checksum in every row that matters, and three tables.

A row's checksum covers its table, its id and all its columns as they lie in the file, so that a changed byte is found
without a key, and a row can be told from garbage where the file around it is damaged. `spare` is a second copy of
`meta` on another page; `erasures` are the marks of who was deleted; `crops` the pictures kept for `gallery migrate`.
Whoever writes such a row calls `seal` in the same transaction, whoever changes `meta`, `seal_meta`.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3

__all__ = [
    "ENCRYPTED_BY",
    "MARK_SALT",
    "NOT_SPARED",
    "SEALED",
    "VERSION",
    "digest",
    "extend",
    "last_id",
    "meta_value",
    "seal",
    "seal_meta",
    "spared",
]

VERSION = 2
SEALED = ("templates", "spare", "erasures", "crops", "people")
"""Tables of sealed rows: `id` comes first, `checksum` last. Only encrypted galleries have `people`."""
NOT_SPARED = ("erasure_pending",)
"""Keys of `meta` that come and go."""
ENCRYPTED_BY = "key_id"
"""Key of `meta` that an encrypted gallery has."""
MARK_SALT = "erasure_salt"
DIGEST_BYTES = 8
STATEMENTS = (
    "ALTER TABLE templates ADD COLUMN checksum BLOB",
    "CREATE TABLE spare (id INTEGER PRIMARY KEY, meta TEXT NOT NULL, checksum BLOB)",
    "CREATE TABLE erasures (id INTEGER PRIMARY KEY AUTOINCREMENT, mark BLOB NOT NULL, last_id INTEGER NOT NULL, "
    "at TEXT NOT NULL, checksum BLOB)",
    "CREATE TABLE crops (id INTEGER PRIMARY KEY AUTOINCREMENT, template_id INTEGER NOT NULL, folder TEXT NOT NULL, "
    "file TEXT NOT NULL, sha256 TEXT NOT NULL, spec TEXT NOT NULL, checksum BLOB)",
    "CREATE INDEX crops_by_template ON crops (template_id)",
)


def digest(table: str, row_id: int, *values: object) -> bytes:
    """The checksum of a row, 8 bytes of SHA-256.

    Args:
        table: one of SEALED.
        row_id: its id.
        values: its other columns but the checksum, in the table's order.
    """
    parts = [value if isinstance(value, bytes) else b"" if value is None else str(value).encode() for value in values]
    shape = ",".join([f"{type(value).__name__}{len(part)}" for value, part in zip(values, parts, strict=True)])
    return hashlib.sha256(b"".join([f"{table},{row_id},{shape};".encode(), *parts])).digest()[:DIGEST_BYTES]


def seal(connection: sqlite3.Connection, table: str, first: int = 0, last: int | None = None) -> None:
    """Give the rows of ids `first` to `last` (None: to the end) their checksum, within the caller's transaction."""
    connection.create_function("edgeface_digest", -1, digest, deterministic=True)
    columns = ", ".join(_columns(connection, table))
    connection.execute(
        f"UPDATE {table} SET checksum = edgeface_digest('{table}', id, {columns}) WHERE id BETWEEN ? AND ?",
        (first, 2**63 - 1 if last is None else last),
    )


def _columns(connection: sqlite3.Connection, table: str) -> list[str]:
    rows = connection.execute(f"PRAGMA table_info({table})").fetchall()
    return [str(row[1]) for row in rows if row[1] not in ("id", "checksum")]


def seal_meta(connection: sqlite3.Connection) -> None:
    """Copy `meta` anew, within the caller's transaction."""
    meta = {key: value for key, value in connection.execute("SELECT key, value FROM meta") if key not in NOT_SPARED}
    connection.execute("INSERT OR REPLACE INTO spare (id, meta) VALUES (1, ?)", (json.dumps(meta, sort_keys=True),))
    seal(connection, "spare")


def spared(connection: sqlite3.Connection) -> dict[str, str] | None:
    """The second copy of `meta`; None where there is none, or it is damaged itself."""
    row = connection.execute("SELECT meta, checksum FROM spare WHERE id = 1").fetchone()
    if row is None or digest("spare", 1, row[0]) != row[1]:
        return None
    copy: dict[str, str] = json.loads(row[0])
    return copy


def meta_value(connection: sqlite3.Connection, key: str) -> str:
    """A value of `meta` that every gallery has; sqlite3.DatabaseError where it is gone."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    if row is None:
        raise sqlite3.DatabaseError(f"its header has no {key}")
    return str(row[0])


def last_id(connection: sqlite3.Connection) -> int:
    """Last id that was given to a template, 0 before the first; sqlite3.DatabaseError where that is no number."""
    row = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'templates'").fetchone()
    if row is not None and not isinstance(row[0], int):
        raise sqlite3.DatabaseError("its last id is no number")
    return row[0] if row is not None else 0


def extend(connection: sqlite3.Connection) -> None:
    """Make a gallery of version 1 one of version 2, within the caller's transaction; every row is written anew."""
    for statement in STATEMENTS:
        connection.execute(statement)
    new = {"version": str(VERSION), "gallery_id": secrets.token_hex(16), MARK_SALT: secrets.token_hex(16)}
    connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(new.items()))
    seal(connection, "templates")
    seal_meta(connection)
