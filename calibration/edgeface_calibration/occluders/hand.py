"""A hand before the face, seen from its back or its palm, with a wrist or a sleeve."""

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
    shade,
    smooth,
    vivid,
)

__all__ = ["draw_hand"]

_HEIGHT, _WIDTH = 180, 132
_SKIN: tuple[Colour, ...] = (
    (178, 200, 238),
    (150, 180, 226),
    (128, 160, 210),
    (100, 134, 190),
    (74, 102, 156),
    (48, 68, 108),
)


def draw_hand(rng: np.random.Generator) -> Sprite:
    """A hand, fingers up on its canvas, left or right."""
    tone = int(rng.integers(len(_SKIN) - 1))
    skin = mixed(_SKIN[tone], _SKIN[tone + 1], rng.uniform(0, 1))
    dark, lit = mixed(skin, (30, 30, 60), 0.42), mixed(skin, (235, 240, 255), 0.22)
    bgr, alpha = canvas(_HEIGHT, _WIDTH, dark)
    sleeve = vivid(rng, value=0.4) if rng.uniform() < 0.5 else None
    fingers = _fingers(rng)
    palm = smooth([(38, 98), (48, 88), (84, 86), (96, 100), (94, 128), (84, 150), (54, 150), (42, 130)], 2)
    wrist = [(53, 140), (85, 140), (88, 190), (50, 190)]

    for outline in (palm, wrist):
        fill(alpha, outline, 255)
        line(alpha, outline, 255, 3, closed=True)
    fill(bgr, wrist, mixed(skin, dark, 0.3))
    fill(bgr, palm, skin)
    for joints, width in fingers:
        line(alpha, joints, 255, width)
        line(bgr, joints, dark, width + 2)
        line(bgr, joints, skin, width - 3)
        line(bgr, joints - (width * 0.14, 0), lit, width * 0.3)
    fill(bgr, smooth([(46, 102), (84, 98), (88, 124), (66, 142), (50, 128)], 2), skin)
    bgr = np.asarray(cv2.GaussianBlur(bgr, (5, 5), 1.6), np.uint8)
    if rng.uniform() < 0.6:
        _back(rng, bgr, fingers, skin, dark)
    else:
        for curve in (
            [(50, 112), (66, 104), (90, 106)],
            [(52, 122), (70, 118), (88, 126)],
            [(58, 104), (54, 124), (62, 142)],
        ):
            line(bgr, curve, mixed(skin, dark, 0.6), 1)
    light = folds(rng, _HEIGHT, _WIDTH, (5, 4), 0.07) + grain(rng, _HEIGHT, _WIDTH, 0.02)
    bgr = shade(bgr, light)
    if sleeve is not None:
        cuff = [(44, 158), (94, 158), (98, 190), (40, 190)]
        fill(alpha, cuff, 255)
        fill(bgr, cuff, sleeve)
        line(bgr, cuff[:2], mixed(sleeve, (0, 0, 0), 0.4), 3)
    if rng.uniform() < 0.5:
        bgr, alpha = np.ascontiguousarray(bgr[:, ::-1]), np.ascontiguousarray(alpha[:, ::-1])
    return Sprite(bgr, alpha, (66.0, 112.0))


def _fingers(rng: np.random.Generator) -> list[tuple[NDArray[np.float64], float]]:
    """Joints (3, 2) and width of the thumb, then of the four fingers; spread and bent at random."""
    spread, size = rng.uniform(0.25, 1.25), rng.uniform(0.95, 1.1)
    thumb_out = rng.uniform(0.5, 1.2)
    thumb = np.array([(48, 132), (34 - 8 * thumb_out, 110), (26 - 16 * thumb_out, 88 + 6 * rng.uniform(-1, 1))])
    fingers = [(thumb, 18.0 * size)]
    roots, lengths, angles = (45, 59, 73, 87), (60, 68, 63, 48), (-16, -4, 7, 20)
    for root, length, angle in zip(roots, lengths, angles, strict=True):
        turn = np.deg2rad(angle * spread + rng.uniform(-3, 3))
        bend = turn + np.deg2rad(rng.uniform(-7, 7))
        reach = length * size * rng.uniform(0.9, 1.03)
        base = np.array([root, 96.0 + 0.03 * (root - 66) ** 2 * 0.2])
        knuckle = base + 0.5 * reach * np.array([np.sin(turn), -np.cos(turn)])
        tip = knuckle + 0.5 * reach * np.array([np.sin(bend), -np.cos(bend)])
        fingers.append((np.stack((base, knuckle, tip)), 15.0 * size * (0.88 if root == 87 else 1.0)))
    return fingers


def _back(
    rng: np.random.Generator,
    bgr: NDArray[np.uint8],
    fingers: list[tuple[NDArray[np.float64], float]],
    skin: Colour,
    dark: Colour,
) -> None:
    """Nails and knuckle creases, in place."""
    nail = mixed(skin, (225, 215, 250), 0.6) if rng.uniform() < 0.7 else vivid(rng, 1.0, 0.6)
    for joints, width in fingers:
        ellipse(bgr, (float(joints[2][0]), float(joints[2][1])), (0.24 * width, 0.3 * width), nail)
        x, y = joints[1]
        line(bgr, [(x - 4, y + 1), (x, y - 1), (x + 4, y + 1)], mixed(skin, dark, 0.6), 1)
