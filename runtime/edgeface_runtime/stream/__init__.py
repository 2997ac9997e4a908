"""Recognition in a stream of pictures: read, find, follow, embed and match at the same time. See stream.py."""

from __future__ import annotations

from edgeface_runtime.stream.event import Event
from edgeface_runtime.stream.frame import Frame
from edgeface_runtime.stream.results import StreamResult, StreamSummary, TrackedFace
from edgeface_runtime.stream.settings import StreamSettings
from edgeface_runtime.stream.source import Source, open_source
from edgeface_runtime.stream.stream import Stream

__all__ = [
    "Event",
    "Frame",
    "Source",
    "Stream",
    "StreamResult",
    "StreamSettings",
    "StreamSummary",
    "TrackedFace",
    "open_source",
]
