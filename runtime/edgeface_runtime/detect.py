"""Finding faces and their five landmarks with MTCNN (Zhang et al. 2016, arXiv 1604.02878).

Three networks in a row: P-Net over a pyramid of the picture, R-Net on the windows P-Net proposes, O-Net on those
R-Net keeps. The weights are the `mtcnn` package's (MIT), converted to ONNX by `scripts/convert_mtcnn.py`. Settings
are the usual ones: pyramid factor .709, thresholds .6/.7/.7, overlaps .5/.7/.7/.7, faces of 40 pixels or more.

With the area-averaging and the rounding of facenet-pytorch put in place of ours, the landmarks equal its own to .004
pixel (median), so the conversion is exact. Ours sample the nearest halved picture, which is cheaper; the cascade then
picks other windows and the points move by about one pixel, as much as mirroring the picture moves either's.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeface_runtime.closing import Closing
from edgeface_runtime.errors import FaceError, ImageError, InputError
from edgeface_runtime.mtcnn_boxes import CELL, nms, pyramid_scales, regress, square
from edgeface_runtime.mtcnn_networks import OPENERS, Network, face_share, in_batches
from edgeface_runtime.mtcnn_proposals import propose
from edgeface_runtime.mtcnn_pyramid import Pyramid

__all__ = ["Detector", "Face", "largest_central"]

FACTOR = 0.709
MAX_SIDE = 32_767
"""OpenCV's sampling addresses no further, pixels."""

Floats = NDArray[np.float32]
Roi = tuple[int, int, int, int]


@dataclass(frozen=True, eq=False)
class Face:
    """One face found in a picture."""

    box: Floats
    """(4,) float32 x1, y1, x2, y2, pixels; may reach beyond the picture."""

    landmarks: Floats
    """(5, 2) float32 pixels (x, y): left eye, right eye, nose, left and right mouth corner as seen in the picture."""

    score: float
    """O-Net's probability that this is a face, in [0, 1]."""


