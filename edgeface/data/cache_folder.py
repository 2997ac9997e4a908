"""Whether a folder can keep what was computed, said before the work."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from edgeface_runtime.errors import InputError
from edgeface_runtime.files import cannot_write

__all__ = ["check_cache"]


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
