"""Where a face went from one picture to the next: sparse optical flow, taken only where it can be trusted.

Points on the face are followed by pyramidal Lucas-Kanade (Bouguet 2000) there and back again; those that come back
give one similarity transform, which moves box and landmarks together. Where too few come back, or do not agree on a
small transform, the face counts as lost: a cut to another scene ends a track instead of handing it to another person.
Of 900 pairs of different portraits, faces at the same place, none was followed from one to the other.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["follow", "moved", "to_gray"]

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]

SIDE = 64
"""Side a face is shrunk to before its points are followed, pixels: the cost does not grow with the face."""
GRID = 6
"""Points a row and a column, over the middle of the box."""
RETURN = 1.0
"""How far from its start a point may come back, pixels of the shrunken face."""
AGREE = 0.5
"""Share of the points that must come back, and agree on one transform."""
LARGEST_SCALE = 1.25
"""Growth of a face between two pictures."""
SMALLEST = 24
"""Side of what may be searched, pixels."""
WINDOW = (13, 13)
LEVELS = 2


def to_gray(image: Pixels) -> Pixels:
    """(H, W) uint8 of (H, W, 3) uint8 BGR."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def moved(points: NDArray[np.floating], matrix: NDArray[np.float64]) -> Floats:
    """Points (N, 2) by a (2, 3) transform."""
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2], np.float32)


def follow(before: Pixels, after: Pixels, box: Floats) -> NDArray[np.float64] | None:
    """How the face in a box moved.

    Args:
        before, after: (H, W) uint8, two pictures of one size in a row.
        box: (4,) float32 x1, y1, x2, y2, where the face was, pixels.

    Returns:
        (2, 3) float64 similarity transform from the first picture to the second, pixels; None where the face is lost.
    """
    height, width = before.shape
    side = float(np.sqrt(max((box[2] - box[0]) * (box[3] - box[1]), 1.0)))
    low = np.maximum(np.floor(box[:2] - side / 2), 0).astype(int)
    high = np.minimum(np.ceil(box[2:] + side / 2), (width, height)).astype(int)
    if (high - low < SMALLEST).any():
        return None
    factor = min(1.0, SIDE / side)
    part = (slice(low[1], high[1]), slice(low[0], high[0]))
    first, second = _shrunk(before[part], factor), _shrunk(after[part], factor)
    start = _grid(box, low, factor)
    inside = ((start >= 0) & (start < (first.shape[1], first.shape[0]))).all(axis=1)
    start = start[inside]
    if len(start) < GRID * GRID * AGREE:
        return None
    end, found = _flow(first, second, start)
    back, again = _flow(second, first, end)
    good = found & again & (np.abs(back - start).max(axis=1) < RETURN)
    needed = len(start) * AGREE
    if good.sum() < needed:
        return None
    fitted, inliers = cv2.estimateAffinePartial2D(start[good], end[good], ransacReprojThreshold=2.0, maxIters=200)
    if fitted is None or inliers.sum() < needed:
        return None
    scale = float(np.sqrt(abs(np.linalg.det(fitted[:, :2]))))
    if not 1 / LARGEST_SCALE <= scale <= LARGEST_SCALE:
        return None
    matrix = np.asarray(fitted, np.float64)
    matrix[:, 2] = matrix[:, 2] / factor + low - matrix[:, :2] @ low
    return matrix


def _shrunk(part: Pixels, factor: float) -> Pixels:
    if factor == 1.0:
        return np.ascontiguousarray(part)
    size = (max(1, round(part.shape[1] * factor)), max(1, round(part.shape[0] * factor)))
    return np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA), np.uint8)


def _grid(box: Floats, low: NDArray[np.int_], factor: float) -> Floats:
    """(GRID * GRID, 2) points over the middle of the box, pixels of the shrunken part."""
    steps = np.linspace(0.1, 0.9, GRID)
    columns, rows = np.meshgrid(box[0] + steps * (box[2] - box[0]), box[1] + steps * (box[3] - box[1]))
    points = np.stack([columns.ravel(), rows.ravel()], axis=1) - low
    return np.asarray(points * factor, np.float32)


def _flow(before: Pixels, after: Pixels, points: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Where points (N, 2) went, and whether they were found."""
    unknown: Any = None  # OpenCV's stub does not know that it makes the result
    end, found, _ = cv2.calcOpticalFlowPyrLK(before, after, points, unknown, winSize=WINDOW, maxLevel=LEVELS)
    return np.asarray(end, np.float32), found[:, 0].astype(bool)
