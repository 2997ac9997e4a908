"""Shapes and the canvas of the procedural faces: polygons in crop pixels, painted at twice the size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeface.data.synthetic_person import Colour, Shot

__all__ = ["Canvas", "Points", "curve", "ellipse", "superellipse"]

Points = NDArray[np.float64]

HEIGHT, WIDTH = 112, 96
OVER = 2
"""Painted at this multiple of the crop, then averaged down."""
FRACTION = 4
"""Fractional bits of polygon corners."""

_ROWS = np.linspace(-1, 1, HEIGHT, dtype=np.float32)[:, None]
_COLUMNS = np.linspace(-1, 1, WIDTH, dtype=np.float32)[None]
_GRAIN = np.random.default_rng(0).standard_normal((2 * HEIGHT, 2 * WIDTH, 3), np.float32)
"""Noise that every picture takes its own window of."""

_TURN = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)
_STEPS = np.linspace(0, 1, 7)[:-1]
_BASIS = np.stack([_STEPS**power for power in range(4)], axis=1) @ (
    0.5 * np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]], dtype=float)
)


def ellipse(middle: Sequence[float], radii: tuple[float, float], turn: float = 0.0) -> Points:
    """(24, 2) points; `turn` in radians."""
    points = _CIRCLE * radii
    if turn:
        cos, sin = np.cos(turn), np.sin(turn)
        points = points @ np.array([(cos, sin), (-sin, cos)])
    return np.asarray(points + np.asarray(middle))


def superellipse(
    middle: Sequence[float], radii: tuple[float, float], power: float, start: float, stop: float
) -> Points:
    """(25, 2) points of |x/a|^power + |y/b|^power = 1 between two angles."""
    angle = np.linspace(start, stop, 25)
    cos, sin = np.cos(angle), np.sin(angle)
    unit = np.stack([np.sign(cos) * abs(cos) ** (2 / power), np.sign(sin) * abs(sin) ** (2 / power)], axis=1)
    return np.asarray(unit * radii + np.asarray(middle))


def curve(points: ArrayLike, closed: bool = True) -> Points:
    """A Catmull-Rom curve through `points` (N, 2), six points a piece."""
    knots = np.asarray(points, dtype=float)
    if closed:
        around = np.concatenate([knots[-1:], knots, knots[:2]])
    else:
        around = np.concatenate([knots[:1], knots, knots[-1:]])
    pieces = np.stack([around[:-3], around[1:-2], around[2:-1], around[3:]], axis=1)
    path = (_BASIS @ pieces).reshape(-1, 2)
    return path if closed else np.concatenate([path, knots[-1:]])


class Canvas:
    """A BGR picture at twice the crop's size that takes polygons in crop pixels."""

    def __init__(self, angle: float = 0.0, scale: float = 1.0, shift: tuple[float, float] = (0.0, 0.0)) -> None:
        turn = np.deg2rad(angle)
        linear = scale * OVER * np.array([(np.cos(turn), np.sin(turn)), (-np.sin(turn), np.cos(turn))])
        middle = np.array([WIDTH / 2, HEIGHT / 2])
        self._linear = linear
        # Pixel centres lie at whole numbers in both grids, hence the half pixel.
        self._offset = (middle + shift) * OVER - middle @ linear + (OVER - 1) / 2
        self.pixels = np.empty((HEIGHT * OVER, WIDTH * OVER, 3), np.uint8)
        self._cover: Canvas | None = None

    def _corners(self, points: ArrayLike) -> NDArray[np.int32]:
        placed = np.asarray(points, dtype=float) @ self._linear + self._offset
        return np.rint(placed * (1 << FRACTION)).astype(np.int32)

    def fill(self, points: ArrayLike, colour: Colour) -> None:
        """A filled polygon."""
        cv2.fillPoly(self.pixels, [self._corners(points)], colour, cv2.LINE_AA, FRACTION)
        if self._cover is not None:
            self._cover.fill(points, (255, 255, 255))

    def line(self, points: ArrayLike, colour: Colour, thick: float) -> None:
        """An open line of `thick` crop pixels (at least half of one)."""
        path = np.asarray(points, dtype=float)
        if len(path) == 3:
            path = curve(path, closed=False)
        width = max(1, round(thick * OVER))
        cv2.polylines(self.pixels, [self._corners(path)], False, colour, width, cv2.LINE_AA, FRACTION)
        if self._cover is not None:
            self._cover.line(path, (255, 255, 255), thick)

    def wall(self, colours: tuple[Colour, Colour], seed: int) -> None:
        """A smooth background between two colours."""
        mix = np.random.default_rng(seed).random((5, 4, 1))
        spots = np.asarray(colours[0]) * mix + np.asarray(colours[1]) * (1 - mix)
        small = cv2.resize(np.clip(spots, 0, 255).astype(np.uint8), (24, 28), interpolation=cv2.INTER_CUBIC)
        cv2.resize(small, (WIDTH * OVER, HEIGHT * OVER), self.pixels, interpolation=cv2.INTER_LINEAR)

    @contextmanager
    def soft(self, limit: Points | None, blur: float, strength: float = 1.0) -> Iterator[Canvas]:
        """Paint with soft edges: what is painted on the yielded canvas is blurred (sigma in crop pixels) and laid
        over this one with `strength`, inside the polygon `limit` if there is one.
        """
        layer = self._like(self.pixels.copy())
        layer._cover = self._like(np.zeros(self.pixels.shape[:2], np.uint8))
        yield layer
        cover = layer._cover.pixels
        x, y, wide, high = cv2.boundingRect(cover)
        if not wide:
            return
        grow = int(3 * blur * OVER) + 1
        part = np.s_[max(0, y - grow) : y + high + grow, max(0, x - grow) : x + wide + grow]
        colour, alpha = layer.pixels[part], cover[part]
        if blur:
            colour, alpha = _blur(colour, blur * OVER), _blur(alpha, blur * OVER)
        if limit is not None:
            inside = self._like(np.zeros_like(cover))
            inside.fill(limit, (255, 255, 255))
            alpha = np.asarray(cv2.multiply(alpha, inside.pixels[part], scale=1 / 255), np.uint8)
        weight = alpha.astype(np.float32) * np.float32(strength / 255)
        self.pixels[part] = cv2.blendLinear(colour, np.ascontiguousarray(self.pixels[part]), weight, 1 - weight)

    @contextmanager
    def inside(self, limit: Points) -> Iterator[Canvas]:
        """Paint with hard edges, inside the polygon `limit` only."""
        layer = self._like(self.pixels.copy())
        yield layer
        mask = self._like(np.zeros(self.pixels.shape[:2], np.uint8))
        mask.fill(limit, (255, 255, 255))
        cv2.copyTo(layer.pixels, mask.pixels, self.pixels)

    def _like(self, pixels: NDArray[np.uint8]) -> Canvas:
        other = Canvas.__new__(Canvas)
        other._linear, other._offset, other.pixels, other._cover = self._linear, self._offset, pixels, None
        return other

    def develop(self, shot: Shot) -> NDArray[np.uint8]:
        """Average down to the crop, then light, exposure, blur and noise: (112, 96, 3) uint8."""
        image = np.asarray(cv2.resize(self.pixels, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)
        if shot.blur > 0.3:
            image = _blur(image, shot.blur)
        angle, strength = shot.light
        gain = shot.exposure * shot.contrast * np.array([1 - shot.warmth, 1.0, 1 + shot.warmth], np.float32)
        fall = 1 + strength * (np.cos(angle) * _COLUMNS + np.sin(angle) * _ROWS)
        lift = 128.0 * (1 / shot.contrast - 1)
        y, x = divmod(shot.seed % (HEIGHT * WIDTH), WIDTH)
        values = (image + np.float32(lift)) * fall[..., None] * gain
        values += _GRAIN[y : y + HEIGHT, x : x + WIDTH] * np.float32(shot.noise)
        return np.asarray(np.clip(values, 0, 255), np.uint8)


def _blur(pixels: NDArray[np.uint8], sigma: float) -> NDArray[np.uint8]:
    """About a Gaussian; wide ones as two passes of a box, whose cost does not grow with its size."""
    side = 2 * round(sigma * 1.2) + 1
    if side <= 5:
        return np.asarray(cv2.GaussianBlur(pixels, (side, side), sigma), np.uint8)
    return np.asarray(cv2.blur(cv2.blur(pixels, (side, side)), (side, side)), np.uint8)
