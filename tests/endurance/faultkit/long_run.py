"""Frame after frame through detection, alignment, embedding and a gallery that people enter and leave.

`python -m faultkit.long_run --frames N --out FILE [--photos DIR]` writes its readings as JSON; a process of its own,
so that nothing but the runtime is in its memory.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import deque
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from edgeface_runtime import gallery as gallery_module
from edgeface_runtime import gallery_search
from edgeface_runtime.image import decode_image
from edgeface_runtime.recognizer import Recognizer
from faultkit.frames import frames, photographs
from faultkit.resources import growth, held
from faultkit.tiny import SIZE, write_bundle

ENROL_EVERY = 8
"""Frames between enrolments."""
MOST = 105
"""Templates, then people leave until FEWEST are left; a gallery of less than 64 is multiplied as it is, from then on
searched through its index, which is kept in a file from 96 on."""
FEWEST = 55


def run(count: int, warm: int, photos: Path | None, folder: Path, readings: int) -> dict[str, object]:
    """Run `count` frames; the first `warm` are warm-up. Returns the readings and what was done, as JSON data."""
    cv2.setNumThreads(1)
    gallery_module.INDEX_FROM, gallery_search.FILE_FROM, gallery_search.BEHIND = 64, 96, 30
    taken, done = [], dict.fromkeys(("faces", "matches", "enrolled", "deleted", "reopened"), 0)
    people = deque(f"first {k}" for k in range(MOST - 10))
    leaving = False
    every = max(1, (count - warm) // readings)
    started, cpu = time.monotonic(), time.process_time()
    with Recognizer.from_bundle(write_bundle(folder / "bundle"), threads=1) as recognizer:
        gallery = recognizer.open_gallery(folder / "g.db", create=True)
        gallery.enroll_batch(list(people), np.random.default_rng(1).standard_normal((len(people), SIZE)))
        for number, data in enumerate(frames(photographs(photos), count)):
            picture = decode_image(data, number)
            result = recognizer.identify(picture, gallery)
            done["faces"] += len(result.faces)
            done["matches"] += sum(face.match is not None for face in result.faces)
            if number % ENROL_EVERY == 0 and result.faces:
                name = f"person {number}"
                gallery.enroll(name, result.faces[0].embedding)
                people.append(name)
                done["enrolled"] += 1
                leaving = len(people) > (FEWEST if leaving else MOST)
                for _ in range(2 if leaving else 0):
                    assert gallery.delete(people.popleft()).erased
                    done["deleted"] += 1
            if number % 997 == 996:
                gallery.close()
                gallery = recognizer.open_gallery(folder / "g.db")
                done["reopened"] += 1
            if number >= warm and (number - warm) % every == 0:
                taken.append(held())
            if number % 10_000 == 9_999:
                words = f"{number + 1} frames, {time.monotonic() - started:.0f} s, {growth(taken)}\n"
                sys.stderr.write(words)
        assert {person.name for person in gallery.people()} == set(people)
        gallery.close()
    sizes = {path.name: path.stat().st_size for path in folder.glob("g.db*")}
    return {
        "frames": count,
        **done,
        "growth": growth(taken),
        "first": asdict(taken[0]),
        "last": asdict(taken[-1]),
        "most_rss_bytes": max(reading.rss_bytes for reading in taken),
        "readings": [asdict(reading) for reading in taken],
        "file_bytes": sizes,
        "wall_s": time.monotonic() - started,
        "cpu_s": time.process_time() - cpu,
    }


def main() -> None:
    """Entry point."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, required=True)
    parser.add_argument("--warm-up", type=int, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--photos", type=Path)
    parser.add_argument("--readings", type=int, default=50)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run(given.frames, given.warm_up, given.photos, Path(folder), given.readings)
    given.out.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
