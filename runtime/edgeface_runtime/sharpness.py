"""How blurred an aligned face is, as the width of the Gaussian that would blur a sharp edge as much.

Zhuo & Sim (2011): where an edge is blurred with width s and once more with a known width r, its gradient falls by
sqrt(s^2 + r^2) / s, whatever its contrast; so s follows from the two gradients, and brightness and exposure cancel.
Theirs is a map over a photograph; here it is the median over the strongest edges of the inner face. Noise looks
sharp.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_BLUR_PX", "blur_width"]

AGAIN_PX = 1.0
"""Width of the known blur, pixels."""
EDGES = 0.15
"""Share of the pixels that count as edges: those of the strongest gradient."""
MOST_BLUR_PX = 6.0
"""Widths are told apart up to here, pixels of the crop."""


def blur_width(grey: NDArray[np.float32]) -> float:
    """The width (standard deviation) of the blur, pixels, at most MOST_BLUR_PX; that too where there is no edge.

    Args:
        grey: (H, W) float32, the inner part of an aligned face.
    """
    again = np.asarray(cv2.GaussianBlur(grey, (0, 0), AGAIN_PX, borderType=cv2.BORDER_REFLECT), np.float32)
    before, after = _gradient(grey), _gradient(again)
    strong = after >= np.quantile(after, 1 - EDGES)
    strong &= after > 1e-3
    if not strong.any():
        return MOST_BLUR_PX
    excess = float(np.median(before[strong] / after[strong])) ** 2 - 1
    return MOST_BLUR_PX if excess <= 0 else min(AGAIN_PX / excess**0.5, MOST_BLUR_PX)


def _gradient(grey: NDArray[np.float32]) -> NDArray[np.float32]:
    across, down = cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1)
    return np.asarray(np.hypot(across, down)[2:-2, 2:-2], np.float32)
