"""Verification pairs that come with a data set."""

from __future__ import annotations

from pathlib import Path

from edgeface.data.readers.types import Skipped
from edgeface_calibration.pairs import Pair, read_pairs
from edgeface_runtime.errors import InputError

__all__ = ["pairs_of"]


def pairs_of(path: Path, images: Path, skipped: list[Skipped]) -> tuple[Pair, ...]:
    """The usable pairs of a file; each line that names a missing picture, or why none can be used, is listed."""
    if not path.is_file():
        return ()
    try:
        pairs, report = read_pairs(path, images)
    except InputError as exc:
        skipped.append(Skipped(path.name, str(exc)))
        return ()
    skipped += [
        Skipped(f"{path.name} line {e.line}", f"names {e.picture}, which is not there") for e in report.missing
    ]
    return tuple(pairs)
