"""A drawn object before it is put on a face, and the few drawing tools all kinds share.

Objects are drawn larger than they appear and reduced when pasted, so edges come out anti-aliased. Colour is kept
apart from opacity: the colour canvas is filled beyond the outline, so no dark fringe appears when it is resampled.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "Colour",
    "Sprite",
    "canvas",
    "ellipse",
    "fill",
    "folds",
    "grain",
    "line",
    "mixed",
    "moved",
    "rounded_rect",
    "shade",
    "smooth",
    "vivid",
]

Colour = tuple[float, float, float]
"""Blue, green, red, each 0..255."""

_SHIFT = 4
_GRAIN_SIDE = 384


@dataclass(frozen=True)
class Sprite:
    """An object on a canvas of its own.

    Worn things (glasses, masks) are drawn in the frame of the alignment template: canvas point p lies at
    `p / density + offset` template pixels. For things held anywhere, density and offset mean nothing.
    """

    bgr: NDArray[np.uint8]
    """(h, w, 3) colour, defined on the whole canvas."""
    alpha: NDArray[np.uint8]
    """(h, w) opacity, 0..255."""
    anchor: tuple[float, float]
    """Canvas point (x, y) the object is placed and scaled about."""
    density: float = 1.0
    """Canvas pixels per template pixel."""
    offset: tuple[float, float] = (0.0, 0.0)
    """Template point of the canvas's corner."""
    inside: tuple[float, float] | None = None
    """A point well inside the object, where its anchor is not: what it is placed about when it is not worn."""


def canvas(height: int, width: int, colour: Colour) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """An evenly coloured (height, width, 3) canvas and its empty (height, width) opacity."""
    bgr = np.empty((height, width, 3), np.uint8)
    bgr[:] = np.clip(colour, 0, 255)
    return bgr, np.zeros((height, width), np.uint8)


def _fixed(points: ArrayLike) -> NDArray[np.int32]:
    return np.round(np.asarray(points, np.float64) * (1 << _SHIFT)).astype(np.int32)


def fill(image: NDArray[np.uint8], points: ArrayLike, colour: Colour | int) -> None:
    """Fill a polygon of (n, 2) points, anti-aliased, in place."""
    cv2.fillPoly(image, [_fixed(points)], _scalar(colour), cv2.LINE_AA, _SHIFT)


def line(
    image: NDArray[np.uint8], points: ArrayLike, colour: Colour | int, width: float, closed: bool = False
) -> None:
    """Draw a line through (n, 2) points with round ends, anti-aliased, in place."""
    thickness = max(1, round(width))
    cv2.polylines(image, [_fixed(points)], closed, _scalar(colour), thickness, cv2.LINE_AA, _SHIFT)


def ellipse(
    image: NDArray[np.uint8],
    centre: tuple[float, float],
    axes: tuple[float, float],
    colour: Colour | int,
    width: int = -1,
) -> None:
    """Draw an upright ellipse (half axes; filled when width is -1), anti-aliased, in place."""
    at, half = _fixed(centre), _fixed(axes)
    cv2.ellipse(
        image,
        (int(at[0]), int(at[1])),
        (int(half[0]), int(half[1])),
        0,
        0,
        360,
        _scalar(colour),
        width,
        cv2.LINE_AA,
        _SHIFT,
    )


def _scalar(colour: Colour | int) -> Sequence[float]:
    return (float(colour),) if isinstance(colour, int) else colour


def smooth(points: ArrayLike, rounds: int = 3) -> NDArray[np.float64]:
    """Round the corners of a closed polygon (n, 2) by cutting them `rounds` times (Chaikin's scheme)."""
    ring = np.asarray(points, np.float64)
    for _ in range(rounds):
        following = np.concatenate((ring[1:], ring[:1]))
        cut = np.empty((2 * len(ring), 2))
        cut[0::2] = 0.75 * ring + 0.25 * following
        cut[1::2] = 0.25 * ring + 0.75 * following
        ring = cut
    return ring


def rounded_rect(x0: float, y0: float, x1: float, y1: float, radius: float) -> NDArray[np.float64]:
    """Outline (20, 2) of a rectangle with rounded corners."""
    turn = np.linspace(0, np.pi / 2, 5)
    corners = ((x1, y1, 0), (x0, y1, 1), (x0, y0, 2), (x1, y0, 3))
    arcs = []
    for x, y, quarter in corners:
        angle = turn + quarter * np.pi / 2
        inward = np.array([-1 if x == x1 else 1, -1 if y == y1 else 1]) * radius
        arcs.append(np.stack((np.cos(angle), np.sin(angle)), 1) * radius + (x, y) + inward)
    return np.concatenate(arcs)


def vivid(rng: np.random.Generator, saturation: float = 0.6, value: float = 0.7) -> Colour:
    """A random colour; one in three is nearly grey, as things are."""
    hue, chance = rng.uniform(0, 6), rng.uniform()
    strength = rng.uniform(0, 0.15) if chance < 0.33 else rng.uniform(0.35, 1.3) * saturation
    level = 255 * np.clip(rng.normal(value, 0.2), 0.08, 0.92)
    wheel = np.clip(np.abs((hue + np.array([2.0, 4.0, 0.0])) % 6 - 3) - 1, 0, 1)
    blue, green, red = level * (1 - min(strength, 1.0) * (1 - wheel))
    return float(blue), float(green), float(red)


def mixed(first: Colour, second: Colour, share: float) -> Colour:
    """`share` of the second colour in the first."""
    a, b, c = ((1 - share) * x + share * y for x, y in zip(first, second, strict=True))
    return a, b, c


def moved(points: ArrayLike, x: float, y: float) -> NDArray[np.float64]:
    """Points (..., 2) moved by (x, y)."""
    shifted: NDArray[np.float64] = np.asarray(points, np.float64) + np.array((x, y))
    return shifted


def folds(
    rng: np.random.Generator, height: int, width: int, cells: tuple[int, int], amount: float
) -> NDArray[np.float32]:
    """A smooth random field (height, width) float32 of mean about 1 and standard deviation `amount`."""
    coarse = rng.standard_normal((cells[0], cells[1]), dtype=np.float32) * amount + 1
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.float32)


@functools.lru_cache(maxsize=1)
def _grain_tile() -> NDArray[np.float32]:
    noise = np.random.default_rng(0).standard_normal((_GRAIN_SIDE, _GRAIN_SIDE)).astype(np.float32)
    tile = np.asarray(cv2.GaussianBlur(noise, (3, 3), 0.8), np.float32)
    tile /= tile.std()
    tile.setflags(write=False)
    return tile


def grain(rng: np.random.Generator, height: int, width: int, amount: float) -> NDArray[np.float32]:
    """Fine surface grain (height, width) float32 of mean 0: a random window of one fixed tile, as noise is slow."""
    top, left = rng.integers(0, (_GRAIN_SIDE - height, _GRAIN_SIDE - width))
    window = _grain_tile()[top : top + height, left : left + width]
    return np.asarray(window * amount, np.float32)


def shade(bgr: NDArray[np.uint8], light: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Multiply a canvas (h, w, 3) by a light field (h, w) float32, 1 = unchanged."""
    level = cv2.convertScaleAbs(light, alpha=128.0)
    return np.asarray(cv2.multiply(bgr, cv2.merge((level, level, level)), scale=1 / 128), np.uint8)
