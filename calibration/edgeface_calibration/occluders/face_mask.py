"""A face mask, worn: fitted to the five landmarks from the nose bridge to below the chin.

Three makes, drawn at random: pleated surgical, plain or patterned cloth, and a respirator. `makes.py` draws each by
name, on a head that may be turned far.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.occluders.mask_cloth import (
    draw_edge,
    draw_pattern,
    draw_pleats,
    draw_seams,
    mask_colour,
    mask_light,
)
from edgeface_calibration.occluders.sprite import (
    Sprite,
    canvas,
    fill,
    line,
    mixed,
    smooth,
    vivid,
)

__all__ = ["draw_face_mask"]

_DENSITY = 1.8
_LEFT, _TOP, _WIDTH, _HEIGHT = -6.0, 44.0, 108.0, 84.0


def draw_face_mask(rng: np.random.Generator, points: NDArray[np.float64]) -> Sprite:
    """A mask for a face with landmarks `points` (5, 2), given in the template's frame."""
    make = ("surgical", "surgical", "cloth", "respirator")[int(rng.integers(4))]
    at = (points - (_LEFT, _TOP)) * _DENSITY
    height, width = int(_HEIGHT * _DENSITY), int(_WIDTH * _DENSITY)
    outline, rim = _outline(rng, at)
    colour = mask_colour(rng, make)
    bgr, alpha = canvas(height, width, colour)

    if make == "cloth":
        draw_pattern(rng, bgr, mixed(colour, vivid(rng), 0.8))
    middle, top, foot = float(at[2][0]), float(rim[:, 1].min()), float(outline[:, 1].max())
    if make == "surgical":
        draw_pleats(rng, bgr, rim, foot, colour)
    elif make == "respirator":
        draw_seams(rng, bgr, middle, top, foot, colour)
    bgr = mask_light(rng, bgr, middle, top, foot, make)
    draw_edge(bgr, outline, colour)

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
