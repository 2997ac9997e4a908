"""What a page that shows the stream is given: a picture, drawn only if somebody looks, and the state in numbers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from edgeface_runtime.stream.draw import as_jpeg
from edgeface_runtime.stream.event import Event
from edgeface_runtime.stream.results import StreamResult, StreamSummary

__all__ = ["Publisher", "Showing"]

LATEST = 20


class Publisher(Protocol):
    """Where pictures and state go, such as a live page. Neither method may wait for anybody."""

    def wanted(self) -> bool:
        """Whether anybody looks."""

    def publish(self, picture: Callable[[], bytes], state: Mapping[str, Any]) -> None:
        """The newest picture, as what makes a JPEG of it, and the state as JSON data."""


class Showing:
    """Keeps the latest events and gives a publisher every result that is wanted."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._latest: deque[dict[str, Any]] = deque(maxlen=LATEST)
        self._lock = threading.Lock()

    def tell(self, event: Event) -> None:
        """An event to be shown; called from several threads."""
        with self._lock:
            self._latest.append(event.to_dict())

    def show(self, result: StreamResult, summary: Callable[[], StreamSummary]) -> None:
        """A picture to be shown; `summary` of the stream so far is asked for only when somebody looks."""
        for event in result.events:
            self.tell(event)
        if self._publisher.wanted():
            so_far = summary()
            stages = {stage: {"p50_ms": t.p50_ms, "p99_ms": t.p99_ms} for stage, t in so_far.stages.items()}
            with self._lock:
                events = list(self._latest)
            more = {"fps": so_far.fps, "drops": so_far.dropped, "stages": stages, "events": events}
            self._publisher.publish(lambda: as_jpeg(result.draw()), {**result.to_dict(), **more})
