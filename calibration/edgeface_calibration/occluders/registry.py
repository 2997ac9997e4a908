"""Which occluders there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.occluders.bands import BANDS
from edgeface_calibration.occluders.block import draw_block
from edgeface_calibration.occluders.book import draw_book
from edgeface_calibration.occluders.cup import draw_cup
from edgeface_calibration.occluders.face_mask import draw_face_mask
from edgeface_calibration.occluders.glasses import draw_eyeglasses, draw_sunglasses
from edgeface_calibration.occluders.hand import draw_hand
from edgeface_calibration.occluders.makes import draw_cloth, draw_n95, draw_surgical
from edgeface_calibration.occluders.mask_templates import mask_templates
from edgeface_calibration.occluders.phone import draw_phone
from edgeface_calibration.occluders.scarf import draw_scarf
from edgeface_calibration.occluders.sleep_mask import draw_sleep_mask
from edgeface_calibration.occluders.sprite import Sprite
from edgeface_calibration.occluders.templates import template_kinds

__all__ = ["ANYWHERE", "KINDS", "MIXTURES", "MIX_WORN", "OBJECTS", "TURN_DEG", "WORN", "kinds", "needs_landmarks"]

WORN: dict[str, Callable[[np.random.Generator, NDArray[np.float64]], Sprite]] = {
    "cloth": draw_cloth,
    "eye-mask": draw_sleep_mask,
    "eyeglasses": draw_eyeglasses,
    "mask": draw_face_mask,
    "n95": draw_n95,
    "scarf": draw_scarf,
    "sunglasses": draw_sunglasses,
    "surgical": draw_surgical,
}
"""Kinds fitted to landmarks: name -> draw(rng, landmarks in the template's frame)."""

OBJECTS: dict[str, Callable[[np.random.Generator], Sprite]] = {
    "block": draw_block,
    "book": draw_book,
    "cup": draw_cup,
    "hand": draw_hand,
    "phone": draw_phone,
}
"""Kinds that lie about a random point: name -> draw(rng)."""

MIXTURES: dict[str, str] = {
    "mix": "half of the pictures `random`, half something worn where it belongs",
    "nine": "one of FROM's nine kinds about a random point, its size drawn from 1..5",
    "random": "book, cup, hand, phone, scarf or sunglasses about a random point",
}
"""Kinds that choose another kind for every picture."""

KINDS: tuple[str, ...] = tuple(sorted((*WORN, *OBJECTS, *BANDS, *MIXTURES)))
"""All names known without templates."""

ANYWHERE = {
    "nine": ("book", "cup", "eye-mask", "eyeglasses", "hand", "mask", "phone", "scarf", "sunglasses"),
    "random": ("book", "cup", "hand", "phone", "scarf", "sunglasses"),
}
"""What the mixtures that lie about a random point choose from, evenly."""

MIX_WORN = ("eyeglasses", "mask", "scarf", "sunglasses")
"""What the worn half of `mix` chooses from. Not all of WORN: a seed draws what it always drew."""

TURN_DEG = {
    "book": 30.0,
    "cup": 25.0,
    "eye-mask": 35.0,
    "eyeglasses": 35.0,
    "hand": 75.0,
    "mask": 35.0,
    "phone": 50.0,
    "scarf": 35.0,
    "sunglasses": 35.0,
}
"""How far a thing may be turned to either side when it lies about a random point; others stay upright."""


def kinds(templates: Path | None = None) -> tuple[str, ...]:
    """The names `occlude` knows: the drawn kinds, or those of a folder of templates and `random`.

    Raises:
        InputError: no such folder, no PNG in it, or its `masks.cfg` is wrong.
    """
    if templates is None:
        return KINDS
    return tuple(sorted({*(mask_templates(templates) or template_kinds(templates)), "random"}))


def needs_landmarks(kind: str, templates: Path | None = None) -> bool:
    """Whether this kind looks at the landmarks: what is worn and bands do, and `mix` for its worn half.

    Raises:
        InputError: see `kinds`.
    """
    if templates is not None:
        return mask_templates(templates) is not None
    return kind in WORN or kind in BANDS or kind == "mix"
