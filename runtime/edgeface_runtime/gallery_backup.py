"""`gallery backup` and `restore`: a checked copy in one file, and putting it back without bringing back the erased.

The copy is SQLite's own, of one moment, while others search and enrol; it needs no key. Restoring checks the backup,
applies to it who was deleted since (by the marks of names and by the log of ids in the gallery that is there), keeps
the old file, and renames.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeface_runtime import gallery_changes as changes
from edgeface_runtime import gallery_store as store
from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.gallery_check import check
from edgeface_runtime.gallery_erasures import Mark, add_marks, erased_names, marks, now
from edgeface_runtime.gallery_files import (
    alone,
    clear_beside,
    is_sqlite,
    one_file,
    read_only,
    set_aside,
    spare_name,
)
from edgeface_runtime.gallery_layout import ENCRYPTED_BY, MARK_SALT, last_id, meta_value, seal_meta
from edgeface_runtime.gallery_manifest import Manifest, read_manifest, remove_manifest, write_manifest
from edgeface_runtime.gallery_salvage import is_ours, scan

__all__ = ["Restored", "backup", "restore"]


@dataclass(frozen=True)
class Restored:
    """What `restore` did."""

    gallery: str
    kept: str | None
    """The file that was there before; None where there was none."""
    templates: int
    people: int
    backup: Manifest | None
    """What the backup said of itself; None of a gallery that is no backup."""
    erased_again: int
    """Templates of the backup that were left out because they had been deleted since."""
    unknown: str | None
    """Why deletions since the backup may be missing; None where all could be applied."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


def backup(path: Path, out: Path) -> Manifest:
    """Copy a gallery into one file, and check the copy.

    Args:
        path: the gallery; it may be in use.
        out: the backup; an earlier one there is replaced once the new one is checked.

    Raises:
        InputError: missing, `out` is something else than a backup, or it cannot be written.
        ArtefactError: no gallery, or damaged.
    """
    with store.guarded(path), closing(store.connect(path, None)) as source:
        store.read_meta(source, path)
        store.upgrade(source)
        changes.prepare(source)
        _may_be_replaced(out)
        with one_file(out, path.stat().st_mode & 0o777) as temporary:
            _copy(source, temporary)
            with closing(sqlite3.connect(temporary, isolation_level=None)) as copy:
                copy.execute("PRAGMA synchronous = OFF")
                manifest = write_manifest(copy, now())
            report = check(temporary)
            if not report.sound:
                raise ArtefactError(f"gallery {path} is damaged: see edgeface gallery check --gallery {path}")
    return manifest


def _copy(source: sqlite3.Connection, temporary: Path) -> None:
    """Every page of one moment, and no log beside them."""
    with closing(sqlite3.connect(temporary, isolation_level=None)) as copy:
        copy.execute("PRAGMA synchronous = OFF")
        source.backup(copy)
        copy.execute("PRAGMA journal_mode = DELETE").fetchall()


def _may_be_replaced(out: Path) -> None:
    if not os.path.lexists(out):
        return
    with contextlib.suppress(OSError, *store.UNREADABLE):
        if out.is_file() and is_sqlite(out):
            with closing(read_only(out)) as connection:
                if read_manifest(connection) is not None:
                    return
    raise InputError(f"{out} exists and is not a backup: give another name")


@dataclass(frozen=True)
class _Before:
    """What the gallery that is there says."""

    gallery_id: str | None = None
    salt: str | None = None
    """Of its marks."""
    marks: Sequence[Mark] = ()
    gone: Sequence[int] = ()
    """Ids of the backup's templates that it has no more."""
    last_id: int = 0
    unknown: str | None = None


def restore(path: Path, file: Path, force: bool = False) -> Restored:
    """Put a backup in the place of a gallery; that is kept as `path`.before-restore-1, or the next number free.

    Args:
        path: the gallery, open nowhere; may be missing or damaged.
        file: the backup, or any sound gallery.
        force: also where the backup is of another gallery.

    Raises:
        InputError: missing, in use, of another gallery, or it cannot be written.
        ArtefactError: the backup, or what lies at `path`, is no gallery; the backup is damaged.
    """
    if path.exists() and file.exists() and path.samefile(file):
        raise InputError(f"{file} is the gallery itself: give a backup of it")
    if not check(file).sound:
        raise ArtefactError(
            f"{file} is damaged: restore another backup, or see edgeface gallery check --gallery {file}"
        )
    with store.guarded(file), closing(read_only(file)) as source:
        meta = store.read_meta(source, file)
        there = path.exists()
        before = _before(path, source) if there else _Before(unknown="no gallery was there")
        if before.gallery_id is not None and before.gallery_id != meta.get("gallery_id"):
            if not force:
                raise InputError(f"{file} is a backup of another gallery than {path}: give --force to put it there")
            if "gallery_id" in meta:  # a gallery of version 1 does not say which it is
                before = _Before()
        stamp = _stamp(path)
        with alone(path) if there else contextlib.nullcontext():
            if _stamp(path) != stamp:
                raise InputError(f"gallery {path} is in use by another process: stop that, then try again")
            mode = (path if there else file).stat().st_mode & 0o777
            with one_file(path, mode) as temporary:
                manifest = read_manifest(source)
                _copy(source, temporary)
                erased = _fit(temporary, before)
                report = check(temporary)
                if not report.sound:
                    raise ArtefactError(f"{file} could not be restored: restore another backup ({report.damage()})")
                kept = spare_name(path, ".before-restore") if there else None
                if kept is not None:
                    set_aside(path, kept)
                else:
                    clear_beside(path)
    return Restored(
        str(path),
        None if kept is None else str(kept),
        report.templates,
        report.people,
        manifest,
        erased,
        before.unknown,
    )


