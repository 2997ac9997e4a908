"""Sunglasses and tinted eyeglasses, worn: the lenses sit on the two eye points."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.occluders.sprite import Colour, Sprite, canvas, fill, line, mixed, moved, vivid

__all__ = ["draw_eyeglasses", "draw_sunglasses"]

_DENSITY = 2.0
_LEFT, _TOP, _WIDTH, _HEIGHT = -6.0, 30.0, 108.0, 46.0


def draw_sunglasses(rng: np.random.Generator, points: NDArray[np.float64]) -> Sprite:
    """Dark or mirrored lenses in a frame; `points` (5, 2) are the landmarks in the template's frame."""
    return _glasses(rng, points, opacity=int(rng.integers(215, 256)), mirrored=bool(rng.uniform() < 0.2))


def draw_eyeglasses(rng: np.random.Generator, points: NDArray[np.float64]) -> Sprite:
    """Tinted lenses (the eyes still shimmer through) in a frame; `points` as for sunglasses."""
    return _glasses(rng, points, opacity=int(rng.integers(135, 190)), mirrored=False)


def _glasses(rng: np.random.Generator, points: NDArray[np.float64], opacity: int, mirrored: bool) -> Sprite:
    eyes = (points[:2] - (_LEFT, _TOP)) * _DENSITY
    across = eyes[1] - eyes[0]
    distance = max(float(np.hypot(*across)), 8.0)
    half_w, half_h = distance * rng.uniform(0.37, 0.45), distance * rng.uniform(0.26, 0.39)
    lens_colour = mixed(vivid(rng, value=0.15), (18, 16, 16), 0.65)
    frame_colour = vivid(rng, value=0.18) if rng.uniform() < 0.8 else vivid(rng, value=0.6)
    bgr, alpha = canvas(int(_HEIGHT * _DENSITY), int(_WIDTH * _DENSITY), frame_colour)
    rim = float(rng.choice((1, 2, 3, 5)))
    style = rng.uniform(size=4)
    lenses = [_lens(eye, half_w, half_h, side, style) for eye, side in zip(eyes, (-1, 1), strict=True)]

    hinge = -half_h * 0.45
    for eye, side, border in ((eyes[0], -1, -10.0), (eyes[1], 1, bgr.shape[1] + 10.0)):
        end = np.array((border, eye[1] + hinge - rng.uniform(0, 6)))
        line(alpha, [moved(eye, side * half_w * 0.95, hinge), end], 255, rim + 2)
    bridge = 0.5 * (eyes[0] + eyes[1])
    inner = 0.5 * distance - half_w + 3
    arch = [moved(bridge, x, hinge * 0.5 - rise) for x, rise in ((-inner, 0), (0, 4), (inner, 0))]
    line(alpha, arch, 255, rim + 1)

    sheen = mixed(lens_colour, (235, 225, 215), rng.uniform(0.12, 0.4))
    foot = vivid(rng, 0.9, 0.7) if mirrored else mixed(lens_colour, (120, 110, 100), rng.uniform(0, 0.6))
    slant, streak = rng.uniform(-0.5, 0.8) * half_h, rng.uniform(-0.5, 0.3) * half_w
    for eye, lens in zip(eyes, lenses, strict=True):
        fill(alpha, lens, opacity)
        _tint(bgr, lens, eye, half_h, lens_colour, foot)
        if rng.uniform() < 0.8:
            x, y = eye[0] + streak, eye[1]
            band = [(x, y - half_h), (x + 0.35 * half_w, y - half_h), (x + 0.35 * half_w - slant, y + half_h)]
            fill(bgr, [*band, (x - slant, y + half_h)], sheen)
    for lens in lenses:
        line(alpha, lens, 255, rim, closed=True)
        line(bgr, lens, frame_colour, rim + 2, closed=True)
        line(bgr, lens - (0, rim / 2), mixed(frame_colour, (255, 255, 255), 0.3), 1, closed=True)
    lens_centre = (float(eyes[0][0]), float(eyes[0][1]) + 0.15 * half_h)
    return Sprite(bgr, alpha, (float(bridge[0]), float(bridge[1])), _DENSITY, (_LEFT, _TOP), lens_centre)


def _lens(
    eye: NDArray[np.float64], half_w: float, half_h: float, side: int, style: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Outline (32, 2) between round, square and drop-shaped; `side` is -1 for the left lens."""
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    cosine, sine = np.cos(angle), np.sin(angle)
    power = 1.0 - 0.55 * style[0]
    x = np.sign(cosine) * np.abs(cosine) ** power
    y = np.sign(sine) * np.abs(sine) ** power
    narrowing = 1 - 0.3 * style[1] * np.clip(y, 0, 1)
    tail = 1 + 0.35 * style[2] * (y > 0) * np.clip(0.4 + 0.6 * side * x, 0, 1)
    raised = -0.25 * style[3] * np.clip(side * x, 0, 1) * (y < 0)
    outline = np.stack((x * narrowing * half_w, (y * tail + raised) * half_h + 0.15 * half_h), 1)
    return outline + eye


def _tint(
    bgr: NDArray[np.uint8],
    lens: NDArray[np.float64],
    eye: NDArray[np.float64],
    half_h: float,
    top: Colour,
    foot: Colour,
) -> None:
    """Colour the lens's rows from `top` to `foot`, in place; the outline is left to the opacity."""
    left, right = np.clip((lens[:, 0].min() - 2, lens[:, 0].max() + 3), 0, bgr.shape[1]).astype(int)
    rows = np.arange(bgr.shape[0], dtype=np.float64)
    share = np.clip((rows - eye[1] + half_h) / (2.2 * half_h), 0, 1)[:, None]
    ramp = (1 - share) * np.asarray(top) + share * np.asarray(foot)
    bgr[:, left:right] = np.clip(ramp, 0, 255).astype(np.uint8)[:, None]
