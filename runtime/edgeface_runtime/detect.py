"""Finding faces and their five landmarks with MTCNN (Zhang et al. 2016, arXiv 1604.02878).

Three networks in a row: P-Net over a pyramid of the picture, R-Net on the windows P-Net proposes, O-Net on those
R-Net keeps. The weights are the `mtcnn` package's (MIT), converted to ONNX by `scripts/convert_mtcnn.py`. Settings
are the usual ones: pyramid factor .709, thresholds .6/.7/.7, overlaps .5/.7/.7/.7, faces of 40 pixels or more.

With the area-averaging and the rounding of facenet-pytorch put in place of ours, the landmarks equal its own to .004
pixel (median), so the conversion is exact. Ours sample the nearest halved picture, which is cheaper; the cascade then
picks other windows and the points move by about one pixel, as much as mirroring the picture moves either's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeface_runtime.closing import Closing
from edgeface_runtime.errors import FaceError, ImageError, InputError, MissingExtraError
from edgeface_runtime.mtcnn_boxes import CELL, grid_boxes, grid_peaks, nms, pyramid_scales, regress, square
from edgeface_runtime.mtcnn_pyramid import Pyramid, network_input

__all__ = ["Detector", "Face", "largest_central"]

FACTOR = 0.709
MAX_BATCH = 256
"""Windows given to R-Net or O-Net at once: bounds memory on crowded pictures."""

MAX_SIDE = 32_767
"""OpenCV's sampling addresses no further, pixels."""

Floats = NDArray[np.float32]
Network = Callable[[Floats], list[Floats]]


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
    ) -> None:
        if min_face < CELL:
            raise InputError(f"--min-face must be at least {CELL} pixels, got {min_face}")
        if len(thresholds) != 3 or not all(0 < value < 1 for value in thresholds):
            raise InputError(f"detection needs three thresholds between 0 and 1, got {thresholds}")
        if threads < 0:
            raise InputError(f"--threads must not be negative, got {threads}")
        if backend not in _OPENERS:
            raise InputError(f"unknown detection backend {backend!r}: known are {', '.join(_OPENERS)}")
        self.min_face = min_face
        self.thresholds = thresholds
        folder = Path(__file__).parent / "mtcnn"
        networks = (_OPENERS[backend](folder / f"{name}.onnx", threads) for name in ("pnet", "rnet", "onet"))
        self._networks: tuple[Network, ...] = tuple(networks)

    def close(self) -> None:
        """Let the networks go; the detector cannot be used afterwards."""
        self._networks = ()

    def detect(self, image: NDArray[np.uint8]) -> list[Face]:
        """Find the faces of a picture.

        Args:
            image: (H, W, 3) uint8 BGR.

        Returns:
            Faces, the largest and most central first: by box area less twice the squared distance between the
            box's and the picture's centre. Empty where there is none.

        Raises:
            ImageError: the picture is not (H, W, 3) uint8, or a side is longer than 32,767 pixels.
            InputError: the detector is closed.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ImageError(f"a picture must be (height, width, 3) uint8 BGR, got {image.shape} {image.dtype}")
        if max(image.shape) > MAX_SIDE:
            raise ImageError(f"a picture may be {MAX_SIDE} pixels wide or high, got {image.shape[:2]}: cut it")
        if not self._networks:
            raise InputError("the detector is closed: make a new one")
        pnet, rnet, onet = self._networks
        pyramid = Pyramid(image)
        boxes = self._propose(pnet, pyramid, image.shape[0], image.shape[1])
        boxes = self._refine(rnet, pyramid, boxes)
        return _prominent_first(self._finish(onet, pyramid, boxes), image.shape)

    def _propose(self, pnet: Network, pyramid: Pyramid, height: int, width: int) -> Floats:
        """P-Net at every scale: (N, 4) square windows."""
        found: list[tuple[Floats, Floats, Floats]] = [_NOTHING]
        for scale in pyramid_scales(height, width, self.min_face, FACTOR):
            rows, columns = int(np.ceil(height * scale)), int(np.ceil(width * scale))
            offsets, scores = pnet(network_input(pyramid.resized(rows, columns)[None]))
            y, x = np.nonzero(grid_peaks(scores[0, 0], self.thresholds[0]))
            windows = grid_boxes(y, x, (width / columns, height / rows))
            found.append((windows, offsets[0, :, y, x], scores[0, 0, y, x]))
        boxes, offsets, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
        kept = nms(boxes, scores, 0.7)
        return square(regress(boxes[kept], offsets[kept]))

    def _refine(self, rnet: Network, pyramid: Pyramid, boxes: Floats) -> Floats:
        """R-Net on each window: the kept ones, moved, (N, 4) square."""
        if not len(boxes):
            return boxes
        offsets, scores = _in_batches(rnet, pyramid, boxes, side=24)
        good = np.flatnonzero(scores[:, 0] > self.thresholds[1])
        boxes, offsets, scores = boxes[good], offsets[good], scores[good, 0]
        kept = nms(boxes, scores, 0.7)
        return square(regress(boxes[kept], offsets[kept]))

    def _finish(self, onet: Network, pyramid: Pyramid, boxes: Floats) -> list[Face]:
        """O-Net on each window: the faces."""
        if not len(boxes):
            return []
        offsets, scores, points = _in_batches(onet, pyramid, boxes, side=48)
        good = np.flatnonzero(scores[:, 0] > self.thresholds[2])
        boxes, offsets, points, scores = boxes[good], offsets[good], points[good], scores[good, 0]
        size = boxes[:, 2:] - boxes[:, :2]
        points = boxes[:, None, :2] + points * size[:, None, :]
        boxes = regress(boxes, offsets)
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


_NOTHING: tuple[Floats, Floats, Floats] = (
    np.empty((0, 4), np.float32),
    np.empty((0, 4), np.float32),
    np.empty(0, np.float32),
)


def _in_batches(network: Network, pyramid: Pyramid, boxes: Floats, side: int) -> list[Floats]:
    parts = [
        network(network_input(pyramid.windows(boxes[start : start + MAX_BATCH], side)))
        for start in range(0, len(boxes), MAX_BATCH)
    ]
    return [np.concatenate(outputs) for outputs in zip(*parts, strict=True)]


def _open_onnxruntime(path: Path, threads: int) -> Network:
    try:
        import onnxruntime
    except ImportError as exc:
        raise MissingExtraError("onnxruntime", "cpu") from exc
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda batch: session.run(None, {"input": batch})


_OPENERS: dict[str, Callable[[Path, int], Network]] = {"onnxruntime": _open_onnxruntime}
