"""A face as it was held: the detector's box resized, without alignment (Johnston & Ngxande 2022)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface_runtime.errors import FaceError

__all__ = ["box_crop"]


def box_crop(
    image: NDArray[np.uint8], box: NDArray[np.float32], landmarks: NDArray[np.float32], size: tuple[int, int]
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """Cut a box, its edges moved to whole pixels, and resize it.

    Args:
        image: (H, W, 3) uint8 BGR.
        box: (4,) x1, y1, x2, y2, pixels; may reach beyond the picture, which is black there.
        landmarks: (5, 2) pixels of the picture.
        size: (height, width) of the crop.

    Returns:
        (height, width, 3) uint8 BGR, and the landmarks in pixels of the crop (5, 2) float64; they may lie outside.

    Raises:
        FaceError: the box is smaller than a pixel, lies outside the picture, or is larger than three pictures.
    """
    height, width = size
    x1, y1, x2, y2 = (int(value) for value in np.rint(np.asarray(box, dtype=np.float64)))
    rows, columns = image.shape[:2]
    if x2 <= x1 or y2 <= y1 or x2 <= 0 or y2 <= 0 or x1 >= columns or y1 >= rows:
        raise FaceError("the detector's box lies outside the picture")
    if x2 - x1 > 3 * columns or y2 - y1 > 3 * rows:
        raise FaceError("the detector's box is far larger than the picture")
    above, left = max(-y1, 0), max(-x1, 0)
    below, right = max(y2 - rows, 0), max(x2 - columns, 0)
    inside = image[max(y1, 0) : y2, max(x1, 0) : x2]
    cut = cv2.copyMakeBorder(inside, above, below, left, right, cv2.BORDER_CONSTANT, value=(0, 0, 0))
    shrinks = cut.shape[0] > height and cut.shape[1] > width
    crop = cv2.resize(cut, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
    points = (np.asarray(landmarks, dtype=np.float64) - (x1, y1)) * (width / (x2 - x1), height / (y2 - y1))
    return np.asarray(crop, dtype=np.uint8), points
