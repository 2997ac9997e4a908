"""A sleep mask, worn over both eyes: FROM's eye mask. Plain or patterned cloth, piped, with a band round the head."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.occluders.head import MIDDLE, Row, head_pose
from edgeface_calibration.occluders.mask_cloth import draw_pattern
from edgeface_calibration.occluders.sprite import (
    Sprite,
    canvas,
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

__all__ = ["draw_sleep_mask"]

_DENSITY = 1.8
_LEFT, _TOP, _WIDTH, _HEIGHT = -30.0, 16.0, 156.0, 76.0


def draw_sleep_mask(rng: np.random.Generator, points: NDArray[np.float64]) -> Sprite:
    """A sleep mask for landmarks `points` (5, 2) in the template's frame."""
    pose = head_pose((points - (_LEFT, _TOP)) * _DENSITY, exact=(0, 1))
    height, width = int(_HEIGHT * _DENSITY), int(_WIDTH * _DENSITY)
    reach = rng.uniform(62, 76)
    over, under, notch = rng.uniform(38, 42), rng.uniform(62, 66.5), rng.uniform(56.5, 60.5)
    eyes = 51.6
    sides = []
    for right in (False, True):
        brow = pose.side(Row(over, 36, 8, 30), 0.5 * reach, right)
        temple = pose.side(Row(over + 5, 36, 8, 32), reach, right)
        end = pose.side(Row(eyes + 2, 36, 8, 32), reach + 2, right)
        cheek = pose.side(Row(under - 1, 36, 8, 32), 0.8 * reach, right)
        lid = pose.side(Row(under, 34, 9, 32), 0.42 * reach, right)
        sides.append(np.stack((brow, temple, end, cheek, lid)))
    above, bridge = pose.project(np.array([(MIDDLE, over + 1, 10), (MIDDLE, notch, 10)]))
    outline = np.concatenate(([above], sides[1], [bridge], sides[0][::-1]))

    colour = vivid(rng, 0.7, 0.4)
    bgr, alpha = canvas(height, width, colour)
    if rng.uniform() < 0.6:
        draw_pattern(rng, bgr, mixed(colour, vivid(rng), 0.7))
    if rng.uniform() < 0.35:
        _lids(bgr, pose.project(np.column_stack((MIDDLE + np.array((-17.6, 17.6)), (eyes, eyes), (6, 6)))))
    x = (np.arange(width, dtype=np.float32) - bridge[0]) / (0.5 * width)
    y = (np.arange(height, dtype=np.float32) - above[1]) / max(float(bridge[1] - above[1]), 1.0)
    light = np.outer(1.1 - 0.25 * np.clip(y, 0, 1.5) ** 2, 1.06 - 0.5 * x**2).astype(np.float32)
    light *= folds(rng, height, width, (4, 6), rng.uniform(0.03, 0.09))
    light += grain(rng, height, width, rng.uniform(0.01, 0.03))
    bgr = shade(bgr, light)
    hem = smooth(outline, 3)
    line(bgr, hem, mixed(colour, vivid(rng, value=0.4), 0.5), 4, closed=True)

    band = mixed(colour, (20, 20, 20), rng.uniform(0.2, 0.6))
    broad = rng.uniform(7, 12)
    for sign, side in ((-1, sides[0]), (1, sides[1])):
        start = 0.5 * (side[1] + side[2])
        end = pose.project(np.array([(MIDDLE + sign * 40.0, eyes - 3, -42)]))[0]
        if sign * (end[0] - start[0]) > 2:
            line(alpha, [start, end], 255, broad)
            outer = np.array([moved(start, sign * 2, 0), end])
            line(bgr, outer, band, broad + 1)
    fill(alpha, hem, 255)
    middle = 0.5 * (above + bridge)
    return Sprite(bgr, alpha, (float(middle[0]), float(middle[1])), _DENSITY, (_LEFT, _TOP))


def _lids(bgr: NDArray[np.uint8], eyes: NDArray[np.float64]) -> None:
    """Closed eyes printed on it, in place."""
    for x, y in eyes:
        across = np.linspace(-1, 1, 9)
        lid = np.stack((x + 15 * across, y + 6 * (1 - across**2)), 1)
        line(bgr, lid, (235, 235, 235), 2)
        for foot, lean in zip(lid[1:-1:2], across[1:-1:2], strict=True):
            line(bgr, [foot, moved(foot, 5 * lean, 6)], (235, 235, 235), 2)
