"""Reads damaged pictures one after another: `python -m faultkit.read_damaged FIRST END PHOTOS|-`.

A line before each ("NUMBER") and after it ("NUMBER OUTCOME CPU_MS PEAK_MB"). The process is killed by SIGPROF when
one takes more than a second of processor time.
"""

from __future__ import annotations

import random
import signal
import sys
import time
from pathlib import Path

import cv2

from edgeface_runtime.detect import Detector
from edgeface_runtime.errors import ImageError
from edgeface_runtime.image import MAX_PIXELS, decode_image
from edgeface_runtime.peak_memory import peak_memory
from faultkit.damage import damaged
from faultkit.frames import photographs
from faultkit.sound_images import FORMS

LIMIT_S = 1.0
DETECT_EVERY = 20
"""Pictures that could be read after all between those that are searched for faces."""


def sound(photos: Path | None) -> list[bytes]:
    """Every form of some photographs."""
    draw = random.Random(0)
    pictures = photographs(photos)
    made = []
    for number, encode in enumerate(list(FORMS.values()) * 3):
        picture = pictures[number % len(pictures)]
        scale = draw.uniform(30, 160) / max(picture.shape[:2])
        made.append(encode(cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)))
    return made


def outcome(data: bytes, number: int) -> tuple[str, object]:
    """ "read" and the picture, or "refused" and why; anything else raises."""
    try:
        picture = decode_image(data, f"picture {number}")
    except ImageError as exc:
        words = str(exc)
        assert words.startswith(f"picture {number} ") and "\n" not in words and len(words) < 200, words
        return "refused", words
    assert picture.ndim == 3 and picture.shape[2] == 3 and picture.dtype == "uint8", (picture.shape, picture.dtype)
    assert 0 < picture.shape[0] * picture.shape[1] <= MAX_PIXELS, picture.shape
    return "read", picture


def main(first: int, end: int, photos: Path | None) -> None:
    """Read them."""
    cv2.setNumThreads(1)
    pictures = sound(photos)
    assert all(outcome(data, 0)[0] == "read" for data in pictures), "a sound picture was refused"
    say = sys.stdout
    read = 0
    with Detector(min_face=20) as detector:
        for number in range(first, end):
            _, data = damaged(pictures, number)
            say.write(f"{number}\n")
            say.flush()
            signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
            started = time.process_time()
            word, found = outcome(data, number)
            took_ms = 1000 * (time.process_time() - started)
            signal.setitimer(signal.ITIMER_PROF, 0)
            if word == "read":
                read += 1
                if read % DETECT_EVERY == 0 and found.size < 1_000_000:
                    detector.detect(found)
            peak_mb = peak_memory() / 2**20
            say.write(f"{number} {word} {took_ms:.1f} {peak_mb:.0f}\n")
            del found
    say.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), None if sys.argv[3] == "-" else Path(sys.argv[3]))
