"""A stream of a camera that goes away now and then, whose people come and go; an encrypted gallery that changes.

`python -m faultkit.stream_run --frames N --warm-up N --out FILE` writes its readings as JSON; a process of its own,
so that nothing but the runtime is in its memory.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from threading import Semaphore

import cv2
import numpy as np

from edgeface_runtime.errors import DeviceError
from edgeface_runtime.gallery import Gallery, GalleryKey
from edgeface_runtime.stream import Event, Stream, StreamSettings
from edgeface_runtime.stream import reader as reader_module
from faultkit.resources import growth, held
from faultkit.stream_parts import Scripted, recognizer, scene
from faultkit.tiny import SIZE

KEYS = [GalleryKey(bytes([k]) * 32) for k in (1, 2)]
STAY = 25
"""Pictures that somebody stays for."""
AWAY_EVERY = 400
ENROL_EVERY = 50
MOST = 60
"""People in the gallery, then the oldest leaves for each that comes."""


def pictures(count: int, room: Semaphore) -> Iterator[object]:
    """Somebody who moves, somebody else after a while; a camera that goes away, and comes back with another size.

    It gives no more than is handled, or most would be dropped.
    """
    shown = [scene((seed, 20 + seed % 7, 15), size=(140, 200)) for seed in range(24)]
    shown += [cv2.resize(image, (240, 168)) for image in shown[:8]]
    for number in range(count):
        if number % AWAY_EVERY == AWAY_EVERY - 1:
            yield None
            yield DeviceError("not yet")
        room.acquire(timeout=10)
        image = shown[(number // STAY) % len(shown)]
        yield np.roll(image, number % 5, axis=1)


class Page:
    """Looks at every fourth picture, as a browser does, and keeps none."""

    def __init__(self) -> None:
        self.bytes = self.asked = 0

    def wanted(self) -> bool:
        self.asked += 1
        return self.asked % 4 == 0

    def publish(self, picture, state) -> None:  # type: ignore[no-untyped-def]
        self.bytes += len(picture()) + len(json.dumps(state))


def run(count: int, warm: int, folder: Path, readings: int) -> dict[str, object]:
    """Run `count` frames; the first `warm` are warm-up. Returns the readings and what was done, as JSON data."""
    cv2.setNumThreads(1)
    reader_module.FIRST_DELAY_S = 0.001
    taken, told, rng = [], {}, np.random.default_rng(0)
    every = max(1, (count - warm) // readings)
    people, page, faces, enrolled = deque(), Page(), 0, 0
    started = time.monotonic()

    def event(event: Event) -> None:
        told[event.kind] = told.get(event.kind, 0) + 1

    with recognizer(folder / "bundle") as network:
        gallery = network.open_gallery(folder / "g.db", create=True, key=KEYS[0])
        with Gallery(folder / "g.db", key=KEYS[0]) as writer:
            for seed in range(0, 24, 2):
                network.enroll(writer, f"known {seed}", [scene((seed, 20, 15), size=(140, 200))], accept_poor=True)
            settings = StreamSettings(0.8, refresh_s=0.05)
            room = Semaphore(2)
            source = Scripted(pictures(count + 1, room))
            with Stream(network, source, gallery, settings, on_event=event, publisher=page) as stream:
                for result in stream:
                    room.release()
                    number = result.frame.number
                    faces += len(json.dumps(result.to_dict())) > 0 and len(result.faces)
                    if number % ENROL_EVERY == 0:
                        people.append(f"person {number}")
                        writer.enroll(people[-1], rng.standard_normal(SIZE))
                        enrolled += 1
                        if len(people) > MOST:
                            assert writer.delete(people.popleft()).removed
                    if number >= warm + every * len(taken):
                        taken.append(held())
                    if number >= count - 1:
                        break
                summary = stream.summary()
        gallery.close()
    return {
        "frames": summary.handled,
        "dropped": summary.dropped,
        "faces": faces,
        "embeddings": summary.embeddings,
        "interruptions": summary.interruptions,
        "events": told,
        "enrolled": enrolled,
        "growth": growth(taken),
        "first": asdict(taken[0]),
        "last": asdict(taken[-1]),
        "readings": [asdict(reading) for reading in taken],
        "file_bytes": {path.name: path.stat().st_size for path in folder.glob("g.db*")},
        "wall_s": time.monotonic() - started,
    }


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--warm-up", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--readings", type=int, default=50)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        given.out.write_text(json.dumps(run(given.frames, given.warm_up, Path(folder), given.readings)))


if __name__ == "__main__":
    main()
