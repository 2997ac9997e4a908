"""Tracks: a face followed from picture to picture by optical flow, and set right whenever the detector runs.

A detection continues a track only where it lies on the place the flow led to, in this very picture. A face the flow
lost has lost its track: found again it is a new one and is embedded again, so no name is handed on by place alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeface_runtime.detect import Face
from edgeface_runtime.picture import Pixels
from edgeface_runtime.stream.flow import follow, moved, to_gray

__all__ = ["Track", "Tracker", "overlaps"]

Floats = npt.NDArray[np.float32]

OVERLAP = 0.3
"""Intersection over union from which a detection continues a track."""
TWICE = 0.5
"""Overlap from which an undetected track is another's, not a face of its own."""
MISSES = 2
"""Detections in a row that may not find a face that the flow still follows."""


@dataclass(frozen=True, eq=False)
class Track:
    """One face in one picture."""

    number: int
    """From 1; never used again."""
    face: Face
    """Where it is."""
    detected: bool
    """Found by the detector in this picture; else followed."""
    missed: int
    """Detections in a row that did not find it."""


class Tracker:
    """The tracks of a stream. For every picture call `advance`; where it, or the caller, wants so, then `correct`.

    Args:
        every: pictures from one detection to the next.
    """

    def __init__(self, every: int) -> None:
        self.tracks: tuple[Track, ...] = ()
        self.begun = 0
        self._every = every
        self._before: Pixels | None = None
        self._since = every

    def advance(self, image: Pixels, cut: bool) -> bool:
        """Follow all tracks into the next picture.

        Args:
            image: (H, W, 3) uint8 BGR.
            cut: nothing connects it with the picture before.

        Returns:
            Whether the detector should run: it is time, or a face was lost.
        """
        gray = to_gray(image)
        before, self._before = self._before, gray
        kept = []
        if before is not None and not cut and before.shape == gray.shape:
            kept = [track for old in self.tracks if (track := _followed(old, before, gray)) is not None]
        lost = len(kept) < len(self.tracks)
        self.tracks = tuple(kept)
        self._since += 1
        return lost or cut or self._since >= self._every

    def correct(self, faces: Sequence[Face]) -> None:
        """Take over what the detector found in the picture that `advance` was given last."""
        self._since = 0
        pairs = _paired(self.tracks, faces)
        found = [Track(self.tracks[at].number, faces[of], True, 0) for at, of in pairs]
        taken_tracks, taken_faces = {at for at, _ in pairs}, {of for _, of in pairs}
        for at, track in enumerate(self.tracks):
            if at in taken_tracks or track.missed >= MISSES:
                continue
            boxes = np.array([other.face.box for other in found]).reshape(-1, 4)
            if (overlaps(track.face.box[None], boxes) < TWICE).all():
                found.append(Track(track.number, track.face, False, track.missed + 1))
        for of, face in enumerate(faces):
            if of not in taken_faces:
                self.begun += 1
                found.append(Track(self.begun, face, True, 0))
        self.tracks = tuple(sorted(found, key=lambda track: track.number))


def _followed(track: Track, before: Pixels, after: Pixels) -> Track | None:
    face = track.face
    matrix = follow(before, after, face.box)
    if matrix is None:
        return None
    centre = moved((face.box[None, :2] + face.box[None, 2:]) / 2, matrix)[0]
    half = (face.box[2:] - face.box[:2]) / 2 * np.float32(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    if (centre < 0).any() or centre[0] >= after.shape[1] or centre[1] >= after.shape[0]:
        return None
    box = np.concatenate([centre - half, centre + half]).astype(np.float32)
    return Track(track.number, Face(box, moved(face.landmarks, matrix), face.score), False, track.missed)


def _paired(tracks: Sequence[Track], faces: Sequence[Face]) -> list[tuple[int, int]]:
    """(track, face) places that belong together, the best overlap first."""
    if not tracks or not faces:
        return []
    table = overlaps(np.array([track.face.box for track in tracks]), np.array([face.box for face in faces]))
    pairs = []
    while float(table.max()) >= OVERLAP:
        at, of = (int(place) for place in np.unravel_index(int(table.argmax()), table.shape))
        pairs.append((at, of))
        table[at], table[:, of] = -1, -1
    return pairs


def overlaps(a: Floats, b: Floats) -> Floats:
    """Intersection over union of boxes (N, 4) and (M, 4): (N, M)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(axis=2)
    areas = [np.maximum(boxes[:, 2:] - boxes[:, :2], 0).prod(axis=1) for boxes in (a, b)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(shared / np.maximum(union, 1e-6), np.float32)
