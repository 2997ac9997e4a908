"""What a live page shows: the last picture and its state. Nothing older is kept."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

__all__ = ["Board", "Encoded", "plain"]

Picture = Callable[[], bytes]


class Encoded(NamedTuple):
    """A picture as it is sent."""

    number: int
    """Which post it belongs to; 0 before the first."""
    jpeg: bytes
    """Empty before the first, and when it could not be made."""
    trouble: str
    """Why it could not be made, in one line; empty if it was."""


class Board:
    """Written by the stream, read by the page; each call is short and takes no more memory than the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number = 0
        self._posted = math.nan
        self._picture: Picture | None = None
        self._state: Any = {}
        self._encoded = Encoded(0, b"", "")

    @property
    def number(self) -> int:
        """How often something was posted; 0 before the first time."""
        return self._number

    def post(self, picture: Picture, state: Mapping[str, Any]) -> None:
        """Replace what is shown; the state is copied."""
        data = plain(state)
        with self._lock:
            self._number += 1
            self._posted, self._picture, self._state = time.monotonic(), picture, data

    def picture(self) -> Encoded:
        """The last picture, made once however many look. Called from one thread only."""
        with self._lock:
            number, make = self._number, self._picture
        if make is not None and number != self._encoded.number:
            try:
                self._encoded = Encoded(number, bytes(make()), "")
            except Exception as exc:  # whatever the stream's drawing raises: it is the viewer's to read
                self._encoded = Encoded(number, b"", " ".join(f"{type(exc).__name__}: {exc}".split()))
        return self._encoded

    def age_s(self) -> float:
        """Seconds since the last post; NaN before the first."""
        return time.monotonic() - self._posted

    def to_json(self, ended: bool) -> bytes:
        """The state as JSON, the newest event first.

        Times are how long ago, so that the clocks of board and viewer need not agree.
        """
        with self._lock:
            number, age_s, state = self._number, self.age_s(), dict(self._state)
        events = [{**event, "ago_s": _ago_s(event.get("wall_s"))} for event in state.pop("events", ())]
        data = {
            "number": number,
            "age_s": round(age_s, 3) if number else None,
            "ended": ended,
            "state": state,
            "events": events[::-1],
        }
        return json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def _ago_s(wall_s: float | None) -> float | None:
    return None if wall_s is None else round(max(0.0, time.time() - wall_s), 1)


def plain(value: Any) -> Any:
    """`value` as data that JSON knows, copied: numpy's numbers and arrays as numbers and lists, what is not finite as
    None.

    Raises:
        TypeError: something else is in it.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    raise TypeError(f"a live page cannot show a {type(value).__name__}")
