"""Regions of a face crop, and which of them an occlusion covers (Song et al. 2019; Johnston & Ngxande 2022, 3.4).

A region counts as covered when the segmentation covers more than half of its pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeface_runtime.errors import InputError

__all__ = ["FACE_REGIONS", "Box", "Region", "coincide", "covered_regions", "face_regions", "pixel_box"]

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in pixels of the crop, half-open: pixel x belongs to it where x1 <= x < x2."""


@dataclass(frozen=True)
class Region:
    """A named part of a face crop."""

    name: str
    box: Box
    """May reach beyond the crop; only pixels of the crop count."""


def pixel_box(box: Box, size: tuple[int, int]) -> tuple[int, int, int, int]:
    """The whole pixels of a box within a crop of `size` (height, width), as slices x1:x2, y1:y2 (perhaps empty)."""
    height, width = size
    x1, y1, x2, y2 = (int(value) for value in np.ceil(box))
    x1, y1 = min(max(x1, 0), width), min(max(y1, 0), height)
    return x1, y1, max(min(x2, width), x1), max(min(y2, height), y1)


def covered_regions(mask: NDArray[np.bool_], regions: Sequence[Region]) -> tuple[bool, ...]:
    """For each region whether more than half of its pixels are covered; one without a pixel in the crop never is.

    Args:
        mask: (H, W) bool, True where the face is covered, in pixels of the crop.

    Raises:
        InputError: the mask is not (H, W) bool.
    """
    if mask.ndim != 2 or mask.dtype != np.bool_:
        raise InputError(f"a covered mask must be (height, width) bool, got {mask.shape} {mask.dtype}")
    size = (mask.shape[0], mask.shape[1])
    found = []
    for region in regions:
        x1, y1, x2, y2 = pixel_box(region.box, size)
        part = mask[y1:y2, x1:x2]
        found.append(2 * int(np.count_nonzero(part)) > part.size)
    return tuple(found)


FACE_REGIONS = ("forehead", "left_eye", "right_eye", "nose", "mouth", "chin")
"""Names of `face_regions`, in order; left is left in the picture."""

SIZE_FROM_HEIGHT = 0.866
"""Eye distance over the distance from the eyes' to the mouth's middle, of the alignment template: a head turned aside
keeps its height, while its eyes come together."""


def coincide(points: NDArray[np.float64]) -> bool:
    """Whether a face's landmarks (5, 2) lie so near one another that no regions can be placed on them."""
    return _face_size(points) < 1


def _face_size(points: NDArray[np.float64]) -> float:
    """The eye distance, or that told from the face's height if that is more; pixels."""
    eyes, mouth = points[:2].mean(0), points[3:].mean(0)
    apart = float(np.linalg.norm(points[1] - points[0]))
    return max(apart, SIZE_FROM_HEIGHT * float(np.linalg.norm(mouth - eyes)))


def face_regions(landmarks: ArrayLike, cell: tuple[float, float]) -> tuple[Region, ...]:
    """Six regions placed on one face's own landmarks and sized by its eye distance (kind `lmface`).

    Not in the papers; it answers the wish of Johnston & Ngxande's conclusion for regions that follow a face that is
    not well aligned. With s the eye distance (or .866 of the distance from eyes to mouth, if that is more) all are
    within 2.2 s about the face's middle, so that background is left out: forehead from 1.2 s to .35 s above the
    eyes; each eye from .35 s above itself to .25 s below, split halfway between them; nose from there to .25 s above
    the mouth; mouth to .25 s below; chin to .85 s below. Each is at least one feature cell high and wide.

    Args:
        landmarks: (5, 2) pixels (x, y) of the crop: left eye, right eye, nose, left and right mouth corner.
        cell: height and width of a feature cell, pixels.

    Raises:
        InputError: the landmarks are not (5, 2), not finite, or coincide.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise InputError(f"landmarks must be five finite points (x, y), got shape {points.shape}")
    eyes, mouth, size = points[:2].mean(0), points[3:].mean(0), _face_size(points)
    if size < 1:
        raise InputError("landmarks coincide: no regions can be placed on them")
    middle = float(eyes[0] + mouth[0]) / 2
    left, right, split = middle - 1.1 * size, middle + 1.1 * size, float(eyes[0])
    brow, below = float(eyes[1]) - 0.35 * size, float(eyes[1]) + 0.25 * size
    lip, under = float(mouth[1]) - 0.25 * size, float(mouth[1]) + 0.25 * size
    boxes: list[Box] = [(left, float(eyes[1]) - 1.2 * size, right, brow)]
    for (_, y), x1, x2 in ((points[0], left, split), (points[1], split, right)):
        boxes.append((x1, float(y) - 0.35 * size, x2, float(y) + 0.25 * size))
    boxes += [
        (left, below, right, lip),
        (left, lip, right, under),
        (left, under, right, float(mouth[1]) + 0.85 * size),
    ]
    return tuple(Region(name, _at_least(box, cell)) for name, box in zip(FACE_REGIONS, boxes, strict=True))


def _at_least(box: Box, cell: tuple[float, float]) -> Box:
    """The box, widened about its middle to one cell where it is smaller."""
    x1, y1, x2, y2 = box
    across, down = max(0.0, cell[1] - (x2 - x1)) / 2, max(0.0, cell[0] - (y2 - y1)) / 2
    return x1 - across, y1 - down, x2 + across, y2 + down
