"""Things that cover a face, drawn at random and put over it: for training and for occluded test sets.

Worn kinds (`mask` and its makes `surgical`, `cloth`, `n95`; `sunglasses`, `eyeglasses`, `eye-mask`, `scarf`) are
fitted to the five landmarks, bands (`forehead`, `eyes`, `nose`, `mouth`, `chin`, `lower`) lie on them, objects
(`cup`, `book`, `hand`, `phone`, `block`) lie about a random point of the picture. Mixtures: `random` is a random
object at a random point (Occ-LFW); `nine` is one of FROM's nine kinds at a random point and scale (its "mouth mask"
is `mask`); `mix` is half `random` and half worn things where they belong (for training). Everything follows from the
generator passed in: seed it with `sample_seed(seed, relative image name)`.

FROM enlarges its templates by 1..5; here a `scale` of s means s tenths of the picture's area for an object, and
.7 + .1 s times its natural size for something worn or a band's height.

Covered (the mask) are the pixels at least half hidden by the thing itself at full opacity: tinted eyeglasses count.
Outside the mask a picture changes by a soft edge (2 pixels on a crop, a few more where a drawing is enlarged) and a
shadow (7 pixels beyond it); `block` has no shadow, bands have neither. `alpha` below 1 lets the face shine through
and leaves the mask as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.occluders.bands import BANDS, band_rows, draw_band
from edgeface_calibration.occluders.checks import check_alpha, check_image, check_landmarks, check_size
from edgeface_calibration.occluders.compositing import blend, composite, draw_light
from edgeface_calibration.occluders.mask_templates import mask_templates, wear_template
from edgeface_calibration.occluders.placing import (
    Placement,
    face_frame,
    held,
    matrix_for_share,
    size_for_area,
    worn,
)
from edgeface_calibration.occluders.registry import (
    ANYWHERE,
    KINDS,
    MIX_WORN,
    MIXTURES,
    OBJECTS,
    TURN_DEG,
    WORN,
    kinds,
    needs_landmarks,
)
from edgeface_calibration.occluders.seeds import sample_seed
from edgeface_calibration.occluders.sprite import Sprite
from edgeface_calibration.occluders.templates import load_template, template_kinds
from edgeface_runtime.align import TEMPLATE
from edgeface_runtime.errors import InputError

__all__ = [
    "BANDS",
    "KINDS",
    "MIXTURES",
    "OBJECTS",
    "WORN",
    "Occluded",
    "check_alpha",
    "check_size",
    "kinds",
    "needs_landmarks",
    "occlude",
    "sample_seed",
]

_TEMPLATE_TURN_DEG = 40.0
_WHOLE = 0.95
"""Covered share from which a thing that was not asked to cover so much is larger than the face."""


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
    alpha: float = 1.0,
) -> Occluded:
    """Cover a face.

    Args:
        image: (H, W, 3) uint8 BGR, left as it is; an aligned 112x96 crop unless landmarks are given.
        kind: one of `kinds(templates)`.
        rng: all randomness; the same state gives the same picture.
        share: in (0, .9]: cover this share of the picture's area, within .01.
        scale: 1..5, see above. Neither share nor scale: a random scale for objects, natural size for worn things.
        landmarks: (5, 2) pixels (x, y) in `image`; kinds that lie anywhere do not look at them.
        templates: a folder of pictures to paste instead of drawing: RGBA PNG objects, which lie about a random
            point, or masks in MaskTheFace's layout (with a `masks.cfg`), which are fitted to the landmarks.
        alpha: opacity, .1..1; 1 is opaque. The mask does not depend on it.

    Raises:
        InputError: wrong image, unknown kind (known ones are listed), share, scale or alpha outside its range, share
            and scale together, landmarks not (5, 2) or outside the picture, a share this kind cannot reach, or a
            thing that would hide the whole picture or nothing of it.
        ImageError: a template that cannot be read.
    """
    shape = check_image(image)
    check_size(share, scale)
    check_alpha(alpha)
    known = kinds(templates)
    if kind not in known:
        raise InputError(f"unknown occluder {kind!r}: choose one of {', '.join(known)}")
    points = check_landmarks(landmarks, shape) if needs_landmarks(kind, templates) else TEMPLATE
    if templates is None and kind in BANDS:
        drawn, (covered, mask) = kind, draw_band(image, band_rows(kind, points, shape, share, scale))
    else:
        drawn, covered, mask = _drawn(image, kind, rng, points, templates, share, scale)
    if not mask.any():
        raise InputError(f"{drawn} would cover no pixel of this picture: its landmarks are too close together")
    if share is None and mask.mean() > _WHOLE:
        raise InputError(f"{drawn} would cover {100 * mask.mean():.0f} % of this picture: it is larger than the face")
    return Occluded(blend(image, covered, alpha), mask, drawn)


def _drawn(
    image: NDArray[np.uint8],
    kind: str,
    rng: np.random.Generator,
    points: NDArray[np.float64],
    templates: Path | None,
    share: float | None,
    scale: float | None,
) -> tuple[str, NDArray[np.uint8], NDArray[np.bool_]]:
    """What was drawn, the picture with it, and the covered pixels."""
    shape = (image.shape[0], image.shape[1])
    drawn, sprite, placement, natural = _chosen(shape, kind, rng, points, templates)
    if share is not None:
        matrix = matrix_for_share(sprite, placement, shape, share, drawn)
    elif natural:
        matrix = placement.matrix(float(rng.uniform(0.96, 1.04)) if scale is None else 0.7 + 0.1 * scale)
    else:
        tenths = float(rng.uniform(1, 5)) if scale is None else scale
        matrix = placement.matrix(size_for_area(sprite, 0.1 * tenths * shape[0] * shape[1]))
    light = None if drawn == "block" and templates is None else draw_light(rng)
    return drawn, *composite(image, sprite, matrix, light)


_Choice = tuple[str, Sprite, Placement, bool]
"""Kind really drawn, its drawing, its place, and whether size 1 is its natural size."""


def _chosen(
    shape: tuple[int, int],
    kind: str,
    rng: np.random.Generator,
    points: NDArray[np.float64],
    templates: Path | None,
) -> _Choice:
    if templates is not None:
        masks = mask_templates(templates)
        found = masks or template_kinds(templates)
        name = kind if kind in found else tuple(found)[int(rng.integers(len(found)))]
        if masks is None:
            sprite = load_template(template_kinds(templates)[name].resolve())
            return name, sprite, held(rng, sprite, shape, _TEMPLATE_TURN_DEG), False
        frame, in_frame = face_frame(points)
        sprite = wear_template(rng, masks[name], in_frame)
        return name, sprite, worn(rng, sprite, frame), True
    if kind == "mix":
        kind = "random" if rng.uniform() < 0.5 else MIX_WORN[int(rng.integers(len(MIX_WORN)))]
    if kind in WORN:
        frame, in_frame = face_frame(points)
        sprite = WORN[kind](rng, in_frame)
        return kind, sprite, worn(rng, sprite, frame), True
    if kind in ANYWHERE:
        kind = ANYWHERE[kind][int(rng.integers(len(ANYWHERE[kind])))]
    sprite = OBJECTS[kind](rng) if kind in OBJECTS else WORN[kind](rng, TEMPLATE)
    return kind, sprite, held(rng, sprite, shape, TURN_DEG.get(kind, 0.0)), False
