"""A folder that keeps what was computed: whether it can, said before the work, and how its files are damaged."""

from __future__ import annotations

import os
import struct
import tempfile
import zipfile
import zlib
from pathlib import Path

from edgeface_runtime.errors import InputError
from edgeface_runtime.files import cannot_write

__all__ = ["DAMAGED", "check_cache"]

DAMAGED = (
    *(OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, RuntimeError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, struct.error),
)
"""What reading a kept `.npz` that is damaged, or no such file, raises."""


def check_cache(folder: Path) -> None:
    """Say before the work whether `folder` is one, or can be made, and takes files.

    Raises:
        InputError: it does not, in one line.
    """
    there = folder.absolute()
    while not os.path.lexists(there) and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise InputError(f"--cache {folder}: {there} is no folder: name another")
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as exc:
        raise InputError(f"--cache {folder}: {cannot_write(folder, exc)}: name another") from exc
