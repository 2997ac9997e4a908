"""Writing and checking files so that nothing is lost: a temporary name, a flush to disk, then a rename.

A temporary name is `.NAME.edgeface.part`, locked for as long as its writer lives: what a killed run left under it is
told apart from another process's work, and taken over by the next run that writes the same target.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgeface_runtime.errors import InputError

__all__ = [
    "PART_SUFFIX",
    "atomic_path",
    "cannot_write",
    "flush",
    "make_parent",
    "part_folder",
    "remove_part",
    "require_file",
    "sha256_file",
    "write_bytes",
    "write_json",
]

PART_SUFFIX = ".edgeface.part"
"""End of the hidden names of what is being written."""


def cannot_write(path: Path, exc: OSError) -> InputError:
    """The error of a `path` that cannot be written, in one line."""
    blocking = next((folder for folder in path.parents if folder.exists()), None)
    if blocking is not None and not blocking.is_dir():
        return InputError(f"cannot write {path}: {blocking} is a file, not a folder")
    full = exc.errno == errno.ENOSPC
    return InputError(f"cannot write {path}: {'no space left on device' if full else exc.strerror or exc}")


def make_parent(path: Path) -> None:
    """Make the folder `path` is to lie in, unless it is there.

    Raises:
        InputError: it cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise cannot_write(path, exc) from exc


@contextlib.contextmanager
def atomic_path(path: Path, mode: int | None = None) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it is flushed and renamed to `path`, else removed.

    Args:
        path: the file to make or replace.
        mode: its permissions; None: what a new file gets.

    Raises:
        InputError: the folder cannot be written to, or the disk is full.
    """
    make_parent(path)
    temporary, handle = _part_file(path)
    done = False
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask if mode is None else mode)
        flush(temporary)
        temporary.replace(path)
        done = True
        flush(path.parent)
    except OSError as exc:
        # Of a write that failed Python names no file; another file's error is its reader's to explain.
        if exc.filename is not None and str(exc.filename) not in map(str, (temporary, path, path.parent)):
            raise
        raise cannot_write(path, exc) from exc
    finally:
        if not done:  # else the name may be another process's by now
            temporary.unlink(missing_ok=True)
        os.close(handle)


@contextlib.contextmanager
def part_folder(path: Path) -> Iterator[Path]:
    """Yield an empty hidden folder beside `path` to work in; it is removed at the end, with what is left in it.

    Raises:
        InputError: the folder `path` lies in cannot be written to.
    """
    make_parent(path)
    part = _part_name(path)
    with contextlib.suppress(OSError):  # there, or a reason that the other name meets too
        part.mkdir(mode=0o700)
    handle = _locked(part, os.O_RDONLY | os.O_DIRECTORY)
    if handle is None:
        import tempfile

        try:
            part = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=PART_SUFFIX, dir=path.parent))
        except OSError as exc:
            raise cannot_write(path, exc) from exc
    else:
        for left in part.iterdir():
            _remove(left)
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def remove_part(path: Path) -> None:
    """Remove what a killed run left of `path` under its temporary name, to the disk; another process's work stays."""
    part = _part_name(path)
    handle = _locked(part, os.O_RDWR)
    if handle is not None:
        part.unlink(missing_ok=True)
        os.close(handle)
        flush(part.parent)


def _part_name(path: Path) -> Path:
    return path.with_name(f".{path.name}{PART_SUFFIX}")


def _part_file(path: Path) -> tuple[Path, int]:
    """An empty hidden file beside `path`, and the handle that locks it."""
    part = _part_name(path)
    try:
        handle = _locked(part, os.O_RDWR | os.O_CREAT)
        if handle is None:
            import tempfile

            handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=PART_SUFFIX, dir=path.parent)
            return Path(name), handle
        os.ftruncate(handle, 0)
    except OSError as exc:
        raise cannot_write(path, exc) from exc
    return part, handle


def _locked(part: Path, flags: int) -> int | None:
    """Open and lock a part; None where another process that lives has it, or it is not ours to take over."""
    try:
        handle = os.open(part, flags | os.O_NOFOLLOW, 0o600)
    except OSError:
        return None
    with contextlib.suppress(OSError):
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        held = os.fstat(handle)
        if os.path.samestat(held, part.lstat()) and held.st_uid == os.geteuid():
            return handle
    os.close(handle)
    return None


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()


def flush(path: Path) -> None:
    """Flush a file, or a folder's names, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_json(path: Path, data: Any, allow_nan: bool = True) -> None:
    """Write `data` as indented JSON to `path` atomically; ValueError for NaN and infinity unless `allow_nan`."""
    write_bytes(path, (json.dumps(data, indent=2, ensure_ascii=False, allow_nan=allow_nan) + "\n").encode())


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def require_file(path: Path, what: str = "file") -> Path:
    """Return `path` if it is a file.

    Raises:
        InputError: it is missing, or a folder.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder, not {'an' if what[:1] in 'aeioO' else 'a'} {what}")
    if not path.is_file():
        raise InputError(f"{what} not found: {path}")
    return path
