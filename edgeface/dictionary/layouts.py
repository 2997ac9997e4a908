"""Where the regions of a mask dictionary lie: PDSN's grid, and LM1 and LM2 of Johnston & Ngxande 2022 (3.4).

Theirs are placed by the landmarks' means and spreads on box crops. On aligned crops the spread is about a pixel, so a
spread is raised until its region is one feature cell (16 pixels) wide and high: smaller regions have no feature of
their own to discard. `lm2s` and `lmface` answer the paper's open ends: covers of one side, faces not well aligned.
`cell` answers the widest one, that masks discard good features too: every feature cell is a region and loses its own
features, all of them and no others, so nothing is learned and no cell is thrown away with its neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgeface.dictionary.landmarks import LandmarkStats
from edgeface_runtime.dictionary import DICTIONARY_KINDS
from edgeface_runtime.errors import InputError
from edgeface_runtime.regions import Box, Region, face_regions

__all__ = ["BANDS", "TAU", "WITHOUT_LANDMARKS", "cell_masks", "cells", "grid", "layout", "lm1", "lm2", "lm2s"]

BANDS = ("forehead", "eyes", "nose", "mouth", "chin")
"""LM2's regions from top to bottom."""

TAU = {"grid": 0.25, "lm1": 0.20, "lm2": 0.30, "lm2s": 0.25, "lmface": 0.25}
"""Share of features each region discards. The first three are the paper's: the larger a region, the more features it
damages (`cell` has none). LM2's halves and the six regions per face are about as large as a block of the grid."""

WITHOUT_LANDMARKS = ("grid", "cell")
"""Kinds whose regions are not placed by landmarks."""

Cell = tuple[float, float]


def layout(
    kind: str, size: tuple[int, int], cell: Cell, stats: LandmarkStats | None = None, k: int = 3
) -> tuple[Region, ...]:
    """The regions of a kind of dictionary.

    Args:
        kind: one of DICTIONARY_KINDS; `lmface` gives those of the mean face.
        size: height and width of the crop, pixels.
        cell: height and width of a feature cell, pixels.
        stats: needed by all but WITHOUT_LANDMARKS.
        k: blocks along each side of the grid.

    Raises:
        InputError: an unknown kind, a grid finer than the features, or landmarks that leave no room for the regions.
    """
    if kind not in DICTIONARY_KINDS:
        raise InputError(f"unknown --mask {kind!r} for a dictionary: choose one of {', '.join(DICTIONARY_KINDS)}")
    if kind == "grid":
        return grid(size, cell, k)
    if kind == "cell":
        return cells(size, cell)
    if stats is None:
        raise InputError(f"--mask {kind} needs the statistics of landmarks")
    if kind == "lmface":
        return face_regions(stats.mean, cell)
    return {"lm1": lm1, "lm2": lm2, "lm2s": lm2s}[kind](size, cell, stats)


def grid(size: tuple[int, int], cell: Cell, k: int = 3) -> tuple[Region, ...]:
    """KxK blocks of equal size, row by row: `row1_column1` ... (Song et al. 2019).

    Raises:
        InputError: a block would be smaller than a feature cell.
    """
    height, width = size[0] / k, size[1] / k
    if height < cell[0] or width < cell[1]:
        raise InputError(
            f"a {k}x{k} grid has blocks smaller than a feature cell: use --grid {int(k * height / cell[0])}"
        )
    return _blocks(k, k, height, width)


def cells(size: tuple[int, int], cell: Cell) -> tuple[Region, ...]:
    """The feature cells, row by row, named like the grid's blocks."""
    return _blocks(round(size[0] / cell[0]), round(size[1] / cell[1]), *cell)


def cell_masks(shape: Sequence[int]) -> NDArray[np.bool_]:
    """(h * w, C, h, w), True = keep: for every cell of a feature map (C, h, w), row by row, all but its own."""
    _, rows, columns = shape
    own = np.eye(rows * columns, dtype=np.bool_).reshape(-1, 1, rows, columns)
    return np.asarray(np.broadcast_to(~own, (len(own), *shape)))


