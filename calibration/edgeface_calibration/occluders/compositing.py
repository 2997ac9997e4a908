"""Put a placed object over a picture: its light matched to the face, a soft shadow beside it, clean edges."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.occluders.placing import OPAQUE, warp
from edgeface_calibration.occluders.sprite import Sprite

__all__ = ["Light", "blend", "composite", "draw_light"]

Light = tuple[float, float, int, int]
"""Brightness of the object, depth of its shadow (0..1), and the shadow's shift (x, y) in pixels, -3..3."""

_SHADOW_PX = 9


def draw_light(rng: np.random.Generator) -> Light:
    """A random light: brighter or darker than the face, shadow weak to plain, falling to any side."""
    shift_x, shift_y = rng.integers(-3, 4, 2)
    return float(rng.uniform(0.85, 1.15)), float(rng.uniform(0.1, 0.45)), int(shift_x), int(shift_y)


def composite(
    image: NDArray[np.uint8], sprite: Sprite, matrix: NDArray[np.float64], light: Light | None
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Paste `sprite` at `matrix` (2, 3) on a copy of `image` (H, W, 3) uint8.

    Returns the new picture and the covered pixels (H, W) bool: those at least half hidden. The shadow darkens pixels
    beside the object (up to 7 px away) that do not count as covered. Without `light` the object is pasted as it is.
    """
    shape = (image.shape[0], image.shape[1])
    alpha = warp(sprite.alpha, matrix, shape, cv2.BORDER_CONSTANT)
    colour = warp(sprite.bgr, matrix, shape, cv2.BORDER_REPLICATE)
    under = image
    if light is not None:
        gain, depth, shift_x, shift_y = light
        brightness = np.clip(float(np.mean(cv2.mean(image)[:3])) / 115, 0.55, 1.2)
        colour = np.asarray(cv2.convertScaleAbs(colour, alpha=gain * float(brightness)), np.uint8)
        half = _SHADOW_PX // 2
        soft = cv2.blur(
            alpha, (_SHADOW_PX, _SHADOW_PX), anchor=(half + shift_x, half + shift_y), borderType=cv2.BORDER_REPLICATE
        )
        left = cv2.convertScaleAbs(cv2.bitwise_not(soft), alpha=depth, beta=255 * (1 - depth))
        under = np.asarray(cv2.multiply(image, cv2.merge((left, left, left)), scale=1 / 255), np.uint8)
    over = alpha.astype(np.float32)
    blended = np.asarray(cv2.blendLinear(colour, under, over, 255 - over), np.uint8)
    return blended, alpha >= OPAQUE


def blend(image: NDArray[np.uint8], covered: NDArray[np.uint8], alpha: float) -> NDArray[np.uint8]:
    """`alpha` of the covered picture over 1 - alpha of the clean one, both (H, W, 3) uint8; 1 gives it unchanged."""
    if alpha == 1:
        return covered
    return np.asarray(cv2.addWeighted(covered, alpha, image, 1 - alpha, 0), np.uint8)
