"""Hair of the procedural faces: what hangs behind the head and what grows over the forehead, by style."""

from __future__ import annotations

import numpy as np

from edgeface.data.synthetic_person import Colour, Person
from edgeface.data.synthetic_shapes import Canvas, Points, curve, ellipse, superellipse

__all__ = ["back_hair", "front_hair"]

TEMPLE = 44.0
"""Height (y) down to which hair covers the sides of the forehead."""


def back_hair(canvas: Canvas, person: Person, centre: float) -> None:
    """Painted before the face."""
    dark: Colour = tuple(value * 0.72 for value in person.hair)  # type: ignore[assignment]
    reach = {"long": 8.0, "bob": 9.5, "curly": 8.0}.get(person.style)
    if reach is None:
        return
    wide = person.cheek + reach
    if person.style == "curly":
        for x, y in _curls(person, (centre, 46.0), (wide - 3, 56.0), np.pi * 0.92, np.pi * 2.08, 20):
            canvas.fill(ellipse((x, y), (8.5, 8.5)), dark)
        return
    low = 130.0 if person.style == "long" else 100.0
    shape = [
        (centre - wide - 2, low), (centre - wide - 1, 62), (centre - wide * 0.8, 12), (centre, -14),
        (centre + wide * 0.8, 12), (centre + wide + 1, 62), (centre + wide + 2, low),
        (centre + wide * 0.5, low + 4), (centre - wide * 0.5, low + 4),
    ]  # fmt: skip
    canvas.fill(curve(shape), dark)
    _strands(canvas, person, centre, wide, low)


def front_hair(canvas: Canvas, person: Person, centre: float) -> None:
    """Painted after the features."""
    if person.style == "bald":
        return
    cap = _cap(person, centre)
    if person.style == "curly":
        for x, y in _curls(
            person, (centre, 50.0), (person.cheek - 1.0, 50.0 - person.hairline), np.pi, 2 * np.pi, 15
        ):
            canvas.fill(ellipse((x, y - 5), (7.5, 7.5)), person.hair)
        canvas.fill(superellipse((centre, 20.0), (person.cheek + 1, 34.0), 2.4, np.pi, 2 * np.pi), person.hair)
        return
    with canvas.soft(None, 0.5) as soft:
        soft.fill(cap, person.hair)
    _sheen(canvas, person, centre, cap)


def _cap(person: Person, centre: float) -> Points:
    """Outline of the hair on top: over the skull, down to the temples, back along the hairline."""
    wide = person.cheek + (2.5 if person.style in ("long", "bob", "fringe") else 0.8)
    temple = {"crop": 40.0, "long": 74.0, "bob": 84.0}.get(person.style, TEMPLE)
    line, side = person.hairline, person.side
    left, right = centre - wide, centre + wide
    lift = -16.0 if person.style == "quiff" else -8.0
    crown = [
        (right + 0.5, temple),
        (right - 1, 26),
        (right - 13, 2),
        (centre, lift),
        (left + 13, 2),
        (left + 1, 26),
        (left - 0.5, temple),
    ]
    inner = 4.5 if person.style == "crop" else 6.0
    if person.style == "fringe":
        edge = [
            (left + inner - 1, line + 15),
            (centre - 14, line + 11),
            (centre, line + 9.5),
            (centre + 14, line + 11),
            (right - inner + 1, line + 15),
        ]
    elif person.style in ("parted", "long"):
        part = centre + side * wide * 0.42
        far = centre - side * wide * 0.55
        middle = [(part, line - 7), (centre - side * 3, line + 1), (far, line + 9)]
        edge = [(left + inner, line + 20), *sorted(middle), (right - inner, line + 20)]
    elif person.style == "quiff":
        edge = [
            (left + inner, line + 14),
            (centre - 20, line),
            (centre + side * 6, line - 5),
            (centre + 20, line),
            (right - inner, line + 14),
        ]
    else:
        edge = [
            (left + inner, line + 14),
            (centre - 20, line + 2),
            (centre, line),
            (centre + 20, line + 2),
            (right - inner, line + 14),
        ]
    return np.concatenate([curve(crown, closed=False), curve(edge, closed=False)])


def _sheen(canvas: Canvas, person: Person, centre: float, cap: Points) -> None:
    """Lighter and darker strands on the hair."""
    rng = np.random.default_rng(person.curls)
    with canvas.soft(cap, 0.7, 0.45) as soft:
        for place in np.linspace(-0.9, 0.9, 9) + rng.normal(0, 0.06, 9):
            factor = rng.uniform(0.6, 1.5)
            colour: Colour = tuple(min(255.0, value * factor + 6) for value in person.hair)  # type: ignore[assignment]
            start = centre + person.side * person.cheek * (0.4 if person.style in ("parted", "long") else place * 0.5)
            end = centre + place * (person.cheek + 2)
            soft.line([(start, -6), ((start + end) / 2 + 4 * place, 6), (end, 40)], colour, 1.8)


def _strands(canvas: Canvas, person: Person, centre: float, wide: float, low: float) -> None:
    rng = np.random.default_rng(person.curls + 1)
    for side in (-1, 1):
        for offset in rng.uniform(0.0, 11.0, 4):
            factor = rng.uniform(0.6, 1.25)
            colour: Colour = tuple(min(255.0, value * factor) for value in person.hair)  # type: ignore[assignment]
            x = centre + side * (wide - offset)
            canvas.line([(x - side * 2, 40), (x, 70), (x + side, low - 2)], colour, 1.2)


def _curls(
    person: Person, middle: tuple[float, float], radii: tuple[float, float], start: float, stop: float, count: int
) -> Points:
    rng = np.random.default_rng(person.curls)
    angle = np.linspace(start, stop, count)
    spread = 1 + rng.normal(0, 0.05, count)
    return np.stack(
        [middle[0] + np.cos(angle) * radii[0] * spread, middle[1] + np.sin(angle) * radii[1] * spread], axis=1
    )
