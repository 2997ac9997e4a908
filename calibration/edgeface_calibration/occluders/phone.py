"""A phone held before the face: its dark screen with reflections or icons, or its back with the camera."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.occluders.sprite import (
    Sprite,
    canvas,
    ellipse,
    fill,
    folds,
    line,
    mixed,
    rounded_rect,
    shade,
    vivid,
)

__all__ = ["draw_phone"]

_HEIGHT, _WIDTH = 172, 100


def draw_phone(rng: np.random.Generator) -> Sprite:
    """A phone, upright on its canvas."""
    body = vivid(rng, 0.5, 0.35)
    bgr, alpha = canvas(_HEIGHT, _WIDTH, body)
    half, radius = rng.uniform(36, 43), rng.uniform(6, 14)
    case = rounded_rect(50 - half, 6, 50 + half, 166, radius)
    fill(alpha, case, 255)
    if rng.uniform() < 0.5:
        _screen(rng, bgr, half, radius)
    else:
        bgr = shade(bgr, _gloss(rng))
        _camera(rng, bgr, half)
    line(bgr, case, mixed(body, (200, 200, 200), 0.5), 3, closed=True)
    return Sprite(bgr, alpha, (50.0, 86.0))


def _gloss(rng: np.random.Generator) -> NDArray[np.float32]:
    ramp = np.linspace(1 + rng.uniform(-0.1, 0.5), 1.0, _HEIGHT, dtype=np.float32)
    return folds(rng, _HEIGHT, _WIDTH, (4, 3), 0.08) * ramp[:, None]


def _screen(rng: np.random.Generator, bgr: NDArray[np.uint8], half: float, radius: float) -> None:
    """A dark or lit screen in its bezel, in place."""
    bgr[:] = (26, 24, 24)
    edge = float(rng.choice((3, 5, 9)))
    glass = rounded_rect(50 - half + 3, 6 + edge, 50 + half - 3, 166 - edge, max(radius - 3, 2))
    if rng.uniform() < 0.5:
        fill(bgr, glass, (20, 18, 16))
        slant, x = rng.uniform(20, 60), rng.uniform(0, 60)
        band = rng.uniform(10, 34)
        streak = [(x, 6 + edge), (x + band, 6 + edge), (x + band - slant, 166 - edge), (x - slant, 166 - edge)]
        fill(bgr, streak, (62, 56, 52))
    else:
        fill(bgr, glass, vivid(rng, 0.8, 0.6))
        bgr[:] = shade(bgr, _gloss(rng))
        for row in range(int(rng.integers(3, 6))):
            for column in range(4):
                left, top = 50 - half + 9 + column * (2 * half - 14) / 4, 26 + 24 * row
                side = 0.32 * half
                fill(bgr, rounded_rect(left, top, left + side, top + side, 4), vivid(rng, 0.9, 0.8))
    ellipse(bgr, (50.0, 6 + edge * 0.6 + 4), (2.5, 2.5), (50, 40, 36))


def _camera(rng: np.random.Generator, bgr: NDArray[np.uint8], half: float) -> None:
    """The camera block of one to three lenses, and a maker's mark, in place."""
    lenses, left = int(rng.integers(1, 4)), 50 - half + 7
    plate = rounded_rect(left, 14, left + 30, 20 + 24 * max(lenses, 1), 8)
    fill(bgr, plate, (46, 44, 44))
    for index in range(lenses):
        at = (left + 15, 27.0 + 22 * index)
        ellipse(bgr, at, (9.5, 9.5), (18, 16, 16))
        ellipse(bgr, at, (5.5, 5.5), (70, 46, 36))
        ellipse(bgr, (at[0] - 2, at[1] - 2), (1.8, 1.8), (230, 220, 210))
    if rng.uniform() < 0.6:
        ellipse(bgr, (50.0, 96.0), (8.0, 8.0), (190, 190, 190))