def _blocks(rows: int, columns: int, height: float, width: float) -> tuple[Region, ...]:
    return tuple(
        Region(f"row{y + 1}_column{x + 1}", (x * width, y * height, (x + 1) * width, (y + 1) * height))
        for y in range(rows)
        for x in range(columns)
    )


def lm1(size: tuple[int, int], cell: Cell, stats: LandmarkStats) -> tuple[Region, ...]:
    """LM1: boxes 4 sigma wide and high about the means of both eyes, the nose and the mouth, within the crop."""
    places = [(*stats.mean[index], *stats.std[index]) for index in range(3)]
    places.append((*stats.mouth[0], *stats.mouth[1]))
    regions = []
    for name, (x, y, across, down) in zip(("left_eye", "right_eye", "nose", "mouth"), places, strict=True):
        half_width = 2 * max(float(across), cell[1] / 4)
        half_height = 2 * max(float(down), cell[0] / 4)
        x1, x2 = _within(float(x) - half_width, float(x) + half_width, size[1], cell[1])
        y1, y2 = _within(float(y) - half_height, float(y) + half_height, size[0], cell[0])
        regions.append(Region(name, (x1, y1, x2, y2)))
    return tuple(regions)


def _within(low: float, high: float, side: int, least: float) -> tuple[float, float]:
    """The interval cut at the crop's border, moved inside as far as it would become smaller than a cell."""
    low, high = max(low, 0.0), min(high, float(side))
    if high - low < least:
        low = min(max(0.0, low if low > 0 else high - least), side - least)
        high = low + least
    return low, high


def lm2(size: tuple[int, int], cell: Cell, stats: LandmarkStats) -> tuple[Region, ...]:
    """LM2: five bands over the whole width, the eyes' from 3 sigma above to 2 below, the mouth's 2 sigma both ways.

    Raises:
        InputError: the eyes are so near the mouth that a band would be lower than a feature cell.
    """
    edges = _edges(size[0], cell[0], stats)
    width = float(size[1])
    return tuple(Region(name, (0.0, edges[row], width, edges[row + 1])) for row, name in enumerate(BANDS))


def lm2s(size: tuple[int, int], cell: Cell, stats: LandmarkStats) -> tuple[Region, ...]:
    """LM2, each band split at the nose into left and right (in the picture), for covers of one side only.

    Raises:
        InputError: as `lm2`.
    """
    split = min(max(float(stats.mean[2, 0]), cell[1]), size[1] - cell[1])
    found = []
    for region in lm2(size, cell, stats):
        x1, y1, x2, y2 = region.box
        left: Box = (x1, y1, split, y2)
        right: Box = (split, y1, x2, y2)
        found += [Region(f"left_{region.name}", left), Region(f"right_{region.name}", right)]
    return tuple(found)


def _edges(height: int, cell: float, stats: LandmarkStats) -> tuple[float, ...]:
    """The six edges of LM2's bands, each band at least a cell high."""
    eyes, eyes_std = stats.eyes_y
    mouth, mouth_std = float(stats.mouth[0][1]), float(stats.mouth[1][1])
    eyes_std, mouth_std = max(eyes_std, cell / 5), max(mouth_std, cell / 4)
    above = max(eyes - 3 * eyes_std, cell)
    below = max(eyes + 2 * eyes_std, above + cell)
    under = min(mouth + 2 * mouth_std, height - cell)
    over = min(mouth - 2 * mouth_std, under - cell)
    if over - below < cell:
        raise InputError(
            f"landmark bands do not fit: eyes at {eyes:.0f} and mouth at {mouth:.0f} of {height} pixels leave less "
            f"than a feature cell ({cell:.0f}) for the nose: use --mask grid or lm1"
        )
    return 0.0, above, below, over, under, float(height)
