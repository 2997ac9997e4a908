"""Pictures at halved sizes, and square windows cut from them in one call per size.

Cutting a 24 or 48 pixel window out of a large face by linear sampling alone would skip most of its pixels; sampling
from the halved picture whose step is nearest to one pixel averages instead, for a third more memory.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

__all__ = ["Pyramid"]

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]

MAX_ROWS = 32_000
"""`cv2.remap` addresses at most 32,767 rows of output."""


class Pyramid:
    """A picture at 1, 1/2, 1/4 ... of its size, each halved only when asked for.

    Args:
        image: (H, W, 3) uint8 BGR.
    """

    def __init__(self, image: Pixels) -> None:
        self._levels = [image]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the picture."""
        return self._levels[0].shape[0], self._levels[0].shape[1]

    def level(self, step: float) -> Pixels:
        """The smallest picture that is not coarser than one pixel per `step` pixels of the original."""
        return self._level(int(np.floor(np.log2(max(step, 1.0)))))

    def _level(self, number: int) -> Pixels:
        while len(self._levels) <= number:
            last = self._levels[-1]
            size = ((last.shape[1] + 1) // 2, (last.shape[0] + 1) // 2)
            self._levels.append(np.asarray(cv2.resize(last, size, interpolation=cv2.INTER_AREA), dtype=np.uint8))
        return self._levels[number]

    def resized(self, height: int, width: int) -> Pixels:
        """The whole picture at a smaller size, area-averaged: (height, width, 3) uint8 BGR."""
        source = self.level(min(self._levels[0].shape[0] / height, self._levels[0].shape[1] / width))
        interpolation = cv2.INTER_AREA if height <= source.shape[0] else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(source, (width, height), interpolation=interpolation), dtype=np.uint8)

    def windows(self, boxes: Floats, side: int) -> Pixels:
        """Cut square windows out, from whole pixels as the original does; what lies outside the picture is black.

        Args:
            boxes: (N, 4) x1, y1, x2, y2 between pixel edges of the original.
            side: pixels of the cut windows.

        Returns:
            (N, side, side, 3) uint8 BGR.
        """
        boxes = np.floor(boxes)
        pixels = np.zeros((len(boxes), side, side, 3), dtype=np.uint8)
        steps = np.maximum((boxes[:, 2] - boxes[:, 0]) / side, 1e-3)
        numbers = np.maximum(np.rint(np.log2(steps)), 0).astype(int)
        for number in np.flatnonzero(np.bincount(numbers)):  # np.unique imports numpy.ma
            chosen = np.flatnonzero(numbers == number)
            for start in range(0, len(chosen), MAX_ROWS // side):
                part = chosen[start : start + MAX_ROWS // side]
                pixels[part] = self._cut(boxes[part], side, int(number))
        return pixels

    def _cut(self, boxes: Floats, side: int, number: int) -> Pixels:
        level, image = self._level(number), self._levels[0]
        ratio = np.array([level.shape[1] / image.shape[1], level.shape[0] / image.shape[0]], dtype=np.float32)
        low, high = boxes[:, :2] * ratio, boxes[:, 2:] * ratio
        shares = (np.arange(side, dtype=np.float32) + 0.5) / side
        # (N, side, 2) sample places between edges; half a pixel less is the index of a pixel's centre.
        places = low[:, None] + (high - low)[:, None] * shares[None, :, None] - 0.5
        shape = (len(boxes), side, side)
        x = np.broadcast_to(places[:, None, :, 0], shape).reshape(-1, side)
        y = np.broadcast_to(places[:, :, None, 1], shape).reshape(-1, side)
        cut = cv2.remap(level, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=(0, 0, 0))
        return np.asarray(cut, dtype=np.uint8).reshape(*shape, 3)
