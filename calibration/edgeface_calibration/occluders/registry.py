"""Which occluders there are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.occluders.block import draw_block
from edgeface_calibration.occluders.book import draw_book
from edgeface_calibration.occluders.cup import draw_cup
from edgeface_calibration.occluders.face_mask import draw_face_mask
from edgeface_calibration.occluders.glasses import draw_eyeglasses, draw_sunglasses
from edgeface_calibration.occluders.hand import draw_hand
from edgeface_calibration.occluders.phone import draw_phone
from edgeface_calibration.occluders.scarf import draw_scarf
from edgeface_calibration.occluders.sprite import Sprite
from edgeface_calibration.occluders.templates import template_kinds

__all__ = ["ANYWHERE", "KINDS", "MIXTURES", "OBJECTS", "TURN_DEG", "WORN", "kinds"]

WORN: dict[str, Callable[[np.random.Generator, NDArray[np.float64]], Sprite]] = {
    "eyeglasses": draw_eyeglasses,
    "mask": draw_face_mask,
    "scarf": draw_scarf,
    "sunglasses": draw_sunglasses,
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
    "random": "book, cup, hand, phone, scarf or sunglasses about a random point",
}
"""Kinds that choose another kind for every picture."""

KINDS: tuple[str, ...] = tuple(sorted((*WORN, *OBJECTS, *MIXTURES)))
"""All names known without templates."""

ANYWHERE = ("book", "cup", "hand", "phone", "scarf", "sunglasses")
"""What `random` chooses from."""

TURN_DEG = {"book": 30.0, "cup": 25.0, "hand": 75.0, "phone": 50.0, "scarf": 35.0, "sunglasses": 35.0}
"""How far a thing may be turned to either side when it lies about a random point; others stay upright."""


def kinds(templates: Path | None = None) -> tuple[str, ...]:
    """The names `occlude` knows: the drawn kinds, or those of a folder of templates and `random`.

    Raises:
        InputError: no such folder, or no PNG in it.
    """
    return KINDS if templates is None else tuple(sorted({*template_kinds(templates), "random"}))
