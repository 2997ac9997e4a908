"""Face masks by make (pleated surgical, cloth, cup-shaped N95), worn on a head that may be turned; no file needed.

Unlike `face_mask.py`, whose drawings earlier sets rely on, the outline lies on a solid head fitted to the landmarks,
and loops and straps end at the ears: so these also look right on photographs that are not cropped to the face.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.occluders.head import MIDDLE, Pose, Row, head_pose
from edgeface_calibration.occluders.mask_cloth import draw_edge, draw_pattern, draw_pleats, mask_colour, mask_light
from edgeface_calibration.occluders.sprite import Colour, Sprite, canvas, ellipse, fill, line, mixed, moved, smooth

__all__ = ["draw_cloth", "draw_n95", "draw_surgical"]

Points = NDArray[np.float64]

_DENSITY = 1.8
_LEFT, _TOP, _WIDTH, _HEIGHT = -30.0, 24.0, 156.0, 116.0


@dataclass(frozen=True)
class _Cut:
    """A make's shape, template pixels on the straight head."""

    reach_deg: float
    """How far it goes round the face."""
    bridge: float
    """y of its upper rim on the nose."""
    chin: float
    """y of its foot."""
    width: float = 1.0
    """Of the head's own."""
    bulge: float = 0.0
    """How far it stands off the face."""
    corner: float = 1.0
    """Height of its sides, of the way from cheek to jaw."""
    foot: float = 18.0
    """Half the width of its foot."""


_SURGICAL = _Cut(76, 59, 117)
_CLOTH = _Cut(70, 60, 119, corner=0.85)
_N95 = _Cut(62, 60, 114, width=0.93, bulge=6, corner=0.75, foot=24)


def draw_surgical(rng: np.random.Generator, points: Points) -> Sprite:
    """A pleated surgical mask for landmarks `points` (5, 2) in the template's frame."""
    shape = _shape(rng, points, _SURGICAL)
    colour = mask_colour(rng, "surgical")
    bgr, alpha = canvas(int(_HEIGHT * _DENSITY), int(_WIDTH * _DENSITY), colour)
    draw_pleats(rng, bgr, shape.rim, shape.foot, colour)
    bgr = mask_light(rng, bgr, shape.middle, shape.top, shape.foot, "surgical")
    return _finish(bgr, alpha, shape, colour, mixed(colour, (245, 245, 245), 0.7), _LOOPS)


def draw_cloth(rng: np.random.Generator, points: Points) -> Sprite:
    """A sewn cloth mask, plain, striped or dotted, for landmarks `points` (5, 2) in the template's frame."""
    shape = _shape(rng, points, _CLOTH)
    colour = mask_colour(rng, "cloth")
    bgr, alpha = canvas(int(_HEIGHT * _DENSITY), int(_WIDTH * _DENSITY), colour)
    draw_pattern(rng, bgr, mixed(colour, mask_colour(rng, "cloth"), 0.8))
    line(bgr, shape.ridge, mixed(colour, (20, 20, 20), 0.35), 2)
    line(bgr, moved(shape.ridge, 2, 0), mixed(colour, (255, 255, 255), 0.2), 1)
    bgr = mask_light(rng, bgr, shape.middle, shape.top, shape.foot, "cloth")
    return _finish(bgr, alpha, shape, colour, mixed(colour, (40, 40, 40), 0.3), _LOOPS)


def draw_n95(rng: np.random.Generator, points: Points) -> Sprite:
    """A cup-shaped respirator with nose clip and head straps; `points` (5, 2) as for the others."""
    shape = _shape(rng, points, _N95)
    colour = mask_colour(rng, "respirator")
    bgr, alpha = canvas(int(_HEIGHT * _DENSITY), int(_WIDTH * _DENSITY), colour)
    grey, lit = mixed(colour, (80, 80, 80), 0.35), mixed(colour, (255, 255, 255), 0.5)
    left, right = 0.5 * (shape.rim[0] + shape.lower[0]), 0.5 * (shape.rim[4] + shape.lower[1])
    for share in (0.3, 0.72):
        waist = shape.ridge[0] + share * (shape.ridge[-1] - shape.ridge[0])
        waist[0] = np.interp(waist[1], shape.ridge[:, 1], shape.ridge[:, 0])
        waist[1] += 6 * (share - 0.4)
        seam = _curve(np.stack((left, waist, right)))
        line(bgr, seam, grey, 2)
        line(bgr, moved(seam, 0, 2.5), lit, 1)
    if rng.uniform() < 0.4:
        at = 0.5 * (shape.ridge[1] + shape.ridge[2]) + (10, 4)
        radius = float(rng.uniform(11, 15))
        ellipse(bgr, (at[0], at[1]), (radius, radius), mixed(colour, (90, 90, 90), 0.35))
        ellipse(bgr, (at[0], at[1]), (radius - 3, radius - 3), lit)
        line(bgr, [(at[0] - 6, at[1]), (at[0] + 6, at[1])], grey, 2)
    bgr = mask_light(rng, bgr, shape.middle, shape.top, shape.foot, "respirator")
    clip = moved(_curve(shape.rim[1:4]), 0, 7)[3:-3]
    line(bgr, clip, (150, 150, 150) if rng.uniform() < 0.6 else mixed(colour, (60, 60, 60), 0.3), 4)
    strap = ((60.0, 205.0, 235.0), (235.0, 235.0, 235.0), (190.0, 150.0, 90.0))[int(rng.integers(3))]
    return _finish(bgr, alpha, shape, colour, strap, _STRAPS)


