"""`gallery repair`: a new gallery of everything that is whole in a damaged one, which stays as it is.

A row is taken if its checksum holds, wherever it lies; the trees and indexes around them are made anew. Who was
deleted stays deleted. What was in the file and could not be taken is listed.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeface_runtime import gallery_changes as changes
from edgeface_runtime import gallery_store as store
from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.gallery_check import check
from edgeface_runtime.gallery_erasures import Mark, erased_names, now
from edgeface_runtime.gallery_files import alone, one_file, set_aside, spare_name
from edgeface_runtime.gallery_layout import ENCRYPTED_BY, MARK_SALT, SEALED, digest, seal_meta
from edgeface_runtime.gallery_salvage import Salvage, salvage
from edgeface_runtime.gallery_sealed import PEOPLE, guard

__all__ = ["Lost", "Repaired", "building", "repair"]


@dataclass(frozen=True)
class Lost:
    """A template that was in the file and is not whole."""

    id: int
    name: str | None
    """None where it cannot be read."""


@dataclass(frozen=True)
class Repaired:
    """What `repair` did."""

    path: str
    """The new gallery."""
    kept: str
    """The damaged file."""
    templates: int
    people: int
    lost: tuple[Lost, ...]
    erased: int
    """Templates left out because their person had been deleted."""
    verified: bool
    """Whether rows had checksums to hold; those of version 1 had none."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


def repair(path: Path, out: Path | None = None) -> Repaired:
    """Write what is whole in a gallery into a new one.

    Args:
        path: the gallery; not changed, and open nowhere.
        out: the new file, which must not exist; None puts it in the place of `path`, whose file goes on as
            `path`.damaged-1 (or the next number that is free).

    Raises:
        InputError: missing, in use, or the new file exists or cannot be written.
        ArtefactError: nothing in it can be told to be a gallery's.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a gallery")
    if not path.exists():
        raise InputError(f"gallery not found: {path}")
    target = path if out is None else out
    if out is not None and os.path.lexists(out):
        raise InputError(f"{out} exists: remove it, or give another --out")
    with alone(path):
        found = salvage(path)
        mode = path.stat().st_mode & 0o777
        with one_file(target, mode) as temporary:
            templates, people, erased = _write(found, temporary)
            kept = path
            if out is None:
                kept = spare_name(path, ".damaged")
                set_aside(path, kept)
    lost = tuple(Lost(at, found.doubtful[at]) for at in sorted(found.doubtful))
    return Repaired(str(target), str(kept), templates, people, lost, erased, not found.unsealed)


def _write(found: Salvage, temporary: Path) -> tuple[int, int, int]:
    """Templates and people in the new file, and templates left out because they had been erased."""
    meta = found.meta
    marks = [Mark(*row) for row in found.rows["erasures"].values()]  # type: ignore[arg-type]
    names = {str(row[0]) for row in found.rows["templates"].values()}
    gone = erased_names(names, meta[MARK_SALT], marks) if MARK_SALT in meta else {}
    rows = {at: row for at, row in found.rows["templates"].items() if at > gone.get(str(row[0]), 0)}
    erased = len(found.rows["templates"]) - len(rows)
    if ENCRYPTED_BY in meta:  # without the person's key a template is nothing
        known = {row[0] for row in found.rows["people"].values()}
        found.doubtful |= {at: None for at, row in rows.items() if row[0] not in known}
        rows = {at: row for at, row in rows.items() if row[0] in known}
    found.rows["templates"] = rows
    shape = store.feature_shape(meta, temporary)
    new = store.New(meta["model_id"], int(meta["embedding_size"]), shape)
    with building(temporary, new) as connection, store.transaction(connection):
        kept = {key: value for key, value in meta.items() if key != "version"}
        connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(kept.items()))
        # The next opening removes the crops of those who were deleted; those of lost templates may be of use.
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('erasure_pending', ?)", (now(),))
        found.rows["crops"] = {at: row for at, row in found.rows["crops"].items() if row[0] not in found.doubtful}
        seal_meta(connection)
        if ENCRYPTED_BY in meta:
            connection.execute(PEOPLE)
        for table in SEALED:
            if table != "spare":
                _insert(connection, table, found.rows[table])
        if ENCRYPTED_BY in meta:
            guard(connection)
        connection.execute("DELETE FROM sqlite_sequence WHERE name = 'templates'")
        connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('templates', ?)", (found.last_id,))
    report = check(temporary)
    if not report.sound or report.templates != len(rows):
        raise ArtefactError(f"cannot repair {temporary}: restore a backup ({report.damage()})")
    return len(rows), report.people, erased


def _insert(connection: sqlite3.Connection, table: str, rows: dict[int, tuple[object, ...]]) -> None:
    if not rows:
        return
    marks = ", ".join("?" * (len(next(iter(rows.values()))) + 2))
    sealed = ((at, *rows[at], digest(table, at, *rows[at])) for at in sorted(rows))
    connection.executemany(f"INSERT INTO {table} VALUES ({marks})", sealed)


@contextlib.contextmanager
def building(path: Path, new: store.New) -> Iterator[sqlite3.Connection]:
    """A connection to a new gallery under a temporary name: one file without a log, not flushed yet."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = MEMORY").fetchall()
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA secure_delete = ON").fetchall()
        connection.execute("PRAGMA temp_store = MEMORY")
        store.initialise(connection, new)
        changes.prepare(connection)
        yield connection
