"""What `gallery check` looks at in the tables themselves: those of a new gallery of that kind, column by column.

SQLite keeps a table as the statement that made it. A byte changed in there renames a column or makes a trigger fail,
and SQLite's own check says nothing of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing

from edgeface_runtime import gallery_changes as changes
from edgeface_runtime import gallery_store as store
from edgeface_runtime.gallery_layout import ENCRYPTED_BY
from edgeface_runtime.gallery_report import Report
from edgeface_runtime.gallery_sealed import PEOPLE, guard

__all__ = ["check_layout"]


def check_layout(
    connection: sqlite3.Connection, report: Report, meta: Mapping[str, str], features: tuple[int, int, int] | None
) -> None:
    """Tell of tables and triggers that are missing or changed; of a missing log of changes `check_log` tells."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as new:
        store.initialise(new, store.New(meta["model_id"], int(meta["embedding_size"]), features, meta.get("copy_of")))
        if ENCRYPTED_BY in meta:
            new.execute(PEOPLE)
            guard(new)
        found, needed = _layout(connection), _layout(new)
        changes.prepare(new)
        for name, wanted in _layout(new).items():
            if name in found and found[name] != wanted:
                report.add("layout", "damaged", f"{name} has changed")
            elif name in needed and name not in found:
                report.add("layout", "damaged", f"{name} is missing")


def _layout(connection: sqlite3.Connection) -> dict[str, object]:
    """Name -> columns of a table and their types, statement of a trigger."""
    things = connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE type IN ('table', 'trigger') AND name NOT LIKE 'sqlite_%'"
    ).fetchall()
    statement = "SELECT name, type FROM pragma_table_info(?) ORDER BY cid"
    return {
        str(name): sql if kind == "trigger" else connection.execute(statement, (name,)).fetchall()
        for kind, name, sql in things
    }
