"""What does `edgeface stream` gain over a plain loop that finds and embeds every face of every picture?

A video of photographs that drift about is made; a plain loop (read, `Recognizer.identify`) and `Stream` handle it
in turn in one process, the order changing every round. Half of the people are enrolled. Then the stream runs on,
with the video looped, for a minute. Prints pictures a second of both, in how many pictures both see the same
people, the stream's stages, and memory after the first tenth and at the end of the minute.
Run: `OMP_NUM_THREADS=1 python benchmarks/stream.py BUNDLE PHOTOS`
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface_runtime.detect import Detector
from edgeface_runtime.errors import EdgefaceError, InputError
from edgeface_runtime.gallery import Gallery
from edgeface_runtime.image import list_images, read_image
from edgeface_runtime.recognizer import Recognizer
from edgeface_runtime.stream import Stream, StreamSettings, StreamSummary

Pixels = NDArray[np.uint8]

WIDTH, HEIGHT, RATE = 640, 480, 25
SCENE = 75
"""Pictures after which others are shown."""
THRESHOLD = 0.5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("photos", type=Path, help="a folder of portraits, one face each")
    parser.add_argument("--people", type=int, default=2, help="faces in a picture")
    parser.add_argument("--pictures", type=int, default=300, help="of the video")
    parser.add_argument("--rounds", type=int, default=5, help="times the video is handled by each")
    parser.add_argument("--seconds", type=float, default=60, help="of the sustained run")
    parser.add_argument("--detect-every", type=int, default=5)
    options = parser.parse_args()
    settings = StreamSettings(threshold=THRESHOLD, detect_every=options.detect_every)
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            Recognizer.from_bundle(options.bundle, threads=1) as recognizer,
            recognizer.open_gallery(Path(folder) / "g.db", create=True) as gallery,
        ):
            film = Path(folder) / "film.avi"
            faces = portraits(options.photos, options.people * -(-options.pictures // SCENE))
            for number, face in enumerate(faces[::2]):
                recognizer.enroll(gallery, f"person {number}", [face], largest=True, accept_poor=True)
            write(film, faces, options.people, options.pictures)
            compare(recognizer, gallery, film, settings, options.rounds)
            sustained(recognizer, gallery, film, settings, options.seconds)
    except EdgefaceError as exc:
        print(f"stream: {exc}", file=sys.stderr)
        return exc.exit_code
    return 0


def portraits(folder: Path, count: int) -> list[Pixels]:
    """Photographs with one face each, cut to a square of 220."""
    found: list[Pixels] = []
    with Detector() as detector:
        for path in list_images(folder):
            image = read_image(path)
            side = min(image.shape[:2])
            top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
            square = cv2.resize(image[top : top + side, left : left + side], (220, 220), interpolation=cv2.INTER_AREA)
            if len(detector.detect(np.asarray(square, np.uint8))) == 1:
                found.append(np.asarray(square, np.uint8))
            if len(found) == count:
                return found
    raise InputError(f"{folder} has {len(found)} portraits with one face, this needs {count}")


def write(film: Path, faces: list[Pixels], people: int, pictures: int) -> None:
    """The video: `people` portraits side by side that drift; other ones every SCENE pictures."""
    writer = cv2.VideoWriter(str(film), cv2.VideoWriter.fourcc(*"MJPG"), RATE, (WIDTH, HEIGHT))
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 200, (6, 8, 3), dtype=np.uint8)
    behind = cv2.resize(colours, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    for number in range(pictures):
        image = behind.copy()
        first = number // SCENE * people
        for place, face in enumerate(faces[first : first + people]):
            slot = (WIDTH - 220) // max(1, people - 1) if people > 1 else 0
            x = int(np.clip(place * slot + 30 * np.sin(number / 12 + place), 0, WIDTH - 220))
            y = int(130 + 60 * np.cos(number / 17 + 2 * place))
            image[y : y + 220, x : x + 220] = face
        noisy = image + rng.normal(0, 3, image.shape)
        writer.write(np.clip(noisy, 0, 255).astype(np.uint8))
    writer.release()


Names = list[list[str | None]]


def plain(recognizer: Recognizer, gallery: Gallery, film: Path, settings: StreamSettings) -> Names:
    """Every face of every picture found and embedded."""
    capture, names = cv2.VideoCapture(str(film)), []
    while True:
        there, image = capture.read()
        if not there:
            return names
        faces = recognizer.identify(np.asarray(image, np.uint8), gallery, 1, settings.threshold).faces
        names.append([face.match for face in sorted(faces, key=lambda face: float(face.box[0]))])


def streamed(recognizer: Recognizer, gallery: Gallery, film: Path, settings: StreamSettings) -> Names:
    """The same by the stream."""
    with Stream(recognizer, film, gallery, settings) as stream:
        return [
            [face.name for face in sorted(result.faces, key=lambda face: float(face.box[0]))] for result in stream
        ]


WAYS: dict[str, Callable[..., Names]] = {"plain loop": plain, "stream": streamed}


def compare(recognizer: Recognizer, gallery: Gallery, film: Path, settings: StreamSettings, rounds: int) -> None:
    """Time both in turn."""
    names = {way: run(recognizer, gallery, film, settings) for way, run in WAYS.items()}  # warms up, too
    rates: dict[str, list[float]] = {way: [] for way in WAYS}
    for number in range(rounds):
        for way in list(WAYS) if number % 2 else list(WAYS)[::-1]:
            begun = time.perf_counter()
            WAYS[way](recognizer, gallery, film, settings)
            rates[way].append(len(names[way]) / (time.perf_counter() - begun))
    for way, found in rates.items():
        print(f"{way}: {np.median(found):.1f} pictures a second ({min(found):.1f} to {max(found):.1f} by round)")
    ratios = [b / a for a, b in zip(*rates.values(), strict=True)]
    print(f"{np.median(ratios):.2f} times as many ({min(ratios):.2f} to {max(ratios):.2f} by round)")
    same = sum(a == b for a, b in zip(*names.values(), strict=True))
    print(f"the same people from left to right in {same} of {len(names['stream'])} pictures")


class Looped:
    """The video again and again, as a source; see `edgeface_runtime.stream.Source`."""

    related, live, expected, label = True, False, None, "loop"

    def __init__(self, film: Path, seconds: float) -> None:
        self.name, self.fps = "the looped video", float(RATE)
        self._film, self._seconds = film, seconds
        self._images: Iterator[Pixels] = iter(())

    def open(self) -> None:
        self._images = self._read(time.monotonic() + self._seconds)

    def _read(self, until: float) -> Iterator[Pixels]:
        for _ in itertools.count():
            capture = cv2.VideoCapture(str(self._film))
            while (read := capture.read())[0]:
                yield np.asarray(read[1], np.uint8)
                if time.monotonic() > until:
                    return

    def read(self) -> Pixels | None:
        return next(self._images, None)

    def close(self) -> None:
        self._images = iter(())


def sustained(recognizer: Recognizer, gallery: Gallery, film: Path, settings: StreamSettings, seconds: float) -> None:
    """One long run: stages, and whether memory grows after the first tenth."""
    before = 0
    with Stream(recognizer, Looped(film, seconds), gallery, settings) as stream:
        begun = time.monotonic()
        for _ in stream:
            if not before and time.monotonic() - begun > seconds / 10:
                before = resident()
    tell(stream.summary())
    print(f"memory after the first tenth {before / 1e6:.1f} MB, at the end {resident() / 1e6:.1f} MB")


def tell(summary: StreamSummary) -> None:
    print(f"sustained {summary.elapsed_s:.0f} s: {summary.handled} pictures, {summary.fps:.1f} a second")
    print(f"{summary.faces} faces, {summary.embeddings} embeddings made, {summary.saved} saved by tracking")
    for stage, times in summary.stages.items():
        print(f"  {stage}: p50 {times.p50_ms:.2f} ms, p99 {times.p99_ms:.2f} ms, in {times.runs} pictures")
    print(f"peak memory {summary.peak_memory_bytes / 1e6:.0f} MB")


def resident() -> int:
    """Resident memory of this process, bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    sys.exit(main())
