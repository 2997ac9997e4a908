"""What has changed in a gallery since an index of it was made: a log beside the templates, kept by triggers.

Enrolments are told by their ids, which only grow; the log holds the ids of templates that were deleted or replaced,
and one line without an id for every enrolment. Each line has a random token: an index that knows the token of its
own line belongs to this gallery and to its past, also after a backup was put back.
"""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from edgeface_runtime.gallery_layout import last_id
from edgeface_runtime.gallery_store import transaction

__all__ = ["State", "changed_since", "descends", "log_enrolment", "prepare", "state", "trim"]

KEEP_LINES = 100_000
"""An index that is more changes behind is made anew."""

STATEMENTS = (
    "CREATE TABLE IF NOT EXISTS changes (seq INTEGER PRIMARY KEY AUTOINCREMENT, id INTEGER, token BLOB NOT NULL)",
    "CREATE TRIGGER IF NOT EXISTS templates_deleted AFTER DELETE ON templates BEGIN "
    "INSERT INTO changes (id, token) VALUES (old.id, randomblob(8)); END",
    "CREATE TRIGGER IF NOT EXISTS templates_replaced AFTER UPDATE OF template ON templates BEGIN "
    "INSERT INTO changes (id, token) VALUES (old.id, randomblob(8)); END",
)
ENROLMENT = "INSERT INTO changes (id, token) VALUES (NULL, randomblob(8))"


class State(NamedTuple):
    """A moment in a gallery's life."""

    last_id: int
    """Of the templates ever enrolled."""
    seq: int
    """Last line of the log."""
    token: str
    """Its token, in hex."""


def prepare(connection: sqlite3.Connection) -> None:
    """Add the log to a gallery that has none; two processes may do so at once."""
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    if {"changes", "templates_deleted", "templates_replaced"} <= names:
        return
    with transaction(connection):
        for statement in STATEMENTS:
            connection.execute(statement)
        if connection.execute("SELECT 1 FROM changes").fetchone() is None:
            connection.execute(ENROLMENT)


def log_enrolment(connection: sqlite3.Connection) -> None:
    """Write the line of an enrolment, within its transaction; the oldest lines go."""
    connection.execute(ENROLMENT)
    trim(connection)


def trim(connection: sqlite3.Connection) -> None:
    """Drop the oldest lines, within the transaction that has added some."""
    connection.execute("DELETE FROM changes WHERE seq <= (SELECT MAX(seq) FROM changes) - ?", (KEEP_LINES,))


def state(connection: sqlite3.Connection) -> State:
    """The gallery's state, as the connection's transaction sees it."""
    row = connection.execute("SELECT seq, hex(token) FROM changes ORDER BY seq DESC LIMIT 1").fetchone()
    if row is None:
        raise sqlite3.DatabaseError("its log of changes is empty")
    return State(last_id(connection), int(row[0]), str(row[1]))


def descends(connection: sqlite3.Connection, old: State, now: State) -> bool:
    """Whether the gallery was once in the state `old`, and all changes since are in the log."""
    row = connection.execute("SELECT hex(token) FROM changes WHERE seq = ?", (old.seq,)).fetchone()
    return row is not None and row[0] == old.token and old.last_id <= now.last_id


def changed_since(connection: sqlite3.Connection, old: State) -> list[int]:
    """Ids of the templates, of those there were at `old`, that have been deleted or replaced since; ascending."""
    rows = connection.execute(
        "SELECT DISTINCT id FROM changes WHERE seq > ? AND id <= ? ORDER BY id", (old.seq, old.last_id)
    )
    return [int(row[0]) for row in rows]
