"""P-Net over the pyramid: windows that may hold a face.

The score maps of all scales lie below one another in one array, a closed row between them, so that suppression and
the gathering of candidates run once for a picture and not once for a scale.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeface_runtime.mtcnn_boxes import grid_boxes, grid_peaks, nms, regress, square
from edgeface_runtime.mtcnn_networks import Network, face_share, logit, planes
from edgeface_runtime.mtcnn_pyramid import Pyramid

__all__ = ["propose"]

Floats = NDArray[np.float32]


def propose(pnet: Network, pyramid: Pyramid, scales: list[float], threshold: float) -> Floats:
    """Square windows that P-Net takes for faces.

    Args:
        pnet: the network.
        pyramid: the picture.
        scales: of P-Net's inputs, from `pyramid_scales`.
        threshold: the probability from which a window is kept, in (0, 1).

    Returns:
        (N, 4) float32 windows, pixels of the picture.
    """
    if not scales:
        return np.empty((0, 4), dtype=np.float32)
    height, width = pyramid.shape
    sizes = [(int(np.ceil(height * scale)), int(np.ceil(width * scale))) for scale in scales]
    maps = [pnet(planes(pyramid.resized(*size)[None]))[0] for size in sizes]
    starts = np.cumsum([0] + [part.shape[1] + 1 for part in maps])
    stack = np.full((5, starts[-1], max(part.shape[2] for part in maps)), -np.inf, dtype=np.float32)
    for start, part in zip(starts, maps, strict=False):
        stack[:, start : start + part.shape[1], : part.shape[2]] = part
    y, x = np.nonzero(grid_peaks(stack[4], logit(threshold)))
    found = stack[:, y, x]
    number = np.searchsorted(starts, y, side="right") - 1
    stretch = np.array([(width / columns, height / rows) for rows, columns in sizes])
    boxes = grid_boxes(y - starts[number], x, stretch[number])
    kept = nms(boxes, face_share(found[4]), 0.7)
    return square(regress(boxes[kept], found[:4, kept].T))
