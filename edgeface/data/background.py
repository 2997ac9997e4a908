"""Training with a random background: what is not face is replaced, so that nothing can be learnt from it.

Johnston & Ngxande 2022 train on unaligned box crops and name their backgrounds as an open end: half of such a crop is
not the person, and in a small data set it tells people apart. The face is an ellipse fixed to the five landmarks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface_runtime.align import similarity

__all__ = ["BACKGROUNDS", "Background", "face_share", "replace_background"]

BACKGROUNDS = ("none", "random")
CENTRE, HALF = (48.0, 65.0), (41.0, 58.0)
"""The ellipse in the alignment template's frame, pixels (x, y): from the hairline to the chin, both cheeks."""
EDGE = 0.1
"""Over this share of the ellipse's radius the picture fades into the new background: no edge to learn."""
GRAINS = (2, 4, 8, 16, 48)
"""How many patches across noise may have."""

Picture = tuple[NDArray[np.uint8], NDArray[np.float64]]
"""(H, W, 3) uint8 and its (5, 2) landmarks."""


@dataclass(frozen=True)
class Background:
    """How often backgrounds are replaced."""

    part: float = 0.5
    """Share of the samples, drawn at random for each."""


def face_share(landmarks: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float32]:
    """(H, W) float32 in [0, 1]: 1 on the face, 0 on the background, between them at the ellipse's edge.

    Raises:
        FaceError: the landmarks coincide.
    """
    matrix = similarity(landmarks)
    y, x = np.mgrid[: size[0], : size[1]].astype(np.float32)
    across = (matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2] - CENTRE[0]) / HALF[0]
    down = (matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2] - CENTRE[1]) / HALF[1]
    radius = np.sqrt(across**2 + down**2)
    return np.asarray(np.clip((1 + EDGE - radius) / EDGE, 0, 1), np.float32)


def replace_background(
    image: NDArray[np.uint8],
    landmarks: NDArray[np.float64],
    rng: np.random.Generator,
    other: Callable[[], Picture] | None = None,
) -> NDArray[np.uint8]:
    """A new picture with the same face before noise, one colour, or another picture's background.

    Args:
        image: (H, W, 3) uint8, left as it is.
        landmarks: (5, 2) pixels (x, y) in it.
        rng: decides all.
        other: gives another picture of the same size; without it there is only noise and colour.
    """
    size = (image.shape[0], image.shape[1])
    choice = int(rng.integers(2 if other is None else 3))
    if choice == 2 and other is not None:
        behind = _without_face(*other())
    else:
        behind = _noise(size, rng) if choice else np.broadcast_to(rng.uniform(0, 255, 3), (*size, 3))
    face = face_share(landmarks, size)[:, :, None]
    return (face * image + (1 - face) * behind + 0.5).astype(np.uint8)


def _noise(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Patches of random colours running into each other."""
    across = GRAINS[int(rng.integers(len(GRAINS)))]
    down = max(2, round(across * size[0] / size[1]))
    patches = rng.uniform(0, 255, (down, across, 3)).astype(np.float32)
    return np.asarray(cv2.resize(patches, (size[1], size[0]), interpolation=cv2.INTER_LINEAR), np.float32)


def _without_face(image: NDArray[np.uint8], landmarks: NDArray[np.float64]) -> NDArray[np.float32]:
    """A picture with its face painted over in its background's mean colour: only the background may be lent."""
    face = face_share(landmarks, (image.shape[0], image.shape[1]))[:, :, None]
    weight = float((1 - face).sum())
    mean = ((1 - face) * image).sum((0, 1)) / weight if weight > 0 else np.full(3, 127.5)
    return np.asarray(face * mean + (1 - face) * image, np.float32)
