"""A face mask, worn: fitted to the five landmarks from the nose bridge to below the chin.

Three makes: pleated surgical, plain or patterned cloth, and a cup-shaped respirator.
"""

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
    grain,
    line,
    mixed,
    moved,
    shade,
    smooth,
    vivid,
)

__all__ = ["draw_face_mask"]

_DENSITY = 1.8
_LEFT, _TOP, _WIDTH, _HEIGHT = -6.0, 44.0, 108.0, 84.0
_SURGICAL: tuple[Colour, ...] = (
    (226, 206, 166),
    (214, 180, 130),
    (222, 222, 220),
    (206, 216, 178),
    (208, 190, 232),
    (48, 46, 44),
)


def draw_face_mask(rng: np.random.Generator, points: NDArray[np.float64]) -> Sprite:
    """A mask for a face with landmarks `points` (5, 2), given in the template's frame."""
    make = ("surgical", "surgical", "cloth", "respirator")[int(rng.integers(4))]
    at = (points - (_LEFT, _TOP)) * _DENSITY
    height, width = int(_HEIGHT * _DENSITY), int(_WIDTH * _DENSITY)
    outline, rim = _outline(rng, at)
    colour = _colour(rng, make)
    bgr, alpha = canvas(height, width, colour)

    if make == "cloth":
        _pattern(rng, bgr, mixed(colour, vivid(rng), 0.8))
    middle, top, foot = float(at[2][0]), float(rim[:, 1].min()), float(outline[:, 1].max())
    if make == "surgical":
        _pleats(rng, bgr, rim, foot, colour)
    elif make == "respirator":
        _seams(rng, bgr, middle, top, foot, colour)
    bgr = _light(rng, bgr, middle, top, foot, make)
    _edge(bgr, outline, colour)

    strap = mixed(colour, (245, 245, 245), 0.6) if rng.uniform() < 0.7 else vivid(rng, value=0.3)
    ears = float(at[:2, 1].mean()) + rng.uniform(0, 14)
    for side, border in ((0, -8.0), (-1, width + 8.0)):
        upper, lower = rim[side], outline[_LOWER_CORNERS[side]]
        for start in (upper, lower):
            strand = [start, (border, 0.5 * (ears + start[1]) - 0.12 * abs(border - start[0]))]
            line(alpha, strand, 255, 3)
            line(bgr, strand, strap, 4)
    fill(alpha, smooth(outline, 3), 255)
    return Sprite(bgr, alpha, (middle, 0.55 * top + 0.45 * foot), _DENSITY, (_LEFT, _TOP))


_LOWER_CORNERS = {0: 9, -1: 6}