def _stamp(path: Path) -> tuple[int, int, int] | None:
    """Changes when anybody opens the gallery: it was left without a log."""
    if not path.exists():
        return None
    found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def _before(path: Path, backup_: sqlite3.Connection) -> _Before:
    """What the gallery knows of deletions; its log is written back and removed on the way."""
    try:
        if not is_sqlite(path):
            raise sqlite3.DatabaseError("file is not a database")
        with closing(sqlite3.connect(path, timeout=1, isolation_level=None)) as connection:
            connection.execute("PRAGMA secure_delete = ON").fetchall()
            connection.execute("PRAGMA journal_mode = DELETE").fetchall()
            meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
            if meta.get("format") != store.FORMAT:
                raise ArtefactError(f"{path} is not a gallery: move it away first")
            gone, last = _gone(connection, backup_), last_id(connection)
            if MARK_SALT not in meta:
                return _Before(gone=gone, last_id=last, unknown=OLD)
            other = dict(backup_.execute("SELECT key, value FROM meta").fetchall())
            unknown = REKEYED if (ENCRYPTED_BY in other) != (ENCRYPTED_BY in meta) else None
            return _Before(meta["gallery_id"], meta[MARK_SALT], marks(connection), gone, last, unknown)
    except store.UNREADABLE as exc:
        if "locked" in str(exc):
            raise InputError(f"gallery {path} is open elsewhere: stop what uses it, then try again") from exc
        return _from_damaged(path)


OLD = "the gallery that was there is of version 1, which kept no marks of deletions"
REKEYED = "the gallery was encrypted or decrypted since the backup, so that its marks of deletions are of other names"


def _gone(connection: sqlite3.Connection, backup_: sqlite3.Connection) -> list[int]:
    """Ids that were deleted since the backup, as far as the log goes back."""
    try:
        then = changes.state(backup_)
        if not changes.descends(connection, then, changes.state(connection)):
            return []
        there = {row[0] for row in connection.execute("SELECT id FROM templates WHERE id <= ?", (then.last_id,))}
        return [row_id for row_id in changes.changed_since(connection, then) if row_id not in there]
    except (*store.UNREADABLE, TypeError):  # no log of changes
        return []


def _from_damaged(path: Path) -> _Before:
    if not is_ours(path):
        raise ArtefactError(f"{path} is not a gallery: move it away first")
    rows = scan(path).rows
    spare = rows["spare"].get(1)
    meta = {} if spare is None else json.loads(str(spare[0]))
    known = [Mark(*row) for row in rows["erasures"].values()]  # type: ignore[arg-type]
    return _Before(
        meta.get("gallery_id"),
        meta.get(MARK_SALT),
        known,
        last_id=max([0, *rows["templates"], *(mark.last_id for mark in known)]),
        unknown="the gallery that was there is damaged, and may have lost marks of deletions",
    )


def _fit(temporary: Path, before: _Before) -> int:
    """Make the copy the gallery: without its manifest, and without who was deleted. Templates left out."""
    with closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
        connection.execute("PRAGMA journal_mode = MEMORY").fetchall()
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA secure_delete = ON").fetchall()
        is_old = store.upgrade(connection)
        changes.prepare(connection)
        with store.transaction(connection):
            remove_manifest(connection)
            if is_old and before.gallery_id is not None and before.salt is not None:
                same = {"gallery_id": before.gallery_id, MARK_SALT: before.salt}
                connection.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", list(same.items()))
                seal_meta(connection)
            add_marks(connection, before.marks)
            salt = meta_value(connection, MARK_SALT)
            names = [str(row[0]) for row in connection.execute("SELECT DISTINCT name FROM templates")]
            erased = 0
            for name, until in erased_names(names, salt, marks(connection)).items():
                erased += connection.execute(
                    "DELETE FROM templates WHERE name = ? AND id <= ?", (name, until)
                ).rowcount
            for row_id in before.gone:
                erased += connection.execute("DELETE FROM templates WHERE id = ?", (row_id,)).rowcount
            if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'people'").fetchone():
                connection.execute("DELETE FROM people WHERE person NOT IN (SELECT name FROM templates)")
            most = max(before.last_id, last_id(connection))
            connection.execute("DELETE FROM sqlite_sequence WHERE name = 'templates'")
            connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES ('templates', ?)", (most,))
            changes.log_enrolment(connection)
            # The next opening removes kept crops of those who are gone.
            connection.execute("INSERT OR REPLACE INTO meta VALUES ('erasure_pending', ?)", (now(),))
        return erased
