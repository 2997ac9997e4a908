"""Which pixels are covered, as the truth a segmenter learns: from the occluder itself, or from two pictures.

Johnston & Ngxande 2022 have no occluder masks and take the difference: where |occluded - clean| is above a threshold,
opened (lone pixels go) and closed (holes where the occluder has the face's own colour are filled). They give neither
threshold nor sizes; ours are below. An occluder's soft shadow darkens the face beside it and so counts as covered in
such labels, while glass that hides less than half may stay below the threshold.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.occluders import Occluded
from edgeface_runtime.errors import InputError

__all__ = ["CLOSING_PX", "LABELS", "OPENING_PX", "THRESHOLD", "difference_label", "exact_label"]

LABELS = ("exact", "difference")
"""Names of the two ways."""
THRESHOLD = 25
"""Grey levels, 0..255: above the noise of JPEG, below most occluders' difference."""
OPENING_PX, CLOSING_PX = 3, 5
"""Sides of the square elements."""


def difference_label(
    clean: NDArray[np.uint8],
    occluded: NDArray[np.uint8],
    threshold: int = THRESHOLD,
    opening_px: int = OPENING_PX,
    closing_px: int = CLOSING_PX,
) -> NDArray[np.bool_]:
    """(H, W) True where the two pictures (H, W, 3) uint8 differ by more than `threshold` in any channel, opened, then
    closed; a side of 1 leaves that step out. What lies outside the picture never counts: at the border an opening
    does not eat, a closing does not grow.

    Raises:
        InputError: the pictures differ in shape, are not (H, W, 3) uint8, or a number is out of range.
    """
    for picture in (clean, occluded):
        if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
            raise InputError(f"a picture must be (height, width, 3) uint8, got {picture.shape} {picture.dtype}")
    if clean.shape != occluded.shape:
        raise InputError(
            f"the clean picture is {clean.shape[:2]}, the occluded one {occluded.shape[:2]}: not one face"
        )
    if not 0 <= threshold < 255:
        raise InputError(f"threshold must be between 0 and 254 grey levels, got {threshold}")
    if opening_px < 1 or closing_px < 1 or not opening_px % 2 or not closing_px % 2:
        raise InputError(f"opening and closing take odd sides, got {opening_px} and {closing_px}")
    label = (cv2.absdiff(clean, occluded).max(axis=2) > threshold).view(np.uint8)
    opened = cv2.morphologyEx(label, cv2.MORPH_OPEN, np.ones((opening_px, opening_px), np.uint8))
    # Padded: else a gap between the occluder and the picture's border would be closed like a hole.
    around, (height, width) = closing_px, label.shape
    padded = cv2.copyMakeBorder(opened, around, around, around, around, cv2.BORDER_CONSTANT, value=(0,))
    closed = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, np.ones((closing_px, closing_px), np.uint8))
    inner = closed[around : around + height, around : around + width]
    return np.ascontiguousarray(inner, np.uint8).view(np.bool_)


def exact_label(occluded: Occluded) -> NDArray[np.bool_]:
    """(H, W) True where the occluder hides at least half of the pixel; its shadow does not count."""
    return occluded.mask
