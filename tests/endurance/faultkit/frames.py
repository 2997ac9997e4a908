"""Frames as a camera gives them: faces of varied size and place, several, none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

Pixels = np.ndarray
LARGEST = 128
"""Longer side of a face's picture, pixels."""
LARGEST_FIRST = 60


def photographs(folder: Path | None) -> list[Pixels]:
    """Pictures with faces, (H, W, 3) uint8 BGR: those of `folder`, or the one scikit-image carries."""
    if folder is not None:
        return [_middle(cv2.imread(str(path))) for path in sorted(folder.glob("*/*.jpg"))[::7]]
    from skimage import data

    whole = np.ascontiguousarray(data.astronaut()[..., ::-1])
    return [whole[:240, 110:350], cv2.flip(whole[:240, 110:350], 1)]


def _middle(picture: Pixels) -> Pixels:
    height, width = (size // 5 for size in picture.shape[:2])
    return np.ascontiguousarray(picture[height:-height, width:-width])


def frames(pictures: list[Pixels], count: int, seed: int = 0) -> Iterator[bytes]:
    """`count` encoded JPEG pictures of 56 to 256 pixels a side; one in ten without a face, one in ten with two.

    The first few are the largest, so that buffers that grow with the largest picture seen have done so.
    """
    rng = np.random.default_rng(seed)
    for number in range(count):
        if number < LARGEST_FIRST:
            two = [_scaled(pictures[(number + k) % len(pictures)], rng, LARGEST) for k in (0, 1)]
            height = min(map(len, two))
            yield cv2.imencode(".jpg", np.concatenate([two[0][:height], two[1][:height]], axis=1))[1].tobytes()
            continue
        kind = rng.random()
        if kind < 0.1:
            height, width = rng.integers(16, 160, 2)
            frame = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        else:
            frame = _scaled(pictures[rng.integers(len(pictures))], rng)
            if kind < 0.2:
                other = _scaled(pictures[rng.integers(len(pictures))], rng)
                height = min(len(frame), len(other))
                frame = np.concatenate([frame[:height], other[:height]], axis=1)
        yield cv2.imencode(".jpg", frame)[1].tobytes()


def _scaled(picture: Pixels, rng: np.random.Generator, side: int = 0) -> Pixels:
    side = side or int(rng.integers(64, LARGEST))
    scale = side / max(picture.shape[:2])
    small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    cut = rng.integers(0, 8, 2)
    return np.ascontiguousarray(small[cut[0] :, cut[1] :])
