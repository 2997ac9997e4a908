"""A plain rectangle: the occluder of the grid and region experiments. Worth testing with, too simple to train on."""

from __future__ import annotations

import numpy as np

from edgeface_calibration.occluders.sprite import Sprite, canvas, fill, vivid

__all__ = ["draw_block"]


def draw_block(rng: np.random.Generator) -> Sprite:
    """A rectangle of one colour, between half and twice as high as wide."""
    ratio = float(np.exp(rng.uniform(-0.7, 0.7)))
    height, width = round(64 * np.sqrt(ratio)), round(64 / np.sqrt(ratio))
    bgr, alpha = canvas(height + 8, width + 8, vivid(rng, 0.7, 0.5))
    fill(alpha, [(4, 4), (3 + width, 4), (3 + width, 3 + height), (4, 3 + height)], 255)
    return Sprite(bgr, alpha, (3.5 + width / 2, 3.5 + height / 2))
