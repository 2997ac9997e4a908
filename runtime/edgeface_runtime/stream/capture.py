"""Cameras, video files, addresses and pipelines, through OpenCV's VideoCapture."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np

from edgeface_runtime.errors import DeviceError, EdgefaceError, InputError
from edgeface_runtime.picture import Pixels

__all__ = ["Capture"]

WAIT_MS = 10_000
"""How long FFmpeg waits for an address to answer, or for its next picture."""


class Capture:
    """A video source; see `source.Source`.

    Args:
        target: a camera's index, or a path, address or pipeline.
        name: for people.
        live: a camera or the like; an address of a file of known length is found out and treated as a file.
        api: OpenCV's number of the library to read with.
    """

    related = True

    def __init__(self, target: int | str, name: str, live: bool, api: int = cv2.CAP_ANY) -> None:
        self.name = self.label = name
        self.live = live
        self.fps: float | None = None
        self.expected: int | None = None
        self._target = target
        self._api = api
        self._capture: cv2.VideoCapture | None = None

    def open(self) -> None:
        """See `Source.open`. DeviceError where a live source is not there, InputError for a file."""
        self.close()
        try:
            with _silent():
                capture = self._new()
        except cv2.error as exc:
            raise self._missing() from exc
        if not capture.isOpened():
            capture.release()
            raise self._missing()
        self._capture = capture
        length = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        address = isinstance(self._target, str) and "://" in self._target
        if self.live and address and 0 < length < 2**31:
            self.live = False
        if not self.live:
            rate = capture.get(cv2.CAP_PROP_FPS)
            self.fps = rate if np.isfinite(rate) and 0 < rate <= 1000 else None
            self.expected = int(length) if 0 < length < 2**31 else None

    def _new(self) -> cv2.VideoCapture:
        if isinstance(self._target, str) and "://" in self._target:
            limits = [cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, WAIT_MS, cv2.CAP_PROP_READ_TIMEOUT_MSEC, WAIT_MS]
            return cv2.VideoCapture(self._target, cv2.CAP_FFMPEG, limits)
        return cv2.VideoCapture(self._target, self._api)

    def _missing(self) -> EdgefaceError:
        if self.live:
            return DeviceError(f"{self.name} cannot be opened: see that it is there, and that nobody else has it")
        return InputError(f"{self.name} cannot be read as a video: convert it, for example to H.264 in .mp4")

    def read(self) -> Pixels | None:
        """See `Source.read`."""
        if self._capture is None:
            return None
        try:
            there, image = self._capture.read()
        except cv2.error as exc:
            raise InputError(f"{self.name} gives no picture: {exc.err}") from exc
        if not there or image is None or image.size == 0:
            return None
        if image.dtype != np.uint8:
            raise InputError(f"{self.name} gives pictures of {image.dtype}: have it give 8 bits a channel")
        if image.ndim == 2 or image.shape[2] == 1:
            return np.asarray(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), np.uint8)
        if image.shape[2] == 4:
            return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGRA2BGR), np.uint8)
        return np.asarray(image)

    def close(self) -> None:
        """See `Source.close`."""
        capture, self._capture = self._capture, None
        if capture is not None:
            capture.release()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """OpenCV says nothing on stderr meanwhile: what went wrong is said in one line by whoever asked."""
    # OpenCV 4 has the function at its top, OpenCV 5 in a module of its own.
    logs: Any = cv2 if hasattr(cv2, "setLogLevel") else cv2.utils.logging
    level = logs.setLogLevel(0)
    try:
        yield
    finally:
        logs.setLogLevel(level)
