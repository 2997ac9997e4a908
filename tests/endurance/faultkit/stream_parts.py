"""Parts for streams: a recogniser that finds what is not black, by a real network; a source that fails as told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np

from edgeface_runtime.align import TEMPLATE
from edgeface_runtime.backends import open_backend
from edgeface_runtime.bundle import open_bundle
from edgeface_runtime.detect import Face
from edgeface_runtime.errors import EdgefaceError
from edgeface_runtime.recognizer import Recognizer
from faultkit.tiny import write_bundle

Pixels = np.ndarray
WIDTH, HEIGHT = 96, 112


class Spots:
    """Finds faces where pictures are not black."""

    def detect(self, image: Pixels) -> list[Face]:
        count, _, stats, _ = cv2.connectedComponentsWithStats((image.max(axis=2) > 40).astype(np.uint8))
        return [
            Face(
                np.array([x, y, x + width, y + height], np.float32),
                (TEMPLATE * (width / WIDTH, height / HEIGHT) + (x, y)).astype(np.float32),
                0.9,
            )
            for x, y, width, height, area in stats[1:count]
            if area > 2000
        ]

    def close(self) -> None:
        pass


def recognizer(folder: Path) -> Recognizer:
    """With a bundle made in `folder`, which must not be there."""
    bundle = open_bundle(write_bundle(folder))
    return Recognizer(bundle, open_backend("onnxruntime", bundle.model_path(), threads=1), detector=Spots())


def portrait(seed: int) -> Pixels:
    """(HEIGHT, WIDTH, 3) uint8 that optical flow can follow, nowhere dark."""
    rng = np.random.default_rng(seed)
    size = (WIDTH, HEIGHT)
    coarse = cv2.resize(rng.integers(90, 230, (9, 8, 3)).astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    fine = cv2.resize(rng.normal(0, 20, (45, 38)).astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    return (coarse + fine[..., None]).clip(60, 255).astype(np.uint8)


def scene(*faces: tuple[int, int, int], size: tuple[int, int] = (160, 240)) -> Pixels:
    """Faces, as (seed, x, y), on black."""
    image = np.zeros((*size, 3), np.uint8)
    for seed, x, y in faces:
        place = image[y : y + HEIGHT, x : x + WIDTH]
        place[:] = portrait(seed)[: place.shape[0], : place.shape[1]]
    return image


class Scripted:
    """A source that gives one thing after another: pictures, None where it goes away, errors to raise, calls to make;
    an error after None is one of opening it again."""

    related = True
    fps: float | None = None
    expected: int | None = None

    def __init__(self, script: Iterable[object], live: bool = True) -> None:
        self.name = self.label = "the camera"
        self.live = live
        self.opened = self.closed = 0
        self._script: Iterator[object] = iter(script)
        self._lost = False

    def open(self) -> None:
        self.opened += 1
        if self._lost and isinstance(step := next(self._script, None), EdgefaceError):
            raise step
        elif self._lost:
            self._waiting = step
        self._lost = False

    def read(self) -> Pixels | None:
        step = self.__dict__.pop("_waiting", None)
        if step is None:
            step = next(self._script, None)
        if isinstance(step, Callable):  # type: ignore[arg-type]
            step = step()
        if isinstance(step, BaseException):
            raise step
        self._lost = step is None
        return step

    def close(self) -> None:
        self.closed += 1