class Detector(Closing):
    """MTCNN as a context manager; safe to share between threads.

    Args:
        min_face: the smallest side of a face to look for, pixels, 12 or more.
        thresholds: the scores from which P-Net, R-Net and O-Net keep a window, each in (0, 1).
        backend: what runs the networks: "onnxruntime".
        threads: threads within one network; 0 leaves it to the backend.
        max_face: the largest side of a face to look for, pixels; no limit where None. Like `min_face` it says which
            windows P-Net is given: a face found may be a little smaller or larger than the two.

    Raises:
        InputError: an argument out of its range, or an unknown backend.
        MissingExtraError: the backend's package is not installed.
    """

    def __init__(
        self,
        min_face: int = 40,
        thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7),
        backend: str = "onnxruntime",
        threads: int = 1,
        max_face: int | None = None,
    ) -> None:
        if min_face < CELL:
            raise InputError(f"--min-face must be at least {CELL} pixels, got {min_face}")
        if max_face is not None and max_face < min_face:
            raise InputError(f"the largest face to look for must be at least --min-face {min_face}, got {max_face}")
        if len(thresholds) != 3 or not all(0 < value < 1 for value in thresholds):
            raise InputError(f"detection needs three thresholds between 0 and 1, got {thresholds}")
        if threads < 0:
            raise InputError(f"--threads must not be negative, got {threads}")
        if backend not in OPENERS:
            raise InputError(f"unknown detection backend {backend!r}: known are {', '.join(OPENERS)}")
        self.min_face = min_face
        self.max_face = max_face
        self.thresholds = thresholds
        folder = Path(__file__).parent / "mtcnn"
        networks = (OPENERS[backend](folder / f"{name}.onnx", threads) for name in ("pnet", "rnet", "onet"))
        self._networks: tuple[Network, ...] = tuple(networks)

    def close(self) -> None:
        """Let the networks go; the detector cannot be used afterwards."""
        self._networks = ()

    def detect(self, image: NDArray[np.uint8], roi: Roi | None = None) -> list[Face]:
        """Find the faces of a picture.

        Args:
            image: (H, W, 3) uint8 BGR.
            roi: x0, y0, x1, y1, whole pixels, x1 and y1 exclusive: only this part is looked at, as if it were all
                there is, so a face should lie in it with some room around. Results are in the picture's coordinates.

        Returns:
            Faces, the largest and most central first: by box area less twice the squared distance between the
            box's and the searched part's centre. Empty where there is none.

        Raises:
            ImageError: the picture is not (H, W, 3) uint8, or a side is longer than 32,767 pixels.
            InputError: the detector is closed, or `roi` is no part of the picture.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ImageError(f"a picture must be (height, width, 3) uint8 BGR, got {image.shape} {image.dtype}")
        if roi is not None:
            x0, y0, x1, y1 = _checked(roi, image.shape)
            return [_moved(face, x0, y0) for face in self.detect(image[y0:y1, x0:x1])]
        if max(image.shape) > MAX_SIDE:
            raise ImageError(f"a picture may be {MAX_SIDE} pixels wide or high, got {image.shape[:2]}: cut it")
        if not self._networks:
            raise InputError("the detector is closed: make a new one")
        pnet, rnet, onet = self._networks
        pyramid = Pyramid(image)
        limit = np.inf if self.max_face is None else self.max_face
        scales = pyramid_scales(image.shape[0], image.shape[1], self.min_face, FACTOR, limit)
        boxes = propose(pnet, pyramid, scales, self.thresholds[0])
        boxes = self._refine(rnet, pyramid, boxes)
        return _prominent_first(self._finish(onet, pyramid, boxes), image.shape)

    def _refine(self, rnet: Network, pyramid: Pyramid, boxes: Floats) -> Floats:
        """R-Net on each window: the kept ones, moved, (N, 4) square."""
        if not len(boxes):
            return boxes
        output = in_batches(rnet, pyramid.windows(boxes, side=24))
        scores = face_share(output[:, 4])
        good = np.flatnonzero(scores > self.thresholds[1])
        boxes, offsets = boxes[good], output[good, :4]
        kept = nms(boxes, scores[good], 0.7)
        return square(regress(boxes[kept], offsets[kept]))

    def _finish(self, onet: Network, pyramid: Pyramid, boxes: Floats) -> list[Face]:
        """O-Net on each window: the faces."""
        if not len(boxes):
            return []
        output = in_batches(onet, pyramid.windows(boxes, side=48))
        scores = face_share(output[:, 4])
        good = np.flatnonzero(scores > self.thresholds[2])
        boxes, output, scores = boxes[good], output[good], scores[good]
        size = boxes[:, 2:] - boxes[:, :2]
        points = boxes[:, None, :2] + output[:, 5:].reshape(-1, 5, 2) * size[:, None, :]
        boxes = regress(boxes, output[:, :4])
        kept = nms(boxes, scores, 0.7, over="smaller")
        return [Face(boxes[i], points[i], float(scores[i])) for i in kept]


def largest_central(faces: Sequence[Face], image_shape: Sequence[int]) -> Face:
    """The face that a portrait is of: the first by the order of `Detector.detect`.

    Args:
        faces: faces found in one picture.
        image_shape: its (height, width, ...).

    Raises:
        FaceError: there is none.
    """
    if not faces:
        raise FaceError("no face found: use a picture with a larger, clearer face")
    return _prominent_first(faces, image_shape)[0]


def _prominent_first(faces: Sequence[Face], image_shape: Sequence[int]) -> list[Face]:
    centre = np.array([image_shape[1], image_shape[0]], dtype=np.float64) / 2

    def prominence(face: Face) -> float:
        low, high = face.box[:2].astype(np.float64), face.box[2:].astype(np.float64)
        return float((high - low).prod() - 2 * (((low + high) / 2 - centre) ** 2).sum())

    return sorted(faces, key=prominence, reverse=True)


def _checked(roi: Roi, shape: Sequence[int]) -> Roi:
    height, width = shape[:2]
    try:
        x0, y0, x1, y1 = (operator.index(value) for value in roi)
    except (TypeError, ValueError):
        raise InputError(f"a region to search is four whole pixels x0, y0, x1, y1, got {roi!r}") from None
    if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height):
        raise InputError(f"a region to search must lie in the {width}x{height} picture, got {x0}, {y0}, {x1}, {y1}")
    return x0, y0, x1, y1


def _moved(face: Face, x: int, y: int) -> Face:
    shift = np.array([x, y], dtype=np.float32)
    return Face(face.box + np.tile(shift, 2), face.landmarks + shift, face.score)
