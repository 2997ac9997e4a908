"""FROM's occlusion patterns (Qiu et al. 2021): every axis-aligned rectangle of cells of a KxK grid, and "none".

There are (K(K+1)/2)^2 + 1 of them: 37, 101 and 226 for K = 3, 4, 5. FROM does not say in which order they are
counted; here pattern 0 is "none" and the rectangles follow by height, width, row and column: small ones first.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edgeface_runtime.align import CROP_SIZE, TEMPLATE
from edgeface_runtime.errors import InputError

__all__ = ["PATTERN_GRIDS", "grid_edges", "pattern_boxes", "pattern_cells", "pattern_count", "pattern_words"]

PATTERN_GRIDS = (3, 4, 5)
"""The grids FROM compares."""

_PARTS: dict[str, tuple[tuple[float, float], ...]] = {
    "forehead": ((0.5, 0.18),),
    "brow": ((0.316, 0.36), (0.683, 0.36)),
    "eye": tuple((x / CROP_SIZE[1], y / CROP_SIZE[0]) for x, y in TEMPLATE[:2]),
    "nose": ((TEMPLATE[2, 0] / CROP_SIZE[1], TEMPLATE[2, 1] / CROP_SIZE[0]),),
    "cheek": ((0.2, 0.7), (0.8, 0.7)),
    "mouth": tuple((x / CROP_SIZE[1], y / CROP_SIZE[0]) for x, y in TEMPLATE[3:]),
    "chin": ((0.5, 0.97),),
}
"""Where parts lie in an aligned crop, as shares of its width and height; the left one (in the picture) first."""
_TOGETHER = {"brow": "brows", "eye": "eyes", "cheek": "cheeks", "mouth": "mouth"}
_HALVES = {"mouth": "half of the mouth"}


def pattern_count(grid: int) -> int:
    """Number of classes: (K(K+1)/2)^2 + 1.

    Raises:
        InputError: the grid is none of `PATTERN_GRIDS`.
    """
    _check(grid)
    return (grid * (grid + 1) // 2) ** 2 + 1


@lru_cache
def pattern_cells(grid: int) -> NDArray[np.int64]:
    """(classes, 4) int64: left column, top row, right column, bottom row of cells, half open; row 0 is all zeros.

    Raises:
        InputError: the grid is none of `PATTERN_GRIDS`.
    """
    _check(grid)
    found = [
        (left, top, left + width, top + height)
        for height in range(1, grid + 1)
        for width in range(1, grid + 1)
        for top in range(grid - height + 1)
        for left in range(grid - width + 1)
    ]
    cells = np.array([(0, 0, 0, 0), *found], np.int64)
    cells.flags.writeable = False
    return cells


def grid_edges(length: int, grid: int) -> NDArray[np.int64]:
    """(K + 1,) int64: where the cells of `length` pixels begin and end, to the nearest pixel."""
    return (np.arange(grid + 1, dtype=np.int64) * 2 * length + grid) // (2 * grid)


def pattern_boxes(grid: int, size: tuple[int, int] = CROP_SIZE) -> NDArray[np.int64]:
    """(classes, 4) int64: x1, y1, x2, y2 in pixels of a crop of `size` (height, width), half open; row 0 is empty.

    Raises:
        InputError: the grid is none of `PATTERN_GRIDS`.
    """
    cells = pattern_cells(grid)
    across, down = grid_edges(size[1], grid), grid_edges(size[0], grid)
    return np.column_stack((across[cells[:, 0]], down[cells[:, 1]], across[cells[:, 2]], down[cells[:, 3]]))


def pattern_words(index: int, grid: int) -> str:
    """Which part of an aligned face a pattern covers, such as `nose, mouth and chin`; left is left in the picture.

    Several patterns may have the same words: `pattern_boxes` tells them apart.

    Raises:
        InputError: there is no such pattern.
    """
    if not 0 <= index < pattern_count(grid):
        raise InputError(f"pattern must be between 0 and {pattern_count(grid) - 1} for K = {grid}, got {index}")
    if index == 0:
        return "nothing"
    x1, y1, x2, y2 = (int(value) / grid for value in pattern_cells(grid)[index])
    hit = {name: [x1 <= x < x2 and y1 <= y < y2 for x, y in places] for name, places in _PARTS.items()}
    if all(all(places) for places in hit.values()):
        return "the whole face"
    # Whoever reads "left eye" need not be told of the brow above it.
    hit["brow"] = [brow and not eye for brow, eye in zip(hit["brow"], hit["eye"], strict=True)]
    words = [word for name, places in hit.items() if (word := _part(name, places))]
    if not words:
        down = "" if y1 == 0 and y2 == 1 else "upper " if y1 + y2 < 1 else "lower " if y1 + y2 > 1 else ""
        across = "left" if x1 + x2 < 1 else "right" if x1 + x2 > 1 else "middle"
        return f"{down}{across} edge" if across != "middle" else f"{down}middle"
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _part(name: str, hit: list[bool]) -> str:
    """One part's words; empty if none of it is covered."""
    if not any(hit):
        return ""
    if all(hit):
        return _TOGETHER.get(name, name)
    return f"{'left' if hit[0] else 'right'} {_HALVES.get(name, name)}"


def _check(grid: int) -> None:
    if grid not in PATTERN_GRIDS:
        raise InputError(f"--patterns must be one of {', '.join(map(str, PATTERN_GRIDS))}, got {grid}")
