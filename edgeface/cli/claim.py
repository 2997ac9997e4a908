"""Looking at --out before the work: nothing that is there is lost, and what cannot be written is said at once."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from edgeface_runtime.errors import InputError
from edgeface_runtime.files import cannot_write

__all__ = ["check_parent", "claim_file", "is_json"]


def claim_file(path: Path, kind: str, is_own: Callable[[Path], bool], force: bool, flag: str = "--out") -> None:
    """Refuse a place for a `kind` of file that is taken or cannot be written.

    Args:
        is_own: whether an existing file is of that kind.
        force: an existing file of that kind may be replaced; anything else never is.
        flag: that named the path.

    Raises:
        InputError: in one line, what to do instead.
    """
    if path.is_dir():
        raise InputError(f"{flag} {path} is a folder: name a file")
    check_parent(path)
    if not path.exists():
        if kind == "checkpoint" and path.suffix not in ("", ".safetensors"):
            raise InputError(f"{flag} {path}: a {kind}'s name ends in .safetensors, by which it is known")
        return
    if not is_own(path):
        raise InputError(f"{path} exists and is no {kind}: choose another {flag}")
    if not force:
        raise InputError(f"{path} exists: choose another {flag}, or replace it with --force")


def check_parent(path: Path) -> None:
    """Refuse a path that cannot be made: nothing can be written to its nearest parent that exists, which is tried.

    Raises:
        InputError: in one line.
    """
    parent = path.absolute().parent
    while not parent.exists() and parent != parent.parent:
        parent = parent.parent
    if not parent.is_dir():
        raise InputError(f"cannot write {path}: {parent} is a file, not a folder")
    if not os.access(parent, os.W_OK):
        raise InputError(f"cannot write {path}: {parent} is read-only")
    try:
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as exc:  # such as /proc, which calls itself writable
        raise cannot_write(path, exc) from exc


def is_json(path: Path) -> bool:
    """Whether a file begins as a JSON object does."""
    with path.open("rb") as stream:
        return stream.read(1) == b"{"
