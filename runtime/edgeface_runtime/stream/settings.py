"""How a stream is worked through."""

from __future__ import annotations

from dataclasses import dataclass

from edgeface_runtime.errors import InputError
from edgeface_runtime.picture import Pixels

__all__ = ["StreamSettings"]

Roi = tuple[int, int, int, int]


@dataclass(frozen=True)
class StreamSettings:
    """Raises InputError, in the words of the flags, where a value cannot be."""

    threshold: float | None = None
    """Cosine to decide by; None takes the bundle's."""
    detect_every: int = 5
    """Pictures from one detection to the next; in between faces are followed. A face that is lost has the detector
    run at once."""
    refresh_s: float = 10.0
    """Seconds of the stream after which a face that is still there is embedded again."""
    roi: Roi | None = None
    """x0, y0, x1, y1, pixels, x1 and y1 exclusive: faces are looked for in this part only."""
    realtime: bool = False
    """Read a video file at its own rate and drop what cannot be handled in time, as of a camera."""
    max_frames: int | None = None
    """Pictures after which the stream ends."""
    give_up_s: float | None = None
    """Seconds without a picture after which a live source that went away is an error; None tries for ever."""

    def __post_init__(self) -> None:
        if self.detect_every < 1:
            raise InputError(f"--detect-every is {self.detect_every}: give at least 1")
        if not self.refresh_s > 0:
            raise InputError(f"--refresh is {self.refresh_s:g}: give more than 0 seconds")
        if self.max_frames is not None and self.max_frames < 1:
            raise InputError(f"--max-frames is {self.max_frames}: give at least 1")
        if self.give_up_s is not None and not self.give_up_s >= 0:
            raise InputError(f"--give-up is {self.give_up_s:g}: give 0 seconds or more")
        if self.roi is not None:
            x0, y0, x1, y1 = self.roi
            if not (0 <= x0 < x1 and 0 <= y0 < y1):
                raise InputError(f"--roi is {x0},{y0},{x1},{y1}: give left, top, right, bottom, in pixels")

    def part(self, image: Pixels) -> tuple[Pixels, int, int]:
        """What of a picture is searched, and its left and top.

        Raises:
            InputError: the part reaches beyond the picture.
        """
        if self.roi is None:
            return image, 0, 0
        x0, y0, x1, y1 = self.roi
        height, width = image.shape[:2]
        if x1 > width or y1 > height:
            raise InputError(
                f"--roi is {x0},{y0},{x1},{y1}: the pictures have {width}x{height} pixels: give a part of them"
            )
        return image[y0:y1, x0:x1], x0, y0
