"""One picture of a stream, with what is known about when and where it was taken."""

from __future__ import annotations

from dataclasses import dataclass

from edgeface_runtime.picture import Pixels

__all__ = ["Frame"]


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture as it was read."""

    number: int
    """Of the pictures read, from 0; a dropped picture leaves a gap."""
    source: str
    """What it is of: camera, file or address; of a folder the picture's path."""
    image: Pixels
    """(H, W, 3) uint8 BGR; never written to."""
    at_s: float
    """Seconds since the first picture: by the frame rate of a video file, else by a clock that is never set back."""
    monotonic_s: float
    """time.monotonic() when it had been read, seconds."""
    wall_s: float
    """Unix time when it had been read, seconds; for people, since it may be set."""
    cut: bool
    """Whether nothing connects it with the picture before: the first, one of a folder, one after an interruption."""
