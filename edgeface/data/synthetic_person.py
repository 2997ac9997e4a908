"""Who a procedural face is (`Person`) and how one picture of it was taken (`Shot`), as numbers drawn from a seed.

Lengths are pixels of the 112x96 aligned crop; colours are BGR in 0..255. Nothing here is taken from a real face.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = ["Colour", "Person", "Shot", "draw_person", "draw_shot"]

Colour = tuple[float, float, float]

SKIN = np.array(
    [(212, 222, 244), (186, 206, 238), (158, 184, 226), (126, 158, 208), (92, 124, 178), (64, 90, 140), (44, 62, 98)],
    dtype=float,
)
HAIR = np.array(
    [
        (24, 22, 24),
        (30, 38, 52),
        (40, 62, 96),
        (52, 84, 128),
        (36, 64, 148),
        (110, 158, 198),
        (150, 190, 222),
        (168, 168, 170),
    ],
    dtype=float,
)
HAIR_WEIGHTS = (0.24, 0.2, 0.16, 0.1, 0.08, 0.08, 0.06, 0.08)
IRIS = np.array(
    [(20, 28, 44), (28, 50, 88), (44, 84, 110), (88, 120, 84), (150, 116, 64), (188, 158, 104), (128, 124, 116)],
    dtype=float,
)
IRIS_WEIGHTS = (0.26, 0.24, 0.13, 0.1, 0.11, 0.1, 0.06)
STYLES = ("bald", "crop", "quiff", "fringe", "parted", "curly", "long", "bob")
STYLE_WEIGHTS = (0.09, 0.16, 0.13, 0.13, 0.13, 0.12, 0.13, 0.11)
BEARDS = ("none", "stubble", "full", "goatee", "moustache")
BEARD_WEIGHTS = (0.6, 0.12, 0.12, 0.08, 0.08)


@dataclass(frozen=True)
class Person:
    """What stays the same over all pictures of one identity."""

    skin: Colour
    hair: Colour
    iris: Colour
    lips: Colour
    cheek: float
    """Half width of the face at the cheekbones."""
    jaw: float
    """Exponent of the lower outline: 1.7 pointed ... 3.2 square."""
    chin: float
    """Height (y) of the chin."""
    skull: float
    """Height (y) of the top of the skull."""
    hairline: float
    style: str
    side: int
    """Side of the parting, -1 or 1."""
    curls: int
    """Seed of the hair's outline."""
    brow_thick: float
    brow_tilt: float
    brow_gap: float
    brow_length: float
    eye_width: float
    eye_height: float
    eye_tilt: float
    eye_apart: float
    lid: float
    nose_width: float
    nose_drop: float
    nose_bridge: float
    mouth_width: float
    lip_upper: float
    lip_lower: float
    beard: str
    blush: float
    lines: float
    """Strength of age lines, 0..1."""
    freckles: int
    mole: tuple[float, float, float]
    """x, y, radius; radius 0: none."""
    glasses: int
    """0 none, 1 round, 2 square."""
    frame: Colour
    ears: float


@dataclass(frozen=True)
class Shot:
    """What changes from picture to picture."""

    seed: int
    smile: float
    """-0.4 sad ... 1 smiling."""
    open: float
    """Mouth opening, 0..1."""
    lift: float
    """Height the brows are raised by."""
    squint: float
    """Factor on the eye's height."""
    gaze: tuple[float, float]
    yaw: float
    """-1 ... 1: the outline moves against the features."""
    pitch: float
    angle: float
    """Rotation in degrees left by imperfect alignment."""
    scale: float
    shift: tuple[float, float]
    light: tuple[float, float]
    """Direction and strength of the light's fall-off."""
    exposure: float
    warmth: float
    contrast: float
    noise: float
    blur: float
    wall: tuple[Colour, Colour]
    shirt: Colour


def _colour(values: np.ndarray) -> Colour:
    blue, green, red = (float(value) for value in np.clip(values, 0, 255))
    return blue, green, red


def _between(anchors: np.ndarray, position: float) -> np.ndarray:
    """Colour at `position` (0..1) along a palette."""
    place = position * (len(anchors) - 1)
    low = min(int(place), len(anchors) - 2)
    return np.asarray(anchors[low] + (anchors[low + 1] - anchors[low]) * (place - low))


