"""What face masks are made of: colours, printed patterns, pleats and seams, light on the cloth, the hem."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.occluders.sprite import (
    Colour,
    ellipse,
    folds,
    grain,
    line,
    mixed,
    moved,
    shade,
    smooth,
    vivid,
)

__all__ = ["draw_edge", "draw_pattern", "draw_pleats", "draw_seams", "mask_colour", "mask_light"]

_SURGICAL: tuple[Colour, ...] = (
    (226, 206, 166),
    (214, 180, 130),
    (222, 222, 220),
    (206, 216, 178),
    (208, 190, 232),
    (48, 46, 44),
)


def mask_colour(rng: np.random.Generator, make: str) -> Colour:
    if make == "surgical":
        return mixed(_SURGICAL[int(rng.integers(len(_SURGICAL)))], vivid(rng), rng.uniform(0, 0.15))
    if make == "respirator":
        return mixed((220, 220, 218), vivid(rng), rng.uniform(0, 0.12))
    return vivid(rng, value=0.5)


def draw_pattern(rng: np.random.Generator, bgr: NDArray[np.uint8], second: Colour) -> None:
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


def draw_pleats(
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


def draw_seams(
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


def mask_light(
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


def draw_edge(bgr: NDArray[np.uint8], outline: NDArray[np.float64], colour: Colour) -> None:
    """The stitched hem along the outline."""
    hem = smooth(outline, 3)
    line(bgr, hem, mixed(colour, (40, 40, 40), 0.3), 2, closed=True)
