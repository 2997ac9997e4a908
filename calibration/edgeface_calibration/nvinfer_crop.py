"""The crop that DeepStream's nvinfer makes of a detected object, to measure on a CPU what it costs.

As Gst-nvinfer documents and its public source does: the box, clipped to the frame and brought to even pixels, is
scaled linearly to the network's input; with maintain-aspect-ratio the rest is black. It knows no landmarks.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeface_runtime.errors import FaceError, InputError

__all__ = ["nvinfer_crop"]


def nvinfer_crop(
    image: NDArray[np.uint8],
    box: ArrayLike,
    size: tuple[int, int],
    *,
    margin: float = 0.0,
    keep_aspect: bool = False,
    symmetric: bool = True,
) -> NDArray[np.uint8]:
    """Cut a box out of a frame and scale it.

    Args:
        image: (H, W, 3) uint8 BGR.
        box: (4,) x1, y1, x2, y2, pixels; may reach beyond the frame.
        size: (height, width) of the network's input.
        margin: share of the box's sides added on every side, as a probe in front of nvinfer would widen it.
        keep_aspect: maintain-aspect-ratio=1.
        symmetric: symmetric-padding=1: what is left goes to both sides, else right and below.

    Returns:
        (height, width, 3) uint8 BGR.

    Raises:
        InputError: the margin shrinks the box to nothing.
        FaceError: less than two pixels of the box lie in the frame.
    """
    if margin <= -0.5:
        raise InputError(f"a margin of {margin:g} leaves nothing of the box")
    height, width = size
    x1, y1, x2, y2 = (float(value) for value in np.asarray(box, dtype=np.float64))
    wide, high = margin * (x2 - x1), margin * (y2 - y1)
    x1, y1, x2, y2 = x1 - wide, y1 - high, x2 + wide, y2 + high
    rows, columns = image.shape[:2]
    left, top = max(x1, 0.0), max(y1, 0.0)
    across, down = min(x2, columns) - left, min(y2, rows) - top
    first_x, first_y = -(-int(left) // 2) * 2, -(-int(top) // 2) * 2  # up to even, then the sides down to even
    across, down = int(across) // 2 * 2, int(down) // 2 * 2
    part = image[first_y : first_y + max(down, 0), first_x : first_x + max(across, 0)]
    if min(part.shape[:2]) < 2:
        raise FaceError("the box lies outside the frame")
    if not keep_aspect:
        return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
    scale = min(width / part.shape[1], height / part.shape[0])
    inner = max(int(part.shape[1] * scale), 1), max(int(part.shape[0] * scale), 1)
    found = np.zeros((height, width, 3), np.uint8)
    x, y = ((width - inner[0]) // 2, (height - inner[1]) // 2) if symmetric else (0, 0)
    found[y : y + inner[1], x : x + inner[0]] = cv2.resize(part, inner, interpolation=cv2.INTER_LINEAR)
    return found
