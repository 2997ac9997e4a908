"""Who the tracked faces are, with as few embeddings as that takes.

A track is decided by one embedding, that of its best picture. Another is made when the detector has just found the
face and its quality is clearly better, or it looks otherwise than when it was embedded last, or `refresh_s` have
passed. Of the old and the new one the better picture decides where the two agree (their cosine reaches the
threshold); where they do not, the new one does, whatever its quality: a name is never kept against what is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edgeface_runtime.detect import Face
from edgeface_runtime.errors import FaceError
from edgeface_runtime.gallery_like import GalleryLike
from edgeface_runtime.picture import Pixels
from edgeface_runtime.recognizer import Recognizer
from edgeface_runtime.results import FaceResult, Threshold
from edgeface_runtime.stream.event import Event
from edgeface_runtime.stream.frame import Frame
from edgeface_runtime.stream.meter import timed
from edgeface_runtime.stream.results import TrackedFace
from edgeface_runtime.stream.tracker import Track
from edgeface_runtime.stream.worth import ALIKE, BETTER, look_of, quality_of

__all__ = ["Identities"]

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class _Known:
    """What decides a track."""

    face: FaceResult
    quality: float
    decided_s: float
    """When the picture was taken that decides, seconds of the stream."""
    checked_s: float
    """When the face was embedded last."""
    look: Floats
    """What it looked like then."""


@dataclass(frozen=True, eq=False)
class _Wanted:
    """A face to embed."""

    track: int
    face: Face
    cut: tuple[Pixels, npt.NDArray[np.float64]]
    quality: float
    look: Floats


class Identities:
    """Decides tracks, picture by picture. Used by one thread.

    Args:
        recognizer: embeds and matches.
        gallery: of people; None matches nobody.
        threshold: to decide by; None without a gallery.
        refresh_s: seconds after which a face that is still there is embedded again.
        tell: is given events.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        gallery: GalleryLike | None,
        threshold: Threshold | None,
        refresh_s: float,
        tell: Callable[[Event], object],
    ) -> None:
        self.embeddings = 0
        self.saved = 0
        self._recognizer = recognizer
        self._gallery = gallery
        self._threshold = threshold
        self._refresh_s = refresh_s
        self._tell = tell
        self._known: dict[int, _Known] = {}
        self._refused = False
        self._stale = False

    def step(self, frame: Frame, tracks: Sequence[Track], took_ms: dict[str, float]) -> tuple[TrackedFace, ...]:
        """The faces of one picture, decided; the times of its stages go into `took_ms`."""
        live = {track.number for track in tracks}
        self._known = {number: known for number, known in self._known.items() if number in live}
        wanted = self._wanted(frame, tracks, took_ms)
        if wanted:
            self._embed(frame, wanted, took_ms)
        new = {item.track for item in wanted}
        self.embeddings += len(new)
        self.saved += sum(number in self._known for number in live - new)
        return tuple(self._result(track, frame, track.number in new) for track in tracks)

    def _wanted(self, frame: Frame, tracks: Sequence[Track], took_ms: dict[str, float]) -> list[_Wanted]:
        found = [track for track in tracks if track.detected]
        if not found:
            return []
        wanted = []
        with timed(took_ms, "align"):
            for track in found:
                try:
                    cut = self._recognizer.cut(frame.image, track.face)
                except FaceError:  # its landmarks coincide: the next detection may do better
                    continue
                quality, look = quality_of(cut[0], track.face.landmarks), look_of(cut[0])
                if self._pays(self._known.get(track.number), quality, look, frame.at_s):
                    wanted.append(_Wanted(track.number, track.face, cut, quality, look))
        return wanted

    def _pays(self, known: _Known | None, quality: float, look: Floats, at_s: float) -> bool:
        return (
            known is None
            or quality >= known.quality * BETTER
            or float(look @ known.look) < ALIKE
            or at_s - known.checked_s >= self._refresh_s
        )

    def _embed(self, frame: Frame, wanted: Sequence[_Wanted], took_ms: dict[str, float]) -> None:
        with timed(took_ms, "embed"):
            faces = self._recognizer.embed_cut([item.face for item in wanted], [item.cut for item in wanted])
        if self._gallery is not None and self._threshold is not None:
            with timed(took_ms, "match"):
                given = self._threshold.value if self._threshold.source == "given" else None
                faces, refused = self._recognizer.match(faces, self._gallery, given, top=1)
            if refused and not self._refused:
                self._refused = True
                self._tell(Event("refused", refused, frame.wall_s, frame.source, frame.at_s))
            self._say_who_answers(self._gallery, frame)
        for item, face in zip(wanted, faces, strict=True):
            new = _Known(face, item.quality, frame.at_s, frame.at_s, item.look)
            kept = self._known.get(item.track)
            if kept is not None and kept.quality > new.quality and self._agree(kept.face, face):
                new = replace(kept, checked_s=frame.at_s, look=item.look)
            self._known[item.track] = new

    def _say_who_answers(self, gallery: GalleryLike, frame: Frame) -> None:
        """An event whenever a copy takes over from the gallery's server, or that from the copy."""
        source = gallery.source()
        if (source.copy_of is not None) == self._stale:
            return
        self._stale = not self._stale
        said = f"{source.reason}; answered by the copy {source.source}, stale since {source.stale_since}"
        if not self._stale:
            said = f"gallery {source.source} answers again"
        self._tell(Event("stale" if self._stale else "fresh", said, frame.wall_s, frame.source, frame.at_s))

    def _agree(self, a: FaceResult, b: FaceResult) -> bool:
        return self._threshold is not None and float(a.embedding @ b.embedding) >= self._threshold.value

    def _result(self, track: Track, frame: Frame, embedded: bool) -> TrackedFace:
        known = self._known.get(track.number)
        return TrackedFace(
            track=track.number,
            box=track.face.box,
            landmarks=track.face.landmarks,
            detected=track.detected,
            embedded=embedded,
            decided=None if known is None else known.face,
            age_s=0.0 if known is None else frame.at_s - known.decided_s,
            quality=0.0 if known is None else known.quality,
        )
