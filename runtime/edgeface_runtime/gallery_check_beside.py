"""What `gallery check` looks at beyond the templates: the log of changes, the index file, the kept crops."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgeface_runtime import gallery_changes as changes
from edgeface_runtime.files import sha256_file
from edgeface_runtime.gallery_crops import folder_of, spoken_for
from edgeface_runtime.gallery_index import GONE, DamagedIndexError
from edgeface_runtime.gallery_index_file import index_path, load

__all__ = ["check_crops", "check_index", "check_log"]

Add = Callable[[str, Any, str], None]
CROP = re.compile(r"[0-9a-f]{32}\.png")
TRIGGERS = {"templates_deleted", "templates_replaced"}


def check_log(connection: sqlite3.Connection, add: Add, tables: set[str]) -> None:
    """Ids only grow, and the log of changes is there with its triggers."""
    if not {"changes", *TRIGGERS} <= tables:
        add("changes", "note", "no log of changes: edgeface gallery list adds it")
        return
    try:
        now = changes.state(connection)
        most = int(connection.execute("SELECT COALESCE(MAX(id), 0) FROM templates").fetchone()[0])
        ids = int(connection.execute("SELECT COALESCE(MAX(id), 0) FROM changes").fetchone()[0])
        tokens = connection.execute("SELECT COUNT(*) FROM changes WHERE length(token) <> 8").fetchone()[0]
    except (sqlite3.DatabaseError, TypeError, ValueError) as exc:
        add("changes", "damaged", f"the log of changes cannot be read: {exc}")
        return
    if now.last_id < max(most, ids) or tokens:
        add("changes", "damaged", f"the log of changes is not consistent: last id {now.last_id}, but there is {most}")
    else:
        add("changes", "ok", f"{now.seq} logged, last id {now.last_id}")


def check_index(connection: sqlite3.Connection, add: Add, path: Path, size: int) -> None:
    """The index file: undamaged, of this gallery, and of exactly its templates."""
    file = index_path(path)
    try:
        index = load(file, size)
        index.check()
    except FileNotFoundError:
        add("index", "ok", "no file")
        return
    except (DamagedIndexError, OSError) as exc:
        add("index", "damaged", f"{file} is damaged ({exc})")
        return
    if not changes.descends(connection, index.state, changes.state(connection)):
        add("index", "note", f"{file} is not of this gallery's past: the next search makes it anew")
        return
    changed = np.array(changes.changed_since(connection, index.state), np.int64)
    there = index.ids[: index.count][index.error[: index.count] != GONE]
    rows = connection.execute("SELECT id FROM templates WHERE id <= ? ORDER BY id", (index.state.last_id,)).fetchall()
    wanted = np.array([row[0] for row in rows], np.int64)
    if np.array_equal(np.setdiff1d(there, changed), np.setdiff1d(wanted, changed)):
        add("index", "ok", f"{len(there)} templates")
    else:
        add("index", "damaged", f"{file} has not the gallery's templates")


def check_crops(connection: sqlite3.Connection, add: Add, path: Path) -> None:
    """Kept crops: there, unchanged, and no others in their folders."""
    known: dict[Path, set[str]] = {}
    lost = []
    crops = spoken_for(connection)
    for template, crop in crops:
        folder = folder_of(path, crop.folder)
        known.setdefault(folder, set()).add(crop.file)
        try:
            if sha256_file(folder / crop.file) == crop.sha256:
                continue
        except (OSError, ValueError):  # a damaged name may be none
            pass
        lost.append(template)
    if lost:
        add("crops", "note", f"missing or changed: those of templates {', '.join(map(str, lost[:20]))}")
    for folder, files in known.items():
        others = [] if not folder.is_dir() else [e.name for e in folder.iterdir() if CROP.fullmatch(e.name)]
        strange = sorted(set(others) - files)
        if strange:
            add("crops", "note", f"{len(strange)} in {folder} belong to nobody here, first {strange[0]}")
    gone = connection.execute(
        "SELECT COUNT(*) FROM crops WHERE template_id NOT IN (SELECT id FROM templates)"
    ).fetchone()[0]
    if gone:
        add("crops", "note", f"{gone} wait for erasure: run edgeface gallery list")
    if crops and not lost:
        add("crops", "ok", f"{len(crops)} kept")
