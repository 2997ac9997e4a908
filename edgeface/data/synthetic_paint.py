"""Paints a `Person` in a `Shot`: anti-aliased polygons at twice the size, soft shading, light, noise.

Features sit on the alignment template, so the crops look to a network as aligned photographs do.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeface.data.synthetic_hair import back_hair, front_hair
from edgeface.data.synthetic_person import Colour, Person, Shot
from edgeface.data.synthetic_shapes import Canvas, Points, curve, ellipse, superellipse
from edgeface_runtime.align import TEMPLATE

__all__ = ["paint"]

MIDDLE = float(TEMPLATE[:, 0].mean())
EYES, NOSE, MOUTH = TEMPLATE[:2], TEMPLATE[2], (TEMPLATE[3] + TEMPLATE[4]) / 2
CHEEKS = 66.0
"""Height (y) at which a face is widest."""


def _toned(colour: Colour, factor: float, add: Colour = (0.0, 0.0, 0.0)) -> Colour:
    blue, green, red = (min(255.0, max(0.0, c * factor + a)) for c, a in zip(colour, add, strict=True))
    return blue, green, red


def paint(person: Person, shot: Shot) -> NDArray[np.uint8]:
    """One aligned crop: (112, 96, 3) uint8 BGR."""
    canvas = Canvas(shot.angle, shot.scale, shot.shift)
    canvas.wall(shot.wall, shot.seed)
    centre = MIDDLE - 2.6 * shot.yaw  # the head's outline turns one way, its features stay on the template
    outline = face_outline(person, centre)
    _body(canvas, person, shot, centre)
    back_hair(canvas, person, centre)
    _ears(canvas, person, shot, centre)
    canvas.fill(outline, person.skin)
    _shade(canvas, person, shot, outline)
    _skin_marks(canvas, person)
    _beard(canvas, person, shot, outline)
    for side in (-1, 1):
        _eye(canvas, person, shot, side)
        _brow(canvas, person, shot, side)
    _nose(canvas, person, shot)
    _mouth(canvas, person, shot)
    front_hair(canvas, person, centre)
    if person.glasses:
        _glasses(canvas, person, centre)
    return canvas.develop(shot)


def face_outline(person: Person, centre: float) -> Points:
    """Closed outline of the head, clockwise from its right, (N, 2)."""
    lower = superellipse((centre, CHEEKS), (person.cheek, person.chin - CHEEKS), person.jaw, 0.0, np.pi)
    upper = superellipse((centre, CHEEKS), (person.cheek, CHEEKS - person.skull), 2.5, np.pi, 2 * np.pi)
    return np.concatenate([lower, upper])


def _body(canvas: Canvas, person: Person, shot: Shot, centre: float) -> None:
    neck = person.cheek * 0.66
    skin = _toned(person.skin, 0.74)
    canvas.fill(
        np.array([(centre - neck, 70), (centre + neck, 70), (centre + neck, 130), (centre - neck, 130)]), skin
    )
    shoulder = np.array(
        [
            (-30, 135),
            (-30, 116),
            (centre - neck - 3, 106),
            (centre, 126),
            (centre + neck + 3, 106),
            (126, 116),
            (126, 135),
        ]
    )
    canvas.fill(shoulder, shot.shirt)


def _ears(canvas: Canvas, person: Person, shot: Shot, centre: float) -> None:
    for side in (-1, 1):
        reach = person.ears - 1.2 * side * shot.yaw
        if person.style not in ("long", "bob") and reach > 0.3:
            middle = (centre + side * (person.cheek + reach * 0.5 - 1.2), 60.0)
            canvas.fill(ellipse(middle, (reach + 1.5, 9.5), 0.12 * side), _toned(person.skin, 0.86))
            canvas.fill(ellipse(middle, (reach * 0.5 + 0.5, 5.5), 0.12 * side), _toned(person.skin, 0.7))


def _shade(canvas: Canvas, person: Person, shot: Shot, outline: Points) -> None:
    """Soft light and shadow inside the outline: eye sockets, cheeks, sides of the nose, jaw."""
    pale, deep = _toned(person.skin, 1.07, (4, 4, 4)), _toned(person.skin, 0.76)
    with canvas.soft(outline, 2.6) as soft:
        rim = superellipse(
            (MIDDLE - 1.6 * shot.yaw, 62.0), (person.cheek - 3.5, person.chin - 65.0), 2.3, 0, 2 * np.pi
        )
        soft.fill(outline, _toned(person.skin, 0.86))
        soft.fill(rim, person.skin)
        for side, (x, y) in zip((-1, 1), EYES, strict=True):
            soft.fill(ellipse((x - side * 0.5, y - 1.5), (9.5, 5.2)), _toned(person.skin, 0.86))
            soft.fill(ellipse((x + side * 3, y + 18.0), (7.0, 6.0)), pale)
            if person.blush:
                soft.fill(
                    ellipse((x + side * 3, y + 22.0), (6.5, 4.5)),
                    _toned(person.skin, 1.0, (-10 * person.blush, -14 * person.blush, 26 * person.blush)),
                )
        soft.fill(ellipse((MIDDLE, person.hairline + 8.0), (16.0, 6.5)), pale)
        x, y = NOSE
        bridge = person.nose_width * 0.42
        soft.fill(
            curve(
                [(x - bridge - 2.2, 52), (x - bridge - 2.8, y - 2), (x + bridge + 2.8, y - 2), (x + bridge + 2.2, 52)]
            ),
            _toned(person.skin, 1 - 0.14 * person.nose_bridge),
        )
        soft.fill(curve([(x - bridge, 48), (x - bridge * 0.8, y), (x + bridge * 0.8, y), (x + bridge, 48)]), pale)
        soft.fill(ellipse((MOUTH[0], MOUTH[1] + person.lip_lower + 3.0), (7.0, 1.8)), deep)
        soft.fill(ellipse((MOUTH[0], person.chin - 8.0), (8.0, 4.0)), pale)
    if person.lines:
        fold = _toned(person.skin, 1 - 0.2 * person.lines)
        with canvas.soft(outline, 0.7) as soft:
            for side in (-1, 1):
                start = (NOSE[0] + side * (person.nose_width + 2.0), NOSE[1] + person.nose_drop - 2)
                soft.line(
                    [
                        start,
                        (start[0] + side * (3.6 + shot.smile), start[1] + 8),
                        (MOUTH[0] + side * (person.mouth_width + 3.5), MOUTH[1] + 1),
                    ],
                    fold,
                    1.5,
                )
                eye = EYES[(side + 1) // 2]
                soft.line([(eye[0] - 6, eye[1] + 6.4), (eye[0], eye[1] + 7.6), (eye[0] + 6, eye[1] + 6.2)], fold, 1.1)
            for height in (0.0, 4.5, 9.0):
                soft.line(
                    [
                        (MIDDLE - 15, person.hairline + 6 + height),
                        (MIDDLE, person.hairline + 5 + height),
                        (MIDDLE + 15, person.hairline + 6 + height),
                    ],
                    fold,
                    1.0,
                )


def _skin_marks(canvas: Canvas, person: Person) -> None:
    rng = np.random.default_rng(person.curls)
    for _ in range(person.freckles):
        x, y = MIDDLE + rng.normal(0, 15), 68 + rng.normal(0, 5)
        canvas.fill(ellipse((x, y), (0.75, 0.7)), _toned(person.skin, 0.74))
    x, y, radius = person.mole
    if radius:
        canvas.fill(ellipse((x, y), (radius, radius)), _toned(person.skin, 0.42))


def _beard(canvas: Canvas, person: Person, shot: Shot, outline: Points) -> None:
    if person.beard == "none":
        return
    x, y = MOUTH
    strength = 0.4 if person.beard == "stubble" else 0.9
    colour = _toned(person.hair, 1.0, (4, 4, 6))
    lip = ellipse((x, y), (person.mouth_width - 1, 3.6))
    with canvas.soft(outline, 1.3, strength) as soft:
        if person.beard in ("stubble", "full"):
            band = superellipse((x, 62.0), (person.cheek + 6, person.chin - 56), person.jaw, 0.0, np.pi)
            hole = superellipse((x, 62.0), (person.cheek - 4, 25.0), 2.6, 0.0, np.pi)
            soft.fill(np.concatenate([band, hole[::-1]]), colour)
        if person.beard == "goatee":
            soft.fill(ellipse((x, y + 14.0), (10.5, 12.0)), colour)
        if person.beard != "none":
            wide, top = person.mouth_width + 2.5, NOSE[1] + person.nose_drop + 5.5
            soft.fill(
                curve(
                    [
                        (x - wide, y + 4),
                        (x - wide * 0.8, top + 5),
                        (x - 4, top + 1),
                        (x + 4, top + 1),
                        (x + wide * 0.8, top + 5),
                        (x + wide, y + 4),
                        (x, y - 1),
                    ]
                ),
                colour,
            )
        if person.beard in ("full", "goatee"):
            soft.fill(lip, _toned(person.skin, 0.82))


def _eye(canvas: Canvas, person: Person, shot: Shot, side: int) -> None:
    x, y = EYES[(side + 1) // 2] + (side * person.eye_apart, 0.0)
    wide, high = person.eye_width, person.eye_height * shot.squint * (1 - 0.12 * max(0.0, shot.smile))
    tilt = person.eye_tilt
    outer, inner = (x + side * wide, y - tilt), (x - side * wide, y + 0.6 * tilt + 0.6)
    lid = curve(
        [inner, (x - side * wide * 0.45, y - high * 0.9), (x + side * wide * 0.3, y - high * 1.05), outer],
        closed=False,
    )
    bag = curve(
        [outer, (x + side * wide * 0.35, y + high * 0.85), (x - side * wide * 0.4, y + high * 0.8), inner],
        closed=False,
    )
    white = np.concatenate([lid, bag])
    canvas.fill(white, (222, 226, 230))
    iris = (x + shot.gaze[0], y - 0.1 * high + shot.gaze[1])
    radius = min(3.6, max(2.6, person.eye_height * 1.02))
    with canvas.inside(white) as part:
        part.fill(ellipse(iris, (radius + 0.5, radius + 0.5)), _toned(person.iris, 0.45))
        part.fill(ellipse(iris, (radius, radius)), person.iris)
        part.fill(ellipse(iris, (radius * 0.48, radius * 0.48)), (12, 10, 10))
        part.line(lid, (60, 60, 70), 1.6)
    canvas.fill(ellipse((iris[0] - 1.0, iris[1] - 1.1), (0.75, 0.75)), (250, 250, 250))
    lash = _toned(person.hair, 0.35, (10, 8, 10))
    canvas.line(lid, lash, 1.0 + 0.5 * person.lid)
    canvas.line(bag, _toned(person.skin, 0.66), 0.5)
    if person.lid > 0.3:
        canvas.line(lid - (0.0, 1.3 + 1.5 * person.lid), _toned(person.skin, 0.68), 0.6)


def _brow(canvas: Canvas, person: Person, shot: Shot, side: int) -> None:
    x, y = EYES[(side + 1) // 2] + (side * person.eye_apart, -person.brow_gap - shot.lift)
    length, thick = person.brow_length, person.brow_thick
    spine = np.array(
        [
            (x - side * length, y + 1.0 - person.brow_tilt * 0.3),
            (x, y - 0.8),
            (x + side * length, y + 1.2 - person.brow_tilt),
        ]
    )
    upper = spine + np.array([(0, -0.55), (0, -0.6), (0, 0.0)]) * thick
    lower = spine + np.array([(0, 0.45), (0, 0.4), (0, 0.0)]) * thick
    shape = np.concatenate([curve(upper, closed=False), curve(lower[::-1], closed=False)])
    grey = _toned(person.hair, 0.8) if person.style != "bald" else _toned(person.hair, 0.7)
    with canvas.soft(None, 0.45, 0.88) as soft:
        soft.fill(shape, grey)


def _nose(canvas: Canvas, person: Person, shot: Shot) -> None:
    x, y = NOSE[0] + 1.0 * shot.yaw, NOSE[1] + person.nose_drop + 0.7 * shot.pitch
    wide = person.nose_width
    shadow, dark = _toned(person.skin, 0.68), _toned(person.skin, 0.4)
    with canvas.soft(None, 0.8) as soft:
        soft.fill(ellipse((x, y - 0.5), (wide * 0.55, 3.4)), _toned(person.skin, 1.08, (5, 5, 5)))
        for side in (-1, 1):
            soft.line(
                [
                    (x + side * wide * 0.75, y - 4.4),
                    (x + side * (wide + 0.4), y - 0.6),
                    (x + side * wide * 0.7, y + 2.5),
                ],
                shadow,
                1.4,
            )
        soft.line([(x - wide * 0.62, y + 2.6), (x, y + 4.2), (x + wide * 0.62, y + 2.6)], shadow, 1.6)
    for side in (-1, 1):
        canvas.fill(ellipse((x + side * wide * 0.46, y + 2.0), (1.0 + wide * 0.12, 0.95), -0.25 * side), dark)


def _mouth(canvas: Canvas, person: Person, shot: Shot) -> None:
    x, y = float(MOUTH[0]) + 0.4 * shot.yaw, float(MOUTH[1]) + 0.4 * shot.pitch
    wide = person.mouth_width * (1 + 0.07 * shot.smile)
    corner = y - 1.7 * shot.smile  # a smile lifts the corners and lowers the middle
    middle, gap = y + 0.9 * shot.smile, 4.2 * shot.open
    left, right = (x - wide, corner), (x + wide, corner)
    up, low = person.lip_upper, person.lip_lower
    top = curve(
        [
            left,
            (x - wide * 0.28, middle - up * 1.1),
            (x, middle - up * 0.75),
            (x + wide * 0.28, middle - up * 1.1),
            right,
        ],
        closed=False,
    )
    seam = curve(
        [left, (x - wide * 0.4, middle + 0.1), (x, middle + 0.3), (x + wide * 0.4, middle + 0.1), right], closed=False
    )
    under = seam + np.stack([np.zeros(len(seam)), gap * np.sin(np.linspace(0, np.pi, len(seam)))], axis=1)
    bottom = curve(
        [
            left,
            (x - wide * 0.5, middle + gap + low * 0.85),
            (x, middle + gap + low * 1.05),
            (x + wide * 0.5, middle + gap + low * 0.85),
            right,
        ],
        closed=False,
    )
    canvas.fill(np.concatenate([under, bottom[::-1]]), _toned(person.lips, 1.06))
    canvas.fill(np.concatenate([top, seam[::-1]]), _toned(person.lips, 0.86))
    if gap > 0.6:
        canvas.fill(np.concatenate([seam, under[::-1]]), (34, 24, 52))
        with canvas.inside(np.concatenate([seam, under[::-1]])) as part:
            part.fill(ellipse((x, middle - 0.4), (wide * 0.72, 1.2 + gap * 0.5)), (214, 224, 228))
    canvas.line(seam if gap <= 0.6 else under, _toned(person.lips, 0.45), 0.7)
    with canvas.soft(None, 0.6, 0.5) as soft:
        soft.fill(
            ellipse((x - 1.5, middle + gap + low * 0.5), (wide * 0.25, low * 0.16)),
            _toned(person.lips, 1.35, (16, 16, 16)),
        )


def _glasses(canvas: Canvas, person: Person, centre: float) -> None:
    thick = 1.5
    for side, (x, y) in zip((-1, 1), EYES, strict=True):
        power = 2.0 if person.glasses == 1 else 4.0
        rim = superellipse(
            (x + side * person.eye_apart, y + 1.0), (13.0, 10.0 if person.glasses == 1 else 8.5), power, 0, 2 * np.pi
        )
        with canvas.soft(None, 0.0, 0.1) as soft:
            soft.fill(rim, (255, 250, 245))
        canvas.line(np.concatenate([rim, rim[:1]]), person.frame, thick)
        canvas.line([(x + side * 13.0, y), (centre + side * (person.cheek + 1), y - 2)], person.frame, thick)
    canvas.line(
        [(EYES[0, 0] + 12.5, EYES[0, 1] - 0.5), (MIDDLE, EYES[0, 1] - 2.0), (EYES[1, 0] - 12.5, EYES[1, 1] - 0.5)],
        person.frame,
        thick,
    )
