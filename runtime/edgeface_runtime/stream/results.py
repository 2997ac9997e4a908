"""What a stream answers: frozen, typed, and the same as JSON by `to_dict()`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeface_runtime.picture import Pixels
from edgeface_runtime.results import FaceResult, Threshold
from edgeface_runtime.stream.draw import annotated
from edgeface_runtime.stream.event import Event
from edgeface_runtime.stream.frame import Frame
from edgeface_runtime.stream.meter import StageTimes

__all__ = ["StreamResult", "StreamSummary", "TrackedFace"]

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class TrackedFace:
    """One face of one picture of a stream."""

    track: int
    """Number of the track, from 1; never used again."""
    box: Floats
    """(4,) float32 x1, y1, x2, y2, pixels of the whole picture."""
    landmarks: Floats
    """(5, 2) float32 (x, y), pixels: left eye, right eye, nose, left mouth, right mouth as seen."""
    detected: bool
    """Whether the detector found it in this very picture; else it was followed from the one before."""
    embedded: bool
    """Whether it was embedded from this picture; else the decision is of an earlier one."""
    decided: FaceResult | None
    """The face, as it was embedded, that decides who this is; None where it could not be aligned."""
    age_s: float
    """How long ago that was, seconds of the stream."""
    quality: float
    """Of that face, in [0, 1]; see worth.py."""

    @property
    def name(self) -> str | None:
        """Who it is; None is unknown."""
        return None if self.decided is None else self.decided.match

    @property
    def score(self) -> float | None:
        """Cosine of the most alike person; None where it was compared with nobody."""
        return self.decided.candidates[0].score if self.decided is not None and self.decided.candidates else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        decided = self.decided
        return {
            "track": self.track,
            "box": [round(float(v), 2) for v in self.box],
            "landmarks": [[round(float(v), 2) for v in point] for point in self.landmarks],
            "name": self.name,
            "score": self.score,
            "nearest": decided.candidates[0].name if decided is not None and decided.candidates else None,
            "covered_share": None if decided is None else decided.covered_share,
            "discarded": [] if decided is None else list(decided.discarded),
            "note": "it cannot be aligned" if decided is None else decided.note,
            "detected": self.detected,
            "embedded": self.embedded,
            "age_s": round(self.age_s, 3),
            "quality": round(self.quality, 3),
        }


@dataclass(frozen=True, eq=False)
class StreamResult:
    """One picture of a stream, and everybody in it."""

    frame: Frame
    """The picture."""
    faces: tuple[TrackedFace, ...]
    """Everybody, by the number of the track."""
    events: tuple[Event, ...]
    """Who came, changed and went with this picture."""
    latency_ms: Mapping[str, float]
    """Milliseconds of each stage that ran for this picture: decode, detect, track, align, embed, match; and whole,
    from the picture being there to this result."""
    dropped: int
    """Pictures dropped so far."""

    def draw(self) -> Pixels:
        """A copy of the picture with boxes, landmarks and names, (H, W, 3) uint8 BGR."""
        labels = []
        for face in self.faces:
            score = "" if face.score is None else f" {face.score:.2f}"
            labels.append((face.box, face.landmarks, (face.name or "unknown") + score, face.name is not None))
        return annotated(self.frame.image, labels)

    def to_dict(self) -> dict[str, Any]:
        """As JSON data, without the events."""
        height, width = self.frame.image.shape[:2]
        return {
            "frame": self.frame.number,
            "source": self.frame.source,
            "at_s": round(self.frame.at_s, 4),
            "wall_s": round(self.frame.wall_s, 3),
            "width": width,
            "height": height,
            "faces": [face.to_dict() for face in self.faces],
            "latency_ms": {stage: round(value, 3) for stage, value in self.latency_ms.items()},
            "dropped": self.dropped,
        }


@dataclass(frozen=True)
class StreamSummary:
    """A stream as a whole, so far or at its end."""

    source: str
    """What was read."""
    read: int
    """Pictures read."""
    handled: int
    """Pictures that went through every stage."""
    dropped: int
    """Pictures let go because a newer one came first."""
    unreadable: int
    """Pictures that could not be read."""
    interruptions: int
    """How often a live source went away."""
    elapsed_s: float
    """From the first picture to the last result, seconds."""
    fps: float
    """Pictures handled a second."""
    detections: int
    """Pictures that were searched for faces."""
    tracks: int
    """Tracks there were."""
    faces: int
    """Faces of all pictures."""
    embeddings: int
    """Embeddings made."""
    saved: int
    """Faces that kept the embedding of an earlier picture."""
    stages: Mapping[str, StageTimes]
    """Times by stage."""
    peak_memory_bytes: int
    """Largest resident memory of the process since it began."""
    threshold: Threshold | None
    """What names were decided by; None without a gallery."""
    backend: Mapping[str, Any] = field(repr=False)
    """What really ran (Recognizer.describe)."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)
