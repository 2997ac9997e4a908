"""What happens in a stream besides pictures: who came and went, and what became of the source."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Event", "Kind"]

Kind = Literal["came", "changed", "went", "lost", "back", "unreadable", "short", "refused", "stale", "fresh", "hung"]
"""`came`, `changed`, `went`: a person, see presence.py. `lost`, `back`: a live source. `unreadable`: a picture of a
folder. `short`: a video ended before the length it states. `refused`: covered faces are not compared, since the
gallery is too large for that. `stale`, `fresh`: a copy answers for the gallery's server, or that itself again.
`hung`: the source did not answer at the end and was left behind."""


@dataclass(frozen=True)
class Event:
    """Something that happened."""

    kind: Kind
    """What."""
    message: str
    """In one line, for people."""
    wall_s: float
    """Unix time, seconds."""
    source: str = ""
    """What the picture was of, of those about people; see `Frame.source`."""
    at_s: float | None = None
    """Seconds since the first picture, of those about people."""
    name: str | None = None
    """Who, of those about people; None is somebody unknown."""
    track: int | None = None
    """Number of the track, of those about people."""
    score: float | None = None
    """Cosine of the match; None where nobody was to compare with."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)