def draw_person(rng: np.random.Generator) -> Person:
    """A person from a seeded generator."""
    tone = float(rng.beta(1.1, 1.5))
    skin = _between(SKIN, tone) + rng.normal(0, (5, 3, 4))
    hair = HAIR[rng.choice(len(HAIR), p=HAIR_WEIGHTS)] if tone < 0.6 else HAIR[rng.choice([0, 0, 0, 1, 7])]
    iris = IRIS[rng.choice(len(IRIS), p=IRIS_WEIGHTS)] if tone < 0.55 else IRIS[rng.choice(2)]
    lips = skin * rng.uniform(0.62, 0.8) + np.array([22, 4, 46]) * rng.uniform(0.4, 1.3)
    style = str(rng.choice(STYLES, p=STYLE_WEIGHTS))
    beard = "none" if style in ("long", "bob") else str(rng.choice(BEARDS, p=BEARD_WEIGHTS))
    u = rng.uniform
    return Person(
        skin=_colour(skin),
        hair=_colour(hair * u(0.85, 1.2) + rng.normal(0, 3, 3)),
        iris=_colour(iris * u(0.85, 1.2)),
        lips=_colour(lips),
        cheek=u(34.0, 43.0),
        jaw=u(1.75, 3.1),
        chin=u(112.0, 124.0),
        skull=u(-8.0, 4.0),
        hairline=u(13.0, 27.0),
        style=style,
        side=int(rng.choice([-1, 1])),
        curls=int(rng.integers(1 << 30)),
        brow_thick=u(1.1, 3.9),
        brow_tilt=u(-2.2, 2.4),
        brow_gap=u(7.2, 11.5),
        brow_length=u(7.5, 10.5),
        eye_width=u(5.6, 8.6),
        eye_height=u(2.1, 4.4),
        eye_tilt=u(-1.6, 1.4),
        eye_apart=u(-1.8, 1.8),
        lid=u(0.0, 1.0),
        nose_width=u(5.0, 10.5),
        nose_drop=u(0.5, 5.5),
        nose_bridge=u(0.2, 1.0),
        mouth_width=u(12.0, 18.0),
        lip_upper=u(1.0, 4.0),
        lip_lower=u(1.8, 5.2),
        beard=beard,
        blush=u(0.0, 0.5),
        lines=max(0.0, u(-0.8, 1.0)),
        freckles=int(rng.integers(14, 40)) if rng.random() < 0.12 and tone < 0.45 else 0,
        mole=(u(22, 74), u(62, 104), u(0.8, 1.5)) if rng.random() < 0.22 else (0.0, 0.0, 0.0),
        glasses=int(rng.choice([0, 1, 2], p=[0.86, 0.07, 0.07])),
        frame=_colour(np.array(HAIR[rng.integers(len(HAIR))]) * u(0.5, 1.0)),
        ears=u(0.0, 5.5),
    )


def draw_shot(rng: np.random.Generator) -> Shot:
    """The circumstances of one picture."""
    u = rng.uniform
    wall = rng.uniform(35, 225) + rng.normal(0, 22, 3)
    return Shot(
        seed=int(rng.integers(1 << 30)),
        smile=u(-0.35, 1.0),
        open=max(0.0, u(-1.0, 1.0)),
        lift=u(-1.2, 1.8),
        squint=u(0.72, 1.12),
        gaze=(u(-1.0, 1.0), u(-0.5, 0.5)),
        yaw=u(-1.0, 1.0),
        pitch=u(-1.0, 1.0),
        angle=rng.normal(0, 1.8),
        scale=u(0.97, 1.03),
        shift=(rng.normal(0, 0.7), rng.normal(0, 0.7)),
        light=(u(0, 2 * np.pi), u(0.0, 0.36)),
        exposure=u(0.72, 1.06),
        warmth=u(-0.07, 0.09),
        contrast=u(0.86, 1.14),
        noise=u(0.8, 5.0),
        blur=u(0.0, 0.75),
        wall=(_colour(wall), _colour(wall * u(0.55, 1.3) + rng.normal(0, 16, 3))),
        shirt=_colour(rng.uniform(20, 220) + rng.normal(0, 35, 3)),
    )
