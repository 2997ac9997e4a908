"""What recognition answers: frozen, typed, and the same as JSON by `to_dict()`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgeface_runtime.gallery_results import Candidate, GallerySource
from edgeface_runtime.quality import Quality

__all__ = ["Duplicate", "Embeddings", "Enrolment", "FaceResult", "ImageResult", "Status", "Threshold", "Verification"]

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]

Status = Literal["ok", "no_face", "several_faces", "unreadable", "refused"]
"""Outcome of one picture: one face, none, more than one, not a picture, or a covered face that could not be matched
because the gallery is too large for it."""


@dataclass(frozen=True, eq=False)
class Embeddings:
    """Embeddings of N aligned faces."""

    vectors: Floats
    """(N, embedding_size) float32, unit rows."""
    covered_share: Floats | None
    """(N,) float32, how much of the face the model's mask discards, in [0, 1], uncalibrated; None without a mask."""
    features: Halves | None = None
    """(N, C, h, w) float16, what a dictionary model masks; None for other models."""
    patterns: Floats | None = None
    """(N, classes) float32, probability of each occlusion pattern; None unless the model was exported with them."""


@dataclass(frozen=True)
class Threshold:
    """From which score on two faces count as one person's."""

    value: float
    """Cosine in [-1, 1]; a score equal to it matches."""
    source: str
    """Where it comes from: the caller, or the bundle with the false match rate it was measured at."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return {"value": self.value, "source": self.source}


@dataclass(frozen=True, eq=False)
class FaceResult:
    """One face of a picture."""

    box: Floats
    """(4,) float32 x1, y1, x2, y2, pixels."""
    landmarks: Floats
    """(5, 2) float32 (x, y), pixels: left eye, right eye, nose, left mouth, right mouth as seen."""
    score: float
    """Confidence of the detection, in [0, 1]."""
    embedding: Floats
    """(embedding_size,) float32, unit length."""
    covered_share: float | None = None
    """How much of the face is covered, in [0, 1]: what the model's mask discards, uncalibrated, or for a dictionary
    model the share of pixels the segmenter calls covered; None without a mask."""
    covered_part: str | None = None
    """Which part is covered, in words; None unless the model was exported with its occlusion patterns."""
    discarded: tuple[str, ...] = ()
    """Names of the covered regions, which a dictionary model leaves out of the comparison."""
    features: Halves | None = field(default=None, repr=False)
    """(C, h, w) float16, what a dictionary model masks; None for other models."""
    candidates: tuple[Candidate, ...] = ()
    """The most alike people of the gallery, best first."""
    match: str | None = None
    """Name of the first candidate if its score reaches the threshold."""
    note: str = ""
    """Why the face was not compared with anybody, in one line; empty if it was."""
    quality: Quality | None = None
    """How good the picture of it is for recognition; None where that was not measured."""
    threshold: Threshold | None = None
    """What `match` was decided by; None where nothing was matched."""

    @property
    def name(self) -> str | None:
        """Who it is: `match`. Nobody's name is given where the threshold is not reached; see `candidates`."""
        return self.match

    @property
    def matched(self) -> bool:
        """Whether the first candidate's score reaches the threshold."""
        return self.match is not None

    @property
    def similarity(self) -> float | None:
        """The first candidate's score, a cosine, matched or not; None where there is no candidate."""
        return self.candidates[0].score if self.candidates else None

    def to_dict(self, with_embedding: bool = False) -> dict[str, Any]:
        """As JSON data; the embedding (512 numbers) only when asked for."""
        data: dict[str, Any] = {
            "box": [round(float(v), 2) for v in self.box],
            "landmarks": [[round(float(v), 2) for v in point] for point in self.landmarks],
            "score": self.score,
            "covered_share": self.covered_share,
            "covered_part": self.covered_part,
            "discarded": list(self.discarded),
            "match": self.match,
            "note": self.note,
            "quality": None if self.quality is None else self.quality.to_dict(),
            "threshold": None if self.threshold is None else self.threshold.to_dict(),
            "candidates": [candidate.to_dict() for candidate in self.candidates],
        }
        if with_embedding:
            data["embedding"] = [float(v) for v in self.embedding]
        return data


@dataclass(frozen=True, eq=False)
class ImageResult:
    """One picture: every face in it, or why there is none."""

    source: str
    """The picture's path; empty for an array."""
    status: Status
    """Outcome."""
    message: str
    """The outcome in one line."""
    faces: tuple[FaceResult, ...]
    """All faces, the most prominent first."""
    threshold: Threshold | None
    """The strictest of what its faces were decided by; None where nothing was matched."""
    backend: dict[str, Any]
    """What really ran (Recognizer.describe)."""
    gallery: GallerySource | None = None
    """Which gallery answered, and whether that is a stale copy; None where nobody was looked up."""

    def to_dict(self, with_embedding: bool = False) -> dict[str, Any]:
        """As JSON data."""
        return {
            "source": self.source,
            "status": self.status,
            "message": self.message,
            "faces": [face.to_dict(with_embedding) for face in self.faces],
            "threshold": None if self.threshold is None else self.threshold.to_dict(),
            "backend": self.backend,
            "gallery": None if self.gallery is None else self.gallery.to_dict(),
        }


@dataclass(frozen=True)
class Duplicate:
    """A face that somebody of the gallery matches under another name."""

    picture: int
    """Which of the pictures, from 0."""
    name: str
    """Under which name it is enrolled."""
    score: float
    """Cosine with that person's best template."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


@dataclass(frozen=True, eq=False)
class Enrolment:
    """Templates added to a gallery."""

    name: str
    """Who was enrolled."""
    ids: tuple[int, ...]
    """Ids of the new templates, one a picture."""
    sources: tuple[str, ...]
    """The pictures."""
    faces: tuple[FaceResult, ...]
    """The face taken from each."""
    backend: dict[str, Any]
    """What really ran (Recognizer.describe)."""
    duplicates: tuple[Duplicate, ...] = ()
    """Faces that match somebody enrolled under another name; they were enrolled all the same."""
    checked: bool = False
    """Whether such people were looked for."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "name": self.name,
            "ids": list(self.ids),
            "sources": list(self.sources),
            "faces": [face.to_dict() for face in self.faces],
            "backend": self.backend,
            "duplicates": [duplicate.to_dict() for duplicate in self.duplicates],
            "checked_for_duplicates": self.checked,
        }


@dataclass(frozen=True, eq=False)
class Verification:
    """Whether two pictures show one person."""

    score: float
    """Cosine in [-1, 1]."""
    match: bool
    """Whether the score reaches the threshold."""
    threshold: Threshold
    """What it was decided by."""
    a: FaceResult
    """The face of the first picture."""
    b: FaceResult
    """The face of the second picture."""
    backend: dict[str, Any]
    """What really ran (Recognizer.describe)."""
    discarded: tuple[str, ...] = ()
    """Regions left out on both faces: those covered on either."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return {
            "score": self.score,
            "match": self.match,
            "threshold": self.threshold.to_dict(),
            "discarded": list(self.discarded),
            "a": self.a.to_dict(),
            "b": self.b.to_dict(),
            "backend": self.backend,
        }
