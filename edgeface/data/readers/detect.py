"""Which published layout a folder has."""

from __future__ import annotations

from pathlib import Path

from edgeface.data.readers.ar import AR
from edgeface.data.readers.casia_rec import CASIA_REC
from edgeface.data.readers.folders import FOLDERS
from edgeface.data.readers.lfw import LFW
from edgeface.data.readers.megaface import MEGAFACE
from edgeface.data.readers.rmf2 import RMF2
from edgeface.data.readers.rmfd import RMFD, RMFD_SIMULATED
from edgeface.data.readers.types import FaceSet, Format
from edgeface_runtime.errors import InputError

__all__ = ["FORMATS", "open_reader"]

FORMATS: dict[str, Format] = {
    known.name: known for known in (CASIA_REC, RMFD, RMFD_SIMULATED, MEGAFACE, RMF2, LFW, AR, FOLDERS)
}
"""Every reader by its name, in the order in which layouts are tried: the most particular first."""


def open_reader(path: Path, name: str | None = None) -> FaceSet:
    """Open a data set where it lies.

    Args:
        path: a folder, or a `.rec` file.
        name: one of `FORMATS`; None: told by the layout.

    Raises:
        InputError: `path` is missing, the name or the layout is unknown, or nothing in it can be used.
    """
    if name is not None and name not in FORMATS:
        raise InputError(f"unknown format {name!r}: known are {', '.join(FORMATS)}")
    if not path.exists():
        raise InputError(f"no file or folder at {path}")
    if name is not None:
        return FORMATS[name].open(path)
    for known in FORMATS.values():
        if known.matches(path):
            return known.open(path)
    layouts = "; ".join(f"{known.name} ({known.layout})" for known in FORMATS.values())
    raise InputError(f"{path} has no known layout: known are {layouts}")
