"""Things that cover a face, drawn at random and put over an aligned face: for training and for occluded test sets.

Worn kinds (face mask, sunglasses, eyeglasses, scarf) are fitted to the five landmarks; objects (cup, book, hand,
phone, block) lie about a random point, as in FROM and in Liu et al. 2023. `random` is a random object at a random
point (Occ-LFW); `mix` is half that and half worn things where they belong (for training). Everything follows from
the generator passed in: seed it with `sample_seed(seed, relative image name)`.

FROM enlarges its templates by 1..5; here a `scale` of s means s tenths of the picture's area for an object, and
.7 + .1 s times its natural size for something worn.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.occluders.checks import check_image, check_landmarks, check_size
from edgeface_calibration.occluders.compositing import composite, draw_light
from edgeface_calibration.occluders.placing import (
    Placement,
    face_frame,
    held,
    matrix_for_share,
    size_for_area,
    worn,
)
from edgeface_calibration.occluders.registry import ANYWHERE, KINDS, MIXTURES, OBJECTS, TURN_DEG, WORN, kinds
from edgeface_calibration.occluders.seeds import sample_seed
from edgeface_calibration.occluders.sprite import Sprite
from edgeface_calibration.occluders.templates import load_template, template_kinds
from edgeface_runtime.align import TEMPLATE
from edgeface_runtime.errors import InputError

__all__ = ["KINDS", "MIXTURES", "OBJECTS", "WORN", "Occluded", "check_size", "kinds", "occlude", "sample_seed"]

_TEMPLATE_TURN_DEG = 40.0


@dataclass(frozen=True)
class Occluded:
    """A face with something over it."""

    image: NDArray[np.uint8]
    """(H, W, 3) uint8, a new picture."""
    mask: NDArray[np.bool_]
    """(H, W) True where at least half hidden; the object's shadow does not count."""
    kind: str
    """What was really drawn: never the name of a mixture."""

    @property
    def share(self) -> float:
        """Covered share of the picture's area, 0..1."""
        return float(self.mask.mean())


def occlude(
    image: NDArray[np.uint8],
    kind: str,
    rng: np.random.Generator,
    share: float | None = None,
    scale: float | None = None,
    landmarks: NDArray[np.floating] = TEMPLATE,
    templates: Path | None = None,
) -> Occluded:
    """Cover a face.

    Args:
        image: (H, W, 3) uint8 BGR, left as it is; for worn kinds an aligned 112x96 crop unless landmarks are given.
        kind: one of `kinds(templates)`.
        rng: all randomness; the same state gives the same picture.
        share: in (0, .9]: cover this share of the picture's area, within .01.
        scale: 1..5, see above. Neither share nor scale: a random scale for objects, natural size for worn things.
        landmarks: (5, 2) pixels (x, y) in `image`; only worn kinds use them.
        templates: a folder of RGBA PNG pictures to paste instead of drawing; they lie about a random point.

    Raises:
        InputError: wrong image, unknown kind (known ones are listed), share or scale outside its range or both given,
            landmarks not (5, 2) or outside the picture, or a share this kind cannot reach.
        ImageError: a template that cannot be read.
    """
    shape = check_image(image)
    check_size(share, scale)
    known = kinds(templates)
    if kind not in known:
        raise InputError(f"unknown occluder {kind!r}: choose one of {', '.join(known)}")
    if templates is None and kind not in OBJECTS and kind != "random":
        drawn, sprite, placement, natural = _worn_or_mix(shape, kind, rng, check_landmarks(landmarks, shape))
    else:
        drawn, sprite, placement, natural = _held(shape, kind, rng, templates)
    if share is not None:
        matrix = matrix_for_share(sprite, placement, shape, share, drawn)
    elif natural:
        matrix = placement.matrix(float(rng.uniform(0.96, 1.04)) if scale is None else 0.7 + 0.1 * scale)
    else:
        tenths = float(rng.uniform(1, 5)) if scale is None else scale
        matrix = placement.matrix(size_for_area(sprite, 0.1 * tenths * shape[0] * shape[1]))
    light = None if drawn == "block" and templates is None else draw_light(rng)
    covered, mask = composite(image, sprite, matrix, light)
    return Occluded(covered, mask, drawn)


_Choice = tuple[str, Sprite, Placement, bool]
"""Kind really drawn, its drawing, its place, and whether size 1 is its natural size."""


def _worn_or_mix(shape: tuple[int, int], kind: str, rng: np.random.Generator, points: NDArray[np.float64]) -> _Choice:
    if kind == "mix":
        if rng.uniform() < 0.5:
            return _held(shape, "random", rng, None)
        kind = tuple(WORN)[int(rng.integers(len(WORN)))]
    frame, in_frame = face_frame(points)
    sprite = WORN[kind](rng, in_frame)
    return kind, sprite, worn(rng, sprite, frame), True


def _held(shape: tuple[int, int], kind: str, rng: np.random.Generator, templates: Path | None) -> _Choice:
    if templates is not None:
        found = template_kinds(templates)
        name = kind if kind in found else tuple(found)[int(rng.integers(len(found)))]
        sprite = load_template(found[name].resolve())
        return name, sprite, held(rng, sprite, shape, _TEMPLATE_TURN_DEG), False
    if kind == "random":
        kind = ANYWHERE[int(rng.integers(len(ANYWHERE)))]
    sprite = OBJECTS[kind](rng) if kind in OBJECTS else WORN[kind](rng, TEMPLATE)
    return kind, sprite, held(rng, sprite, shape, TURN_DEG.get(kind, 0.0)), False