def _outline(rng: np.random.Generator, at: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Corner points (10, 2) of the mask, clockwise from its upper left, and its upper rim (5, 2).

    The rim crosses the nose bridge between eyes and nose tip and drops over the cheeks; the chin lies below the mouth
    by a little more than the mouth lies below the nose. A turned face moves nose and chin sideways with it.
    """
    eyes, mouth = at[:2].mean(0), at[3:].mean(0)
    nose = at[2]
    drop = max(float(mouth[1] - nose[1]), 10.0)
    span = max(float(np.hypot(*(at[1] - at[0]))), 10.0)
    rise = rng.uniform(0.35, 0.8)
    bridge = nose[1] - rise * max(float(nose[1] - eyes[1]), 6.0)
    cheek = bridge + drop * rng.uniform(0.3, 0.6)
    turn = float(nose[0] - 0.5 * (eyes[0] + mouth[0]))
    reach_left = span * rng.uniform(1.0, 1.16) - 0.6 * turn
    reach_right = span * rng.uniform(1.0, 1.16) + 0.6 * turn
    chin = mouth[1] + drop * rng.uniform(1.15, 1.5)
    jaw = mouth[1] + drop * rng.uniform(0.45, 0.75)
    x = float(nose[0])
    centre = float(mouth[0] + 0.5 * turn)
    hump = span * rng.uniform(0.2, 0.32)
    rim = np.array(
        [
            (centre - reach_left, cheek),
            (x - 1.9 * hump, bridge + 0.30 * drop),
            (x, bridge - 0.12 * drop),
            (x + 1.9 * hump, bridge + 0.30 * drop),
            (centre + reach_right, cheek),
        ]
    )
    below = np.array(
        [
            (centre + 0.99 * reach_right, 0.5 * (cheek + jaw)),
            (centre + 0.80 * reach_right, jaw),
            (centre + 0.36 * span, chin),
            (centre - 0.36 * span, chin),
            (centre - 0.80 * reach_left, jaw),
        ]
    )
    return np.concatenate((rim, below, [(centre - 0.99 * reach_left, 0.5 * (cheek + jaw))])), rim


def _colour(rng: np.random.Generator, make: str) -> Colour:
    if make == "surgical":
        return mixed(_SURGICAL[int(rng.integers(len(_SURGICAL)))], vivid(rng), rng.uniform(0, 0.15))
    if make == "respirator":
        return mixed((220, 220, 218), vivid(rng), rng.uniform(0, 0.12))
    return vivid(rng, value=0.5)


def _pattern(rng: np.random.Generator, bgr: NDArray[np.uint8], second: Colour) -> None:
    """Nothing, stripes or dots in a second colour, in place."""
    choice, height, width = int(rng.integers(3)), bgr.shape[0], bgr.shape[1]
    pitch = int(rng.integers(10, 26))
    if choice == 1:
        slant = rng.uniform(-40, 40)
        for x in range(-40, width + 40, pitch):
            line(bgr, [(x, 0), (x + slant, height)], second, pitch * 0.4)
    elif choice == 2:
        for row, y in enumerate(range(0, height, pitch)):
            for x in range(pitch // 2 * (row % 2), width, pitch):
                ellipse(bgr, (x, y), (pitch * 0.22, pitch * 0.22), second)


def _pleats(
    rng: np.random.Generator, bgr: NDArray[np.uint8], rim: NDArray[np.float64], foot: float, colour: Colour
) -> None:
    """Three folds across, each a dark line with a lit edge below, and the nose wire along the rim."""
    dark, lit = mixed(colour, (30, 30, 30), 0.35), mixed(colour, (255, 255, 255), 0.45)
    left, middle, right = rim[0], rim[2], rim[4]
    depth = foot - middle[1]
    for share in np.array([0.33, 0.5, 0.67]) + rng.uniform(-0.03, 0.03, 3):
        y = middle[1] + share * depth
        sag = rng.uniform(0.02, 0.08) * depth
        across = np.linspace(-1, 1, 9)
        x = np.where(
            across < 0, middle[0] + across * (middle[0] - left[0]), middle[0] + across * (right[0] - middle[0])
        )
        curve = np.stack((x, y + sag * (1 - 2 * across**2)), 1)
        line(bgr, curve, dark, 2)
        line(bgr, moved(curve, 0, 2.5), lit, 1)
    wire = moved(rim[1:4], 0, 9)
    line(bgr, wire, mixed(colour, (255, 255, 255), 0.3), 3)
    line(bgr, moved(wire, 0, 2.5), mixed(colour, (60, 60, 60), 0.2), 1)


def _seams(
    rng: np.random.Generator, bgr: NDArray[np.uint8], middle: float, top: float, foot: float, colour: Colour
) -> None:
    """The seam down the middle, and on some a valve."""
    seam = mixed(colour, (60, 60, 60), 0.4)
    line(bgr, [(middle, top), (middle + 2, 0.5 * (top + foot)), (middle, foot)], seam, 2)
    if rng.uniform() < 0.4:
        at, radius = (middle + 22.0, 0.5 * (top + foot)), float(rng.uniform(10, 14))
        ellipse(bgr, at, (radius, radius), mixed(colour, (90, 90, 90), 0.35))
        ellipse(bgr, at, (radius - 3, radius - 3), mixed(colour, (255, 255, 255), 0.4))
        line(bgr, [(at[0] - 5, at[1]), (at[0] + 5, at[1])], seam, 2)


def _light(
    rng: np.random.Generator, bgr: NDArray[np.uint8], middle: float, top: float, foot: float, make: str
) -> NDArray[np.uint8]:
    """Round the mask: lit along the nose, darker towards cheeks and chin, with creases and grain."""
    height, width = bgr.shape[:2]
    side = rng.uniform(-0.12, 0.12)
    x = (np.arange(width, dtype=np.float32) - middle) / (0.5 * width)
    y = (np.arange(height, dtype=np.float32) - top) / max(foot - top, 1.0)
    across = 1.04 - 0.48 * x**2 + side * x
    down = 1.0 - 0.35 * np.clip(y, 0, 1.2) ** 2
    bulge = 0.6 if make == "respirator" else 0.3
    field = np.outer(down, across).astype(np.float32)
    field += bulge * np.outer(np.exp(-((y - 0.35) ** 2) * 12), np.exp(-(x**2) * 10)).astype(np.float32) * 0.3
    field *= folds(rng, height, width, (7, 6), rng.uniform(0.02, 0.08))
    field += grain(rng, height, width, rng.uniform(0.01, 0.035))
    return shade(bgr, field)


def _edge(bgr: NDArray[np.uint8], outline: NDArray[np.float64], colour: Colour) -> None:
    """The stitched hem along the outline."""
    hem = smooth(outline, 3)
    line(bgr, hem, mixed(colour, (40, 40, 40), 0.3), 2, closed=True)
