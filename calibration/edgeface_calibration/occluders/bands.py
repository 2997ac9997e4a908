"""Blocks on a face's landmarks, as in Johnston & Ngxande 2022: white, upright, across the whole picture.

With d the distance between the eyes, and e, n, m the heights (y, pixels) of the eyes' middle, the nose tip and the
mouth corners' middle, a block reaches from the first height to the second:

    forehead   e - 1.60 d   to   e - .35 d
    eyes       e -  .35 d   to   e + .25 d
    nose       e +  .25 d   to   (n + m) / 2
    mouth      (n + m) / 2  to   m + .30 d
    chin       m +  .30 d   to   m + 1.30 d
    lower      nose, mouth and chin together: the paper's control for a face mask

It covers the rows y of the picture with first <= y < second, so neighbours neither overlap nor leave a gap. On a crop
to the face, forehead and chin end at its edges, as the paper's do. The paper's blocks are the regions of its LM2,
the same for every face; these follow each face's own landmarks. They do not turn with a tilted face, nor do the
paper's.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.occluders.placing import SHARE_TOLERANCE
from edgeface_runtime.errors import InputError

__all__ = ["BANDS", "band_rows", "draw_band"]

BANDS: dict[str, tuple[str, str]] = {
    "chin": ("chin", "chin"),
    "eyes": ("eyes", "eyes"),
    "forehead": ("forehead", "forehead"),
    "lower": ("nose", "chin"),
    "mouth": ("mouth", "mouth"),
    "nose": ("nose", "nose"),
}
"""Kind -> first and last region it covers, from the top."""


def band_rows(
    kind: str,
    points: NDArray[np.float64],
    shape: tuple[int, int],
    share: float | None = None,
    scale: float | None = None,
) -> tuple[int, int]:
    """First row and the row after the last one that `kind` covers on a picture of `shape` (h, w).

    Args:
        points: (5, 2) landmarks, pixels.
        share: grow or shrink the band about its middle (within the picture) to this share of the area.
        scale: .7 + .1 scale times its own height, 1..5.

    Raises:
        InputError: the band lies outside the picture or is empty (a face upside down), or no whole number of rows
            is near enough to the share.
    """
    regions = _regions(points)
    first, last = BANDS[kind]
    top, foot = regions[first][0], regions[last][1]
    if scale is not None:
        middle, half = 0.5 * (top + foot), 0.5 * (foot - top) * (0.7 + 0.1 * scale)
        top, foot = middle - half, middle + half
    height = shape[0]
    start, stop = max(math.ceil(top), 0), min(math.ceil(foot), height)
    if stop <= start:
        raise InputError(f"the {kind} block would lie outside this picture or be empty: its landmarks allow none")
    if share is not None:
        rows = round(share * height)
        if rows < 1 or abs(rows / height - share) > SHARE_TOLERANCE:
            raise InputError(f"{kind} cannot cover {share:g} of a picture {height} pixels high: use another share")
        start = min(max(round(0.5 * (start + stop - rows)), 0), height - rows)
        stop = start + rows
    return start, stop


def draw_band(image: NDArray[np.uint8], rows: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A copy of `image` (H, W, 3) with these rows white, and the covered pixels (H, W)."""
    covered, mask = image.copy(), np.zeros(image.shape[:2], np.bool_)
    covered[rows[0] : rows[1]] = 255
    mask[rows[0] : rows[1]] = True
    return covered, mask


def _regions(points: NDArray[np.float64]) -> dict[str, tuple[float, float]]:
    """Region -> upper and lower height."""
    d = float(np.hypot(*(points[1] - points[0])))
    e, n, m = float(points[:2, 1].mean()), float(points[2, 1]), float(points[3:, 1].mean())
    lip = 0.5 * (n + m)
    return {
        "forehead": (e - 1.6 * d, e - 0.35 * d),
        "eyes": (e - 0.35 * d, e + 0.25 * d),
        "nose": (e + 0.25 * d, lip),
        "mouth": (lip, m + 0.3 * d),
        "chin": (m + 0.3 * d, m + 1.3 * d),
    }
