"""A book held before the face: closed with a titled cover and page edges, or open with lines of print."""

from __future__ import annotations

import cv2
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
    vivid,
)

__all__ = ["draw_book"]

_PAPER: Colour = (216.0, 232.0, 238.0)


def draw_book(rng: np.random.Generator) -> Sprite:
    """A book, upright on its canvas."""
    return _closed(rng) if rng.uniform() < 0.7 else _open(rng)


def _closed(rng: np.random.Generator) -> Sprite:
    height, width = 164, 124
    colour = vivid(rng, 0.8, 0.55)
    ink = mixed((240, 240, 240), vivid(rng, 0.8), 0.35) if sum(colour) < 380 else vivid(rng, 0.8, 0.2)
    bgr, alpha = canvas(height, width, colour)
    _cover(rng, bgr, colour, ink)
    bgr = shade(bgr, _sheen(rng, height, width))
    lean = rng.uniform(-7, 7, 3)
    x0, y0, x1, y1 = 10.0, 10.0 + max(lean[0], 0), 108.0 + 0.3 * lean[1], 150.0 + 0.5 * lean[2]
    cover = np.array([(x0, y0), (x1, y0 - lean[0]), (x1, y1), (x0, y1 + 0.5 * lean[0])])
    thick = rng.uniform(4, 11)
    pages = moved(cover[[1, 2, 3]], 0, -1)
    block = np.concatenate((pages, moved(pages[::-1], thick, thick * 0.6)))
    block[3] = moved(pages[2], 2, thick * 0.8)
    fill(bgr, block, _PAPER)
    for step in np.linspace(0.15, 0.9, 4):
        line(bgr, moved(pages, thick * step, thick * step * 0.6), mixed(_PAPER, (90, 90, 90), 0.35), 1)
    line(bgr, cover, mixed(colour, (0, 0, 0), 0.45), 2, closed=True)
    fill(alpha, block, 255)
    fill(alpha, cover, 255)
    return Sprite(bgr, alpha, (60.0, 80.0))


def _cover(rng: np.random.Generator, bgr: NDArray[np.uint8], colour: Colour, ink: Colour) -> None:
    """Spine, a picture or band, and a title, in place."""
    second = vivid(rng, 0.8, 0.6)
    choice = int(rng.integers(4))
    if choice == 0:
        y = float(rng.uniform(60, 90))
        fill(bgr, [(0, y), (124, y), (124, y + rng.uniform(25, 60)), (0, y + 40)], second)
    elif choice == 1:
        ellipse(bgr, (float(rng.uniform(45, 80)), 105.0), (float(rng.uniform(18, 32)),) * 2, second)
    elif choice == 2:
        fill(bgr, [(26, 142), (rng.uniform(40, 90), rng.uniform(60, 90)), (104, 142)], second)
        ellipse(bgr, (84.0, 78.0), (9.0, 9.0), mixed(second, (255, 255, 255), 0.6))
    else:
        line(bgr, [(26, 18), (100, 18), (100, 142), (26, 142)], mixed(second, ink, 0.4), 3, closed=True)
    fill(bgr, [(0, 0), (20, 0), (20, 164), (0, 164)], mixed(colour, (0, 0, 0), 0.3))
    line(bgr, [(21, 0), (21, 164)], mixed(colour, (255, 255, 255), 0.25), 1)
    size = float(rng.uniform(0.5, 0.8))
    for row in range(int(rng.integers(1, 4))):
        letters = "".join(chr(65 + int(code)) for code in rng.integers(0, 26, int(rng.integers(3, 7))))
        at = (27, int(34 + row * 30 * size))
        cv2.putText(bgr, letters, at, cv2.FONT_HERSHEY_DUPLEX, size, ink, 1, cv2.LINE_AA)


def _open(rng: np.random.Generator) -> Sprite:
    height, width = 120, 176
    paper = mixed(_PAPER, (190, 215, 235), rng.uniform(0, 1))
    bgr, alpha = canvas(height, width, paper)
    ink = mixed(paper, (30, 30, 30), rng.uniform(0.45, 0.8))
    middle, dip = 88.0, rng.uniform(4, 10)
    for side in (-1, 1):
        inner, outer = middle + side * 8, middle + side * 72
        picture = int(rng.integers(9)) if rng.uniform() < 0.4 else 99
        for row in range(11):
            y = 24.0 + 7.5 * row
            if picture <= row < picture + 4:
                continue
            end = outer if rng.uniform() < 0.8 else inner + 0.5 * (outer - inner)
            line(bgr, [(inner, y + dip * 0.5), (0.5 * (inner + end), y - 2), (end, y)], ink, 2)
        if picture < 8:
            y = 24.0 + 7.5 * picture
            box = [
                (inner + side * 8, y),
                (outer - side * 6, y),
                (outer - side * 6, y + 24),
                (inner + side * 8, y + 24),
            ]
            fill(bgr, box, vivid(rng, 0.7, 0.6))
    x = np.abs(np.arange(width, dtype=np.float32) - middle)
    gutter = (1.02 - 0.45 * np.exp(-x / 9) - 0.0006 * x).astype(np.float32)
    bgr = shade(bgr, _sheen(rng, height, width) * gutter[None])
    edge = vivid(rng, 0.8, 0.4)
    upper = [(8, 14), (50, 9), (84, 13), (88, 13 + dip), (92, 13), (126, 9), (168, 14)]
    lower = [(168, 110), (126, 104), (92, 108), (88, 108 + 0.5 * dip), (84, 108), (50, 104), (8, 110)]
    outline = np.array((*upper, *lower), np.float64)
    fill(alpha, outline, 255)
    line(alpha, outline, 255, 5, closed=True)
    line(bgr, outline, edge, 3, closed=True)
    return Sprite(bgr, alpha, (60.0, 60.0))


def _sheen(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Light across a flat thing: a slope, unevenness and grain."""
    slope = np.linspace(1 + rng.uniform(-0.18, 0.18), 1.0, width, dtype=np.float32)
    field = folds(rng, height, width, (4, 3), 0.05) * slope[None]
    field += grain(rng, height, width, rng.uniform(0.01, 0.03))
    return field
