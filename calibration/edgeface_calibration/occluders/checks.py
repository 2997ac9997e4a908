"""What `occlude` accepts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeface_runtime.align import CROP_SIZE, TEMPLATE
from edgeface_runtime.errors import InputError

__all__ = ["check_alpha", "check_image", "check_landmarks", "check_size"]

LARGEST_SHARE = 0.9
SCALES = (1.0, 5.0)
FAINTEST_ALPHA = 0.1


def check_image(image: NDArray[np.uint8]) -> tuple[int, int]:
    """The picture's (H, W).

    Raises:
        InputError: not (H, W, 3) uint8, or smaller than 8 pixels.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        got = f"{image.shape} {image.dtype}" if isinstance(image, np.ndarray) else type(image).__name__
        raise InputError(f"a face must be (height, width, 3) uint8, got {got}")
    if min(image.shape[:2]) < 8:
        raise InputError(f"a face must be at least 8 pixels high and wide, got {image.shape[1]}x{image.shape[0]}")
    return image.shape[0], image.shape[1]


def check_size(share: float | None, scale: float | None) -> None:
    """Raises InputError: both given, share outside (0, .9], or scale outside 1..5."""
    if share is not None and scale is not None:
        raise InputError("share and scale exclude each other: give one")
    if share is not None and not 0 < share <= LARGEST_SHARE:
        raise InputError(f"share must be above 0 and at most {LARGEST_SHARE:g}, got {share:g}")
    if scale is not None and not SCALES[0] <= scale <= SCALES[1]:
        raise InputError(f"scale must be between {SCALES[0]:g} and {SCALES[1]:g}, got {scale:g}")


def check_alpha(alpha: float) -> None:
    """Raises InputError: outside .1..1."""
    if not FAINTEST_ALPHA <= alpha <= 1:
        raise InputError(f"alpha must be between {FAINTEST_ALPHA:g} and 1 (opaque), got {alpha:g}")


def check_landmarks(landmarks: NDArray[np.floating], shape: tuple[int, int]) -> NDArray[np.float64]:
    """The landmarks as float64 (5, 2).

    Raises:
        InputError: not (5, 2), not finite, outside the picture, or the template's for a picture other than a
            112x96 crop.
    """
    height, width = shape
    if landmarks is TEMPLATE and shape != CROP_SIZE:
        raise InputError(f"a {width}x{height} picture is no aligned 96x112 crop: give the face's own landmarks")
    points = np.asarray(landmarks, np.float64)
    if points.shape != (5, 2) or not np.isfinite(points).all():
        raise InputError(f"landmarks must be five finite points (x, y), got shape {points.shape}")
    if (points < 0).any() or (points >= (width, height)).any():
        raise InputError(f"landmarks lie outside the {width}x{height} picture: give them in its own pixels")
    return points
