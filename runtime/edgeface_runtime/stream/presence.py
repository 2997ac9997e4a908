"""Who is there: one word when somebody comes and one when they go, whatever tracks they are seen on."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeface_runtime.stream.event import Event, Kind
from edgeface_runtime.stream.frame import Frame
from edgeface_runtime.stream.results import TrackedFace

__all__ = ["Presence"]

GRACE_S = 2.0
"""How long somebody may be out of sight without having gone, seconds."""

Key = str | int
"""A name, or the track of somebody unknown."""


@dataclass
class _Stay:
    since_s: float
    seen_s: float
    track: int


class Presence:
    """Turns the faces of each picture into events. Someone known is one person however many tracks they are on;
    someone unknown is their track. `changed` says that a track was given another name.

    Args:
        related: whether pictures follow one another; of unrelated ones only who came is told, picture by picture.
    """

    def __init__(self, related: bool) -> None:
        self._related = related
        self._there: dict[Key, _Stay] = {}
        self._called: dict[int, Key] = {}

    def step(self, frame: Frame, faces: Iterable[TrackedFace]) -> tuple[Event, ...]:
        """The events of one picture."""
        events = self._cut(frame) if frame.cut else []
        now = {face.track: face for face in faces}
        keys: dict[int, Key] = {track: face.name or track for track, face in now.items()}
        for track, key in keys.items():
            face, before = now[track], self._called.get(track, key)
            if key not in self._there:
                if before != key and before in self._there and before not in keys.values():
                    del self._there[before]
                    what = f"{_called(before)} is {_called(key)}"
                    events.append(_event(frame, "changed", what, face))
                else:
                    events.append(_event(frame, "came", f"{_called(key)} came", face))
                self._there[key] = _Stay(frame.at_s, frame.at_s, track)
            self._there[key].seen_s = frame.at_s
            self._there[key].track = track
        self._called = keys
        gone = [key for key, stay in self._there.items() if frame.at_s - stay.seen_s > GRACE_S]
        events += [self._went(frame, key) for key in gone]
        return tuple(events)

    def _cut(self, frame: Frame) -> list[Event]:
        """Nothing connects with what was there before: everybody has gone."""
        events = [self._went(frame, key) for key in list(self._there)] if self._related else []
        self._there.clear()
        self._called = {}
        return events

    def _went(self, frame: Frame, key: Key) -> Event:
        stay = self._there.pop(key)
        words = f"{_called(key)} went, seen for {stay.seen_s - stay.since_s:.1f} s"
        name = key if isinstance(key, str) else None
        return Event("went", words, frame.wall_s, frame.source, frame.at_s, name, stay.track)


def _called(key: Key) -> str:
    return key if isinstance(key, str) else f"unknown (track {key})"


def _event(frame: Frame, kind: Kind, words: str, face: TrackedFace) -> Event:
    score = face.score
    message = words if score is None else f"{words} ({score:.2f})"
    return Event(kind, message, frame.wall_s, frame.source, frame.at_s, face.name, face.track, score)