@dataclass(frozen=True)
class _Shape:
    """A mask on its canvas, pixels."""

    outline: Points
    """(11, 2) clockwise from the upper left corner."""
    rim: Points
    """(5, 2) its upper edge."""
    lower: Points
    """(2, 2) lower corners, left and right."""
    ridge: Points
    """(4, 2) down the middle: bridge, nose, lips, chin."""
    pose: Pose

    @property
    def top(self) -> float:
        return float(self.rim[:, 1].min())

    @property
    def foot(self) -> float:
        return float(self.outline[:, 1].max())

    @property
    def middle(self) -> float:
        return float(self.ridge[1, 0])


def _shape(rng: np.random.Generator, points: Points, cut: _Cut) -> _Shape:
    """Lay a cut on the head of these landmarks, give or take a few pixels."""
    pose = head_pose((points - (_LEFT, _TOP)) * _DENSITY, exact=(2, 3, 4))
    reach, width = cut.reach_deg + rng.uniform(-5, 5), cut.width * rng.uniform(0.96, 1.04)
    bridge, chin, cheek = cut.bridge + rng.uniform(-2, 3), cut.chin + rng.uniform(-3, 4), rng.uniform(68, 74)
    jaw = cheek + (99 + rng.uniform(-3, 3) - cheek) * cut.corner
    out = cut.bulge

    def side(y: float, half: float, front: float, depth: float, round_deg: float, right: bool) -> Points:
        return pose.side(Row(y, half * width, front + out, depth), round_deg, right)

    ridge = pose.project(
        np.array(
            [
                (MIDDLE, bridge, 8),
                (MIDDLE, 75, 19 + out),
                (MIDDLE, 92, 13 + out),
                (MIDDLE, chin, 3 + 0.5 * out),
            ]
        )
    )
    edges = []
    for right in (False, True):
        corner = side(cheek, 36, 6, 34, reach, right)
        brow = side(bridge + 0.42 * (cheek - bridge), 34, 8, 34, 0.46 * reach, right)
        flank = side(0.5 * (cheek + jaw), 36, 8, 32, reach, right)
        lower = side(jaw, 32, 7, 30, reach, right)
        foot = side(chin, cut.foot, 4, 10, 60, right)
        brow[0] = max(brow[0], ridge[0, 0] + 4) if right else min(brow[0], ridge[0, 0] - 4)
        edges.append((corner, brow, flank, lower, foot))
    (a, m, flank_l, d, foot_l), (c, n, flank_r, f, foot_r) = edges
    rim = np.stack((a, m, ridge[0], n, c))
    outline = np.concatenate((rim, np.stack((flank_r, f, foot_r, foot_l, d, flank_l))))
    return _Shape(outline, rim, np.stack((d, f)), ridge, pose)


_LOOPS = ((40.0, 62.0, -42.0), (39.0, 80.0, -40.0))
_STRAPS = ((38.0, 44.0, -40.0), (36.0, 94.0, -40.0))
"""Where what holds the mask ends on the right half of the head: upper, lower."""


def _finish(
    bgr: NDArray[np.uint8],
    alpha: NDArray[np.uint8],
    shape: _Shape,
    colour: Colour,
    strap: Colour,
    ends: tuple[tuple[float, float, float], tuple[float, float, float]],
) -> Sprite:
    """Hem, loops or straps (where the head does not hide them) and outline."""
    draw_edge(bgr, shape.outline, colour)
    for right in (False, True):
        sign, column = (1, 4) if right else (-1, 0)
        for start, (x, y, z) in zip((shape.rim[column], shape.lower[int(right)]), ends, strict=True):
            end = shape.pose.project(np.array([(MIDDLE + sign * x, y, z)]))[0]
            if sign * (end[0] - start[0]) > 2:
                line(alpha, [start, end], 255, 3)
                line(bgr, [start, end], strap, 4)
    fill(alpha, smooth(shape.outline, 3), 255)
    anchor = (shape.middle, 0.55 * shape.top + 0.45 * shape.foot)
    return Sprite(bgr, alpha, anchor, _DENSITY, (_LEFT, _TOP))


def _curve(points: Points) -> Points:
    """Points (13, 2) of the parabola through three points."""
    start, middle, end = points
    share = np.linspace(0, 1, 13)[:, None]
    control = 2 * middle - 0.5 * (start + end)
    curve: Points = (1 - share) ** 2 * start + 2 * share * (1 - share) * control + share**2 * end
    return curve
