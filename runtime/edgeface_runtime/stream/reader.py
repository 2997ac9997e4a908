"""Reading a source to its end: at its own pace or as fast as it goes, and again when a live one went away."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Generator, Iterator

import numpy as np

from edgeface_runtime.errors import DeviceError, EdgefaceError, ImageError, InputError
from edgeface_runtime.picture import Pixels
from edgeface_runtime.stream.event import Event
from edgeface_runtime.stream.frame import Frame
from edgeface_runtime.stream.settings import StreamSettings
from edgeface_runtime.stream.source import Source

__all__ = ["Reader", "delays"]

FIRST_DELAY_S = 0.5
LONGEST_DELAY_S = 30.0
SHORT = 0.95
"""Share of the pictures a video says it has, below which its end is told: rates are often estimates."""


def delays() -> Iterator[float]:
    """Seconds to wait before each attempt to open a source again: doubled every time, up to half a minute."""
    wait_s = FIRST_DELAY_S
    while True:
        yield wait_s
        wait_s = min(2 * wait_s, LONGEST_DELAY_S)


class Reader:
    """The pictures of a source, as `frames()` gives them. Used by one thread; `stop` may be set by any.

    Args:
        source: not open yet; opened and closed here.
        settings: of the stream.
        tell: is given events.
        stop: ends the reading.
    """

    def __init__(
        self, source: Source, settings: StreamSettings, tell: Callable[[Event], object], stop: threading.Event
    ) -> None:
        self.read = 0
        self.unreadable = 0
        self.interruptions = 0
        self._source = source
        self._settings = settings
        self._tell = tell
        self._stop = stop
        self._lost_s: float | None = None
        self._why = ""
        """What a live source said when it failed."""
        self._delays = delays()

    def frames(self) -> Generator[tuple[Frame, float], None, None]:
        """Every picture, and the milliseconds that reading it took (of a camera: with waiting for it).

        Raises:
            InputError, DeviceError: the source cannot be opened at first, or did not come back in time.
        """
        source, most = self._source, self._settings.max_frames
        try:
            source.open()
            self._check()
            start_s, cut = time.monotonic(), True
            while not self._stop.is_set() and (most is None or self.read < most):
                begun = time.perf_counter()
                image = self._image()
                if image is None:
                    if not source.live:
                        self._ended()
                        return
                    self._reopen()
                    cut = True
                    continue
                took_ms = (time.perf_counter() - begun) * 1000
                self._found()
                now = time.monotonic()
                if self.read == 0:
                    start_s = now
                at_s = now - start_s if source.fps is None else self.read / source.fps
                cut = cut or not source.related
                frame = Frame(self.read, source.label, image, at_s, now, time.time(), cut)
                self.read, cut = self.read + 1, False
                yield frame, took_ms
                if self._settings.realtime and not source.live:
                    self._stop.wait(max(0.0, start_s + at_s - time.monotonic()))
        finally:
            source.close()

    def _check(self) -> None:
        if self._settings.realtime and not self._source.live and self._source.fps is None:
            raise InputError(f"{self._source.name} has no frame rate: leave out --realtime")

    def _image(self) -> Pixels | None:
        """The next picture, unreadable ones told of and left out. None at the end, or where a live source fails."""
        while not self._stop.is_set():
            try:
                image = self._source.read()
                if image is not None and not _is_picture(image):
                    raise InputError(f"{self._source.name} gave what is no picture of (H, W, 3) uint8")
                return image
            except ImageError as exc:
                self.unreadable += 1
                self._tell(Event("unreadable", str(exc), time.time()))
            except EdgefaceError as exc:
                if not self._source.live:
                    raise
                self._why = str(exc)
                return None
        return None

    def _ended(self) -> None:
        """Tell where a file ended too early."""
        said, got = self._source.expected, self.read + self.unreadable
        if self.read == 0 and not self._stop.is_set():
            raise InputError(f"{self._source.name} holds no picture that can be read: convert it anew")
        if said is not None and got < said * SHORT and not self._stop.is_set():
            words = f"{self._source.name} ended after {got} of the {said} pictures it says it has: it may be damaged"
            self._tell(Event("short", words, time.time()))

    def _reopen(self) -> None:
        """Wait and try until the source can be opened, longer every time until a picture comes of it."""
        source = self._source
        if self._lost_s is None:
            self._lost_s = time.monotonic()
            self.interruptions += 1
            words = self._why or f"{source.name} gives no pictures any more"
            self._tell(Event("lost", f"{words}: trying again", time.time()))
        self._why = ""
        while True:
            source.close()
            if self._stop.wait(self._pause_s(self._lost_s)):
                return
            with contextlib.suppress(EdgefaceError):
                source.open()
                return

    def _pause_s(self, lost_s: float) -> float:
        """Seconds to wait before the next attempt; DeviceError where there is to be none."""
        pause_s, limit_s = next(self._delays), self._settings.give_up_s
        if limit_s is None:
            return pause_s
        left_s = lost_s + limit_s - time.monotonic()
        if left_s <= 0:
            raise DeviceError(f"{self._source.name} went away and did not come back for {limit_s:g} s (--give-up)")
        return min(pause_s, left_s)

    def _found(self) -> None:
        """A picture is there: whatever was lost is back."""
        if self._lost_s is not None:
            away_s = time.monotonic() - self._lost_s
            self._tell(Event("back", f"{self._source.name} is back after {away_s:.1f} s", time.time()))
            self._lost_s, self._delays = None, delays()


def _is_picture(image: object) -> bool:
    """Whether a source, which may be anybody's, gave what the stages take."""
    return isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
