"""A cup held before the face: a mug with a handle, or a paper cup with lid and sleeve."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.occluders.sprite import (
    Colour,
    Sprite,
    canvas,
    ellipse,
    fill,
    folds,
    line,
    mixed,
    shade,
    vivid,
)

__all__ = ["draw_cup"]

_SIDE = 136


def draw_cup(rng: np.random.Generator) -> Sprite:
    """A cup, upright on its canvas."""
    return _mug(rng) if rng.uniform() < 0.6 else _paper_cup(rng)


def _mug(rng: np.random.Generator) -> Sprite:
    colour = vivid(rng, 0.75, 0.75)
    bgr, alpha = canvas(_SIDE, _SIDE, colour)
    half_top, taper = rng.uniform(34, 42), rng.uniform(0.8, 1.02)
    top, foot, middle = rng.uniform(22, 34), rng.uniform(108, 120), 56.0
    depth = half_top * rng.uniform(0.16, 0.3)
    body = _body(middle, top, foot, half_top, half_top * taper, depth)
    ring = (middle + half_top * 0.96, 0.5 * (top + foot) + 2)
    handle = (float(rng.uniform(18, 26)), 0.3 * (foot - top))
    width = int(rng.integers(8, 13))
    ellipse(alpha, ring, handle, 255, width)
    ellipse(bgr, ring, handle, mixed(colour, (0, 0, 0), 0.25), width + 2)
    ellipse(bgr, (ring[0] - 1, ring[1] - 2), handle, mixed(colour, (255, 255, 255), 0.25), width // 3)
    front = bgr.copy()
    fill(front, body, colour)
    _decorate(rng, front, middle, top + depth, foot, half_top)
    front = shade(front, _cylinder(rng, _SIDE, middle, half_top))
    inside = np.zeros_like(alpha)
    fill(inside, body, 255)
    bgr = np.where(inside[..., None] > 0, front, bgr)
    fill(alpha, body, 255)
    _rim(rng, bgr, alpha, (middle, top), (half_top, depth), colour)
    return Sprite(bgr, alpha, (middle, 0.5 * (top + foot) + 4))


def _paper_cup(rng: np.random.Generator) -> Sprite:
    colour = mixed((218, 220, 222), vivid(rng), rng.uniform(0, 0.5))
    bgr, alpha = canvas(_SIDE, _SIDE, colour)
    half, taper, middle, top, foot = rng.uniform(32, 38), rng.uniform(0.66, 0.82), 68.0, 28.0, 126.0
    body = _body(middle, top, foot, half, half * taper, 6)
    fill(alpha, body, 255)
    if rng.uniform() < 0.75:
        sleeve = mixed((80, 120, 165), vivid(rng), rng.uniform(0, 0.6))
        fill(bgr, [(0, 58), (_SIDE, 58), (_SIDE, 100), (0, 100)], sleeve)
    _decorate(rng, bgr, middle, 58, 100, half * 0.8)
    bgr = shade(bgr, _cylinder(rng, _SIDE, middle, half))
    lid = (225.0, 225.0, 225.0) if rng.uniform() < 0.6 else (40.0, 38.0, 36.0)
    for y, reach, height in ((top, half + 4, 10.0), (top - 9, half - 3, 8.0)):
        box = [
            (middle - reach, y),
            (middle + reach, y),
            (middle + reach - 1, y + height),
            (middle - reach + 1, y + height),
        ]
        fill(alpha, box, 255)
        fill(bgr, box, mixed(lid, (120, 120, 120), 0.25))
        line(bgr, [(middle - reach, y + 2), (middle + reach * 0.6, y + 2)], mixed(lid, (255, 255, 255), 0.5), 3)
    return Sprite(bgr, alpha, (middle, 76.0))


def _body(middle: float, top: float, foot: float, upper: float, lower: float, depth: float) -> NDArray[np.float64]:
    """Outline of the cup's wall: straight sides, rounded foot."""
    angle = np.linspace(0, np.pi, 12)
    arc = np.stack((middle + lower * np.cos(angle), foot + 0.7 * depth * np.sin(angle)), 1)
    return np.concatenate(([(middle - upper, top), (middle + upper, top)], arc))


def _cylinder(rng: np.random.Generator, side: int, middle: float, half: float) -> NDArray[np.float32]:
    """Light round a cylinder: one soft highlight, dark at both sides, and slight unevenness."""
    x = (np.arange(side, dtype=np.float32) - middle) / half
    at = rng.uniform(-0.5, 0.5)
    across = 1.08 - 0.42 * np.clip(np.abs(x - 0.4 * at), 0, 1.2) ** 2 + 0.35 * np.exp(-(((x - at) / 0.13) ** 2))
    return np.asarray(folds(rng, side, side, (4, 3), 0.04) * across[None], np.float32)


def _decorate(
    rng: np.random.Generator, bgr: NDArray[np.uint8], middle: float, top: float, foot: float, half: float
) -> None:
    """A band, a round emblem, or nothing, in place."""
    second, choice = vivid(rng, 0.8, 0.5), int(rng.integers(4))
    height = foot - top
    if choice == 0:
        for share in rng.uniform(0.15, 0.8, int(rng.integers(1, 4))):
            y = top + share * height
            line(bgr, [(middle - half, y), (middle, y + 6), (middle + half, y)], second, rng.uniform(3, 9))
    elif choice == 1:
        at = (middle + rng.uniform(-8, 8), top + 0.5 * height)
        ellipse(bgr, at, (0.42 * half, 0.42 * half), second)
        ellipse(bgr, at, (0.25 * half, 0.3 * half), mixed(second, (255, 255, 255), 0.7))
    elif choice == 2:
        for row in range(int(rng.integers(2, 4))):
            y, reach = top + (0.35 + 0.18 * row) * height, half * rng.uniform(0.3, 0.7)
            line(bgr, [(middle - reach, y), (middle + reach, y)], second, 4)


def _rim(
    rng: np.random.Generator,
    bgr: NDArray[np.uint8],
    alpha: NDArray[np.uint8],
    at: tuple[float, float],
    axes: tuple[float, float],
    colour: Colour,
) -> None:
    """The opening seen from a little above, with or without a drink in it."""
    ellipse(alpha, at, axes, 255)
    ellipse(bgr, at, axes, mixed(colour, (255, 255, 255), 0.35))
    inner = (axes[0] - 4, max(axes[1] - 2.5, 1.0))
    ellipse(bgr, at, inner, mixed(colour, (0, 0, 0), 0.5))
    drink = ((28.0, 44.0, 70.0), (40.0, 70.0, 120.0), (20.0, 24.0, 34.0))[int(rng.integers(3))]
    ellipse(bgr, (at[0], at[1] + 0.25 * axes[1]), (inner[0] * 0.93, inner[1] * 0.72), drink)
