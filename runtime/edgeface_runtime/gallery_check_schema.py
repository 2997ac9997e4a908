"""Part of `gallery check`: whether tables, indexes and triggers are still those a gallery is made with.

SQLite's own check does not read their words: a changed letter in a trigger shows only when it is to run.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing

from edgeface_runtime import gallery_changes as changes
from edgeface_runtime import gallery_store as store
from edgeface_runtime.gallery_layout import ENCRYPTED_BY
from edgeface_runtime.gallery_report import Report
from edgeface_runtime.gallery_sealed import PEOPLE, guard

__all__ = ["check_schema"]

WORDS = "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"


def check_schema(
    connection: sqlite3.Connection, report: Report, meta: dict[str, str], features: tuple[int, int, int] | None
) -> None:
    """Compare them with a new gallery's of the same kind; those that only some galleries have are passed over.

    Args:
        connection: to a gallery of this version.
        report: gets a finding for each that differs.
        meta: its header.
        features: (C, h, w) of the features it keeps; None keeps none.
    """
    new = store.New(meta["model_id"], int(meta["embedding_size"]), features, meta.get("copy_of"))
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as other:
        store.initialise(other, new)
        if ENCRYPTED_BY in meta:
            other.execute(PEOPLE)
            guard(other)
        needed = {name for name, _ in other.execute(WORDS)}
        changes.prepare(other)  # what this makes, every opening makes where it is missing
        made = dict(other.execute(WORDS).fetchall())
    found = dict(connection.execute(WORDS).fetchall())
    for name in sorted(needed - found.keys()):
        report.add("structure", "damaged", f"{name} is missing")
    for name, words in found.items():
        if name in made and _words(str(words)) != _words(made[name]):
            report.add("structure", "damaged", f"the words that make {name} have changed")


def _words(statement: str) -> list[str]:
    """In no order: columns that were added stand where their time put them."""
    return sorted(re.findall(r"[^\s,()]+", statement))
