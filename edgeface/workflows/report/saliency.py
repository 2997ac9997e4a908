"""Where an embedding looks: occlusion sensitivity (Zeiler & Fergus 2014), for any backend.

A grey square slides over the face; at each place the embedding moves away from that of the face as it was by
1 - cosine. A pixel's value is the mean over the squares that hide it. The same for the network with its mask taken
out (`unmask`) shows what the mask changes, on the same trunk and head.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["PATCH", "STRIDE", "Look", "look", "sensitivity"]

PATCH, STRIDE = 20, 10
"""Side of the square and how far it moves, pixels."""
GREY = 127

Faces = NDArray[np.uint8]
Embed = Callable[[Faces], NDArray[np.float32]]
"""(N, H, W, 3) uint8 BGR -> (N, E) float32 of unit length."""


@dataclass(frozen=True, eq=False)
class Look:
    """One network at one covered face."""

    heat: NDArray[np.float64]
    """(H, W) mean of 1 - cosine, 0..2."""
    on_cover: float
    """Share of the heat that lies on what covers the face, 0..1."""
    to_clean: float
    """Cosine of the covered face with the same face uncovered."""


def look(embed: Embed, clean: Faces, covered: Faces, cover: NDArray[np.bool_]) -> Look:
    """What a network makes of a face (H, W, 3) uint8 BGR that is covered where `cover` (H, W) says."""
    heat = sensitivity(embed, covered)
    pair = embed(np.stack([clean, covered]))
    total = float(heat.sum())
    return Look(heat, float(heat[cover].sum()) / total if total > 0 else 0.0, float(pair[0] @ pair[1]))


def sensitivity(embed: Embed, face: Faces, patch: int = PATCH, stride: int = STRIDE) -> NDArray[np.float64]:
    """(H, W) mean over the squares on each pixel of 1 - cosine, for a face (H, W, 3) uint8 BGR.

    The last square of a row or column lies at the border, so that every pixel is hidden at least once.
    """
    height, width = face.shape[:2]
    places = [(top, left) for top in _starts(height, patch, stride) for left in _starts(width, patch, stride)]
    hidden = np.repeat(face[None], len(places), 0)
    for view, (top, left) in zip(hidden, places, strict=True):
        view[top : top + patch, left : left + patch] = GREY
    moved = 1 - embed(hidden) @ embed(face[None])[0]
    total, times = np.zeros((height, width)), np.zeros((height, width))
    for (top, left), value in zip(places, moved, strict=True):
        total[top : top + patch, left : left + patch] += max(float(value), 0.0)
        times[top : top + patch, left : left + patch] += 1
    return np.asarray(total / times, np.float64)


def _starts(length: int, patch: int, stride: int) -> list[int]:
    return sorted({*range(0, length - patch + 1, stride), length - patch})
