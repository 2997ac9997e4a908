"""Occluders as layers: drawn once, put over any face by one multiplication and one addition.

What an occluder makes of a picture is linear in the picture's pixels: colour x brightness + picture x what shines
through, and only the brightness depends on the picture, by its mean. Drawn over a chequered ground and over its
negative with the same random numbers, it gives both.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeface_calibration.occluders import occlude
from edgeface_calibration.patterns import pattern_label
from edgeface_runtime.align import CROP_SIZE

__all__ = ["Covers", "brightness", "draw_cover", "draw_covers"]

GRID = 5
"""FROM's K: the patterns that a pattern head is taught."""


@dataclass(frozen=True)
class Covers:
    """Layers, each also as it is mirrored."""

    colour: Tensor
    """(N, H, W, 3) uint8 BGR, already weighted."""
    through: Tensor
    """(N, H, W) uint8: 255 where the face is seen as it is."""
    pattern: Tensor
    """(N, 2) int64: the occlusion pattern, as drawn and mirrored."""

    def __len__(self) -> int:
        return len(self.pattern)

    def to(self, device: torch.device) -> Covers:
        """The same on another device."""
        return Covers(self.colour.to(device), self.through.to(device), self.pattern.to(device))


def draw_cover(kind: str, seed: Sequence[int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.bool_]]:
    """Colour (H, W, 3), what shines through (H, W), and the covered pixels (H, W), on an aligned crop."""
    height, width = CROP_SIZE
    dark = (np.indices((height, width)).sum(0) % 2 == 0)[..., None]
    one, other = (np.where(dark == flag, 0, 255).astype(np.uint8).repeat(3, 2) for flag in (True, False))
    first, second = (occlude(picture, kind, np.random.default_rng(list(seed))) for picture in (one, other))
    on_dark, on_light = (np.where(dark, *pair) for pair in ((first.image, second.image), (second.image, first.image)))
    through = (on_light.astype(np.int16) - on_dark).mean(2).round().clip(0, 255)
    return on_dark, through.astype(np.uint8), first.mask


def brightness(faces: Tensor) -> Tensor:
    """How bright the registry would draw an occluder on each face (N, 3, H, W) in [-1, 1], beside a layer's: (N,)."""
    means = (faces.mean((1, 2, 3)) + 1) * 127.5
    return (means / 115).clamp(0.55, 1.2) / (127.5 / 115)


def draw_covers(count: int, kinds: Sequence[str] = ("mix",), seed: int = 0, workers: int = 1) -> Covers:
    """`count` layers of the occluder registry's `kinds` in turn, drawn by `workers` processes."""
    numbers = range(count)
    draw = partial(_drawn, tuple(kinds), seed)
    if workers > 1:
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            found = list(pool.map(draw, numbers, chunksize=64))
    else:
        found = [draw(number) for number in numbers]
    colours, through, patterns = zip(*found, strict=True)
    return Covers(
        torch.from_numpy(np.stack(colours)),
        torch.from_numpy(np.stack(through)),
        torch.tensor(patterns, dtype=torch.int64),
    )


def _drawn(
    kinds: tuple[str, ...], seed: int, number: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], tuple[int, int]]:
    colour, through, mask = draw_cover(kinds[number % len(kinds)], (seed, 15, number))
    return colour, through, (pattern_label(mask, GRID), pattern_label(mask[:, ::-1], GRID))
