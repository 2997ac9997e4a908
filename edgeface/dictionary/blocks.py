"""Covering one region of a clean face: the occluded half of a pair (Song et al. 2019; Johnston & Ngxande 2022, 4.2).

The second paper lays a block of uniform intensity over the region. Noise and the colours of drawn objects are ours.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.occluders import OBJECTS, sample_seed
from edgeface_runtime.errors import InputError
from edgeface_runtime.regions import Region, pixel_box

__all__ = ["FILLS", "cover", "pair_rng"]

Pixels = NDArray[np.uint8]
Fill = Callable[[np.random.Generator, int, int], Pixels]


def pair_rng(seed: int, name: str, region: str) -> np.random.Generator:
    """The randomness of one pair: the same for the same (seed, picture, region), on every machine."""
    return np.random.default_rng(sample_seed(seed, f"{name}\n{region}"))


def cover(image: Pixels, region: Region, rng: np.random.Generator, fill: str = "block") -> Pixels | None:
    """A copy of a face with one region covered; None where the region has no pixel in the crop.

    Args:
        image: (H, W, 3) uint8 BGR.
        fill: block (one grey level, drawn from 0..255), noise, object (a drawn object's texture), or mix (one of
            these three).

    Raises:
        InputError: an unknown fill.
    """
    if fill not in FILLS:
        raise InputError(f"unknown --fill {fill!r}: choose one of {', '.join(FILLS)}")
    x1, y1, x2, y2 = pixel_box(region.box, (image.shape[0], image.shape[1]))
    if x1 == x2 or y1 == y2:
        return None
    covered = image.copy()
    covered[y1:y2, x1:x2] = FILLS[fill](rng, y2 - y1, x2 - x1)
    return covered


def _block(rng: np.random.Generator, height: int, width: int) -> Pixels:
    return np.full((height, width, 3), int(rng.integers(256)), np.uint8)


def _noise(rng: np.random.Generator, height: int, width: int) -> Pixels:
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def _object(rng: np.random.Generator, height: int, width: int) -> Pixels:
    names = tuple(sorted(OBJECTS))
    sprite = OBJECTS[names[int(rng.integers(len(names)))]](rng)
    rows, columns = (np.flatnonzero((sprite.alpha >= 128).any(axis)) for axis in (1, 0))
    part = sprite.bgr[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.asarray(cv2.resize(part, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _mix(rng: np.random.Generator, height: int, width: int) -> Pixels:
    return (_block, _noise, _object)[int(rng.integers(3))](rng, height, width)


FILLS: dict[str, Fill] = {"block": _block, "noise": _noise, "object": _object, "mix": _mix}
"""What a region may be covered with: name -> draw(rng, height, width)."""
