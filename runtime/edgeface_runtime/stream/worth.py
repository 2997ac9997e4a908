"""When a tracked face is worth another embedding: a clearly better picture, another look, or time gone by.

Quality is the product of three shares: how large the face is (1 from the size of the crop on), how much it looks
ahead (the nose between the eyes), and how sharp it is. It orders pictures of one face; it is no measure of
recognisability between people. How a face looks is its aligned crop in 16x16 cells of grey, less their mean, at unit
length: of two different people's portraits 1 pair in 200 is as alike as `ALIKE`, of one face moved, turned and noisy
99 in 100 are.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface_runtime.align import TEMPLATE
from edgeface_runtime.picture import Pixels

__all__ = ["ALIKE", "BETTER", "look_of", "quality_of"]

Floats = NDArray[np.float32]

BETTER = 1.2
"""How many times the quality must be that of the picture that decided."""
ALIKE = 0.8
"""Cosine of two looks from which they are one face's."""
CELLS = 16
EYES = float(np.linalg.norm(TEMPLATE[1] - TEMPLATE[0]))
"""Between the eyes in the crop, pixels."""
SHARP = 400.0
"""Variance of the Laplacian, at half size, at which a face counts as half sharp: clear portraits have 400 to 1,500,
blurred by two pixels 100 to 300. At half size it hardly depends on how the crop fell onto the pixels."""


def quality_of(crop: Pixels, landmarks: NDArray[np.floating]) -> float:
    """Quality of a face in [0, 1].

    Args:
        crop: (H, W, 3) uint8 BGR, as the network gets it.
        landmarks: (5, 2), pixels of the whole picture.
    """
    left, right, nose, *mouth = np.asarray(landmarks, np.float64)
    across = right - left
    distance = float(np.linalg.norm(across))
    if not distance > 0:
        return 0.0
    middle = (left + right + mouth[0] + mouth[1]) / 4
    turned = abs(float((nose - middle) @ across)) / distance**2
    ahead = max(0.1, 1 - 1.5 * turned)
    half = cv2.resize(crop, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(half, cv2.COLOR_BGR2GRAY)
    rough = float(cv2.Laplacian(gray, cv2.CV_32F).var())
    return min(1.0, distance / EYES) * ahead * rough / (rough + SHARP)


def look_of(crop: Pixels) -> Floats:
    """(256,) float32: how the inner part of a crop looks, at unit length; zeros for one colour."""
    height, width = crop.shape[:2]
    inner = crop[height // 7 : height - height // 14, width // 12 : width - width // 12]
    gray = cv2.cvtColor(np.ascontiguousarray(inner), cv2.COLOR_BGR2GRAY)
    cells = cv2.resize(gray, (CELLS, CELLS), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    cells -= cells.mean()
    return np.asarray(cells / max(float(np.linalg.norm(cells)), 1e-6), np.float32)
