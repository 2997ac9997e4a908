"""FROM's occlusion pattern of a real occluder (Qiu et al. 2021): the rectangle of grid cells that overlaps it best.

The label is the argmax over all rectangles of the intersection over union with the occluder's pixels, exact at pixel
level: cells are whole pixels, so counts over cells give counts over rectangles.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from edgeface_runtime.errors import InputError
from edgeface_runtime.patterns import (
    PATTERN_GRIDS,
    grid_edges,
    pattern_boxes,
    pattern_cells,
    pattern_count,
    pattern_words,
)

__all__ = [
    "PATTERN_GRIDS",
    "pattern_boxes",
    "pattern_cells",
    "pattern_count",
    "pattern_label",
    "pattern_overlaps",
    "pattern_words",
]


def pattern_label(mask: NDArray[np.bool_], grid: int) -> int:
    """The pattern that covers a face most like `mask` does: 0 for an empty mask, of equal ones the lowest.

    Args:
        mask: (H, W) bool, True where the face is covered; at least K pixels high and wide.
        grid: K.

    Raises:
        InputError: the grid is none of `PATTERN_GRIDS`, or the mask is of another shape.
    """
    overlaps = pattern_overlaps(mask, grid)
    return int(overlaps.argmax()) if overlaps.any() else 0


def pattern_overlaps(mask: NDArray[np.bool_], grid: int) -> NDArray[np.float64]:
    """(classes,) float64: intersection over union of every pattern's pixels with the mask's; 0 for "none".

    Raises as `pattern_label`.
    """
    mask = np.asarray(mask, bool)
    if mask.ndim != 2 or min(mask.shape) < grid:
        raise InputError(f"a mask must be (height, width), at least {grid} pixels each way, got {mask.shape}")
    cells = pattern_cells(grid)
    down, across, areas = _layout(mask.shape[0], mask.shape[1], grid)
    rows = np.add.reduceat(mask, down[:-1], 0, np.int64)
    below = np.zeros((grid + 1, grid + 1), np.int64)
    below[1:, 1:] = np.add.reduceat(rows, across[:-1], 1).cumsum(0).cumsum(1)
    left, top, right, bottom = cells.T
    inside = below[bottom, right] - below[top, right] - below[bottom, left] + below[top, left]
    union = areas + below[-1, -1] - inside
    return np.asarray(inside / np.maximum(union, 1), np.float64)


@lru_cache
def _layout(height: int, width: int, grid: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Row and column edges of the cells, and the pixels of every pattern."""
    boxes = pattern_boxes(grid, (height, width))
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    return grid_edges(height, grid), grid_edges(width, grid), areas
