"""Where the five points of an aligned face come to lie: by the name of a template, or from a file of five points."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from edgeface_calibration.landmarks import five_points
from edgeface_runtime.align import arcface_template, template_for
from edgeface_runtime.errors import InputError
from edgeface_runtime.files import require_file

__all__ = ["NAMES", "Points", "read_template", "same_template"]

Points = tuple[tuple[float, float], ...]
"""Five points (x, y), pixels of the crop."""
NAMES = ("edgeface", "arcface")
"""Templates known by name; any other is a file."""


def read_template(text: str | None, size: tuple[int, int], flag: str = "--template") -> Points:
    """The template `text` for crops of `size` (height, width).

    Args:
        text: `edgeface`: ours, stretched to the size; `arcface`: for squares, scaled from 112x112; a JSON file of
            five points in pixels of the crop, in the order of `edgeface_runtime.align.TEMPLATE`; None: as
            `template_for` says.

    Raises:
        InputError: no such file, not five different points inside the crop, or `arcface` for no square.
    """
    height, width = size
    if text is None:
        found = template_for(size)
    elif text == "edgeface":
        found = template_for((112, 96)) * (width / 96, height / 112)
    elif text == "arcface":
        if height != width:
            raise InputError(f"{flag} arcface is for square crops, not {height}x{width}: give a file of five points")
        found = arcface_template(height)
    else:
        return _from_file(Path(text), size, flag)
    return _points(found)


def same_template(first: Points, second: Points) -> bool:
    """Whether two templates are the same to a thousandth of a pixel."""
    return bool(np.allclose(first, second, atol=1e-3))


def _from_file(path: Path, size: tuple[int, int], flag: str) -> Points:
    require_file(path, f"template ({flag} takes {', '.join(NAMES)} or a JSON file of five points)")
    try:
        found = five_points(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as exc:
        raise InputError(f"{flag} {path} is not JSON: write five points, [[x, y], ...]") from exc
    inside = found is not None and bool(((found >= 0) & (found < size[::-1])).all())
    if found is None or not inside or len({tuple(point) for point in found.tolist()}) < 5:
        raise InputError(
            f"{flag} {path} does not hold five different points [[x, y], ...] inside a crop of "
            f"{size[1]} wide, {size[0]} high"
        )
    return _points(found)


def _points(found: np.ndarray) -> Points:
    return tuple((float(x), float(y)) for x, y in found)
