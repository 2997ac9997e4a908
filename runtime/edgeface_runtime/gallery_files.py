"""The files of a gallery: what lies beside it, who has it open, and putting another file in its place."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
import struct
from collections.abc import Iterator
from pathlib import Path

from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.files import atomic_path, cannot_write, flush
from edgeface_runtime.gallery_index_file import index_path
from edgeface_runtime.gallery_store import guarded

__all__ = [
    "alone",
    "beside",
    "clear_beside",
    "copies_left",
    "is_sqlite",
    "one_file",
    "read_only",
    "set_aside",
    "spare_name",
]

MAGIC = b"SQLite format 3\0"
KEPT = (".before-restore", ".damaged", ".repaired")
"""How the names of files go on that `restore` and `repair` leave beside a gallery."""
LOGS = ("-wal", "-shm", "-journal")
LOCK_BYTES = (0x40000000, 512)
"""Where SQLite's processes lock a database file (its pending byte and on): each that has it open holds a part."""


def beside(path: Path, end: str) -> Path:
    """The file beside a gallery whose name is longer by `end`."""
    return path.with_name(path.name + end)


def is_sqlite(path: Path) -> bool:
    """Whether the file begins as SQLite's do."""
    with path.open("rb") as stream:
        return stream.read(len(MAGIC)) == MAGIC


def spare_name(path: Path, end: str) -> Path:
    """The first of `path` + `end`-1, `end`-2, ... that is free, as is its log's name."""
    number = 1
    while os.path.lexists(beside(path, f"{end}-{number}")) or os.path.lexists(beside(path, f"{end}-{number}-wal")):
        number += 1
    return beside(path, f"{end}-{number}")


def copies_left(path: Path) -> str | None:
    """Which files of earlier restores and repairs lie beside a gallery and may hold who was deleted; None if none."""
    try:
        names = sorted(entry.name for entry in path.absolute().parent.iterdir())
    except OSError:
        return None
    found = [name for name in names if any(name.startswith(path.name + end) for end in KEPT)]
    if not found:
        return None
    return (
        f"{', '.join(found)} beside the gallery may still hold the templates: remove {'them' if found[1:] else 'it'}"
    )


def read_only(path: Path) -> sqlite3.Connection:
    """A connection that changes nothing: not the file, nor what a killed process left in its write-ahead log."""
    log = beside(path, "-wal")
    if log.exists() and log.stat().st_size:
        mode = "ro"
    elif os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK):
        mode = "rw"  # a reader by mode=ro leaves its shared memory file behind
    else:
        mode = "ro&immutable=1"
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", uri=True, timeout=5, isolation_level=None)
    connection.execute("PRAGMA query_only = ON")
    connection.execute("PRAGMA temp_store = MEMORY")
    return connection


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold a gallery's file, sound or damaged: nobody else has it open, and nobody can open it meanwhile.

    The lock is the open file's, not the process's: it also tells of connections of this process.

    Raises:
        InputError: it is open elsewhere, or it cannot be opened for writing.
    """
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError as exc:
        if exc.errno != errno.EROFS:
            raise cannot_write(path, exc) from exc
        yield  # of a disk that is mounted to be read only: nobody can be writing
        return
    try:
        # struct flock: type, whence, start, length, pid.
        wanted = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, *LOCK_BYTES, 0)
        try:
            fcntl.fcntl(handle, fcntl.F_OFD_SETLK, wanted)
        except (BlockingIOError, PermissionError) as exc:
            raise InputError(f"gallery {path} is open elsewhere: stop what uses it, then try again") from exc
        except OSError as exc:  # a file system without locks
            raise cannot_write(path, exc) from exc
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def one_file(path: Path, mode: int | None) -> Iterator[Path]:
    """Yield a temporary name for a gallery that becomes `path` when all went well, else nothing is left of it.

    Args:
        path: the file to make or replace.
        mode: its permissions; None: what a new file gets.

    Raises:
        InputError: it cannot be written, or the disk is full.
    """
    with atomic_path(path, mode) as temporary:
        try:
            with guarded(path):
                yield temporary
        except InputError as exc:
            if str(temporary) not in str(exc):
                raise
            kind = ArtefactError if isinstance(exc, ArtefactError) else InputError
            raise kind(str(exc).replace(str(temporary), str(path))) from exc
        finally:
            for end in (*LOGS, ".index"):
                beside(temporary, end).unlink(missing_ok=True)


def set_aside(path: Path, kept: Path) -> None:
    """Give a gallery, which nobody has open, and its log a second name, and take away what lies beside it.

    A log or an index of the old file beside the new one would be taken for the new one's. The gallery itself stays
    until another file is renamed over it.

    Raises:
        InputError: it cannot be done.
    """
    log = beside(path, "-wal")
    try:
        if log.exists():
            _second_name(log, beside(kept, "-wal"))
        _second_name(path, kept)
        flush(path.absolute().parent)
        clear_beside(path)
    except OSError as exc:
        if path.exists():  # which no other file has replaced yet
            kept.unlink(missing_ok=True)
        raise cannot_write(kept, exc) from exc


def clear_beside(path: Path) -> None:
    """Remove logs and index that lie beside a gallery's name, to the disk."""
    for file in (*(beside(path, end) for end in LOGS), index_path(path)):
        file.unlink(missing_ok=True)
    flush(path.absolute().parent)


def _second_name(old: Path, new: Path) -> None:
    """The same file by two names; where the file system has no such thing, by the new one only."""
    try:
        os.link(old, new)
    except OSError:
        old.replace(new)
