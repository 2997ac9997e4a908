"""A picture with what was found drawn onto it."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface_runtime.picture import Pixels

__all__ = ["annotated", "as_jpeg"]

KNOWN = (80, 200, 80)
UNKNOWN = (60, 160, 240)
FONT = cv2.FONT_HERSHEY_SIMPLEX
JPEG_QUALITY = 80

Label = tuple[NDArray[np.float32], NDArray[np.float32], str, bool]
"""Box (4,), landmarks (5, 2), words, whether it is somebody known."""


def annotated(image: Pixels, labels: Iterable[Label]) -> Pixels:
    """A copy of (H, W, 3) uint8 BGR with boxes, points and words."""
    drawn: Pixels = image.copy()
    thick = max(1, round(max(image.shape[:2]) / 500))
    size = 0.5 * thick
    for box, landmarks, words, known in labels:
        colour = KNOWN if known else UNKNOWN
        x1, y1, x2, y2 = (round(float(value)) for value in box)
        cv2.rectangle(drawn, (x1, y1), (x2, y2), colour, thick)
        for x, y in landmarks:
            cv2.circle(drawn, (round(float(x)), round(float(y))), thick, colour, -1)
        (width, height), below = cv2.getTextSize(words, FONT, size, thick)
        top = y1 - height - below if y1 > height + below else y2
        cv2.rectangle(drawn, (x1, top), (x1 + width, top + height + below), colour, -1)
        cv2.putText(drawn, words, (x1, top + height + below // 2), FONT, size, (0, 0, 0), thick, cv2.LINE_AA)
    return drawn


def as_jpeg(image: Pixels) -> bytes:
    """(H, W, 3) uint8 BGR as a JPEG file."""
    done, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY))
    assert done, "a JPEG of uint8 BGR can always be made"
    return bytes(data)
