"""Alignment: a similarity transform from five landmarks to fixed places in a crop, by default 96 wide, 112 high.

The transform is the least-squares one of Umeyama (1991, eqs. 40-42): rotation, one scale, translation, no mirroring.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeface_runtime.errors import FaceError, ImageError, InputError

__all__ = [
    "ARCFACE_SIZE",
    "CROP_SIZE",
    "TEMPLATE",
    "align",
    "arcface_template",
    "in_crop",
    "similarity",
    "template_for",
]

CROP_SIZE = (112, 96)
"""Height and width of an aligned crop, pixels."""

TEMPLATE: NDArray[np.float64] = np.array(
    [
        (30.2946, 51.6963),
        (65.5318, 51.5014),
        (48.0252, 71.7366),
        (33.5493, 92.3655),
        (62.7299, 92.2041),
    ]
)
"""(5, 2) float64, pixels (x, y) in a 112x96 crop: left eye, right eye, nose, left and right mouth corner."""
TEMPLATE.flags.writeable = False

ARCFACE_SIZE = (112, 112)
"""Height and width of the crop that ArcFace and its kin are trained on: ours with 8 more columns on either side."""
ARCFACE: NDArray[np.float64] = np.add(TEMPLATE, ((ARCFACE_SIZE[1] - CROP_SIZE[1]) / 2, 0))
ARCFACE.flags.writeable = False


def arcface_template(side: int) -> NDArray[np.float64]:
    """(5, 2) float64: the template of ArcFace for a square crop of `side` pixels, scaled from 112."""
    return ARCFACE if side == ARCFACE_SIZE[0] else ARCFACE * (side / ARCFACE_SIZE[0])


def template_for(size: tuple[int, int]) -> NDArray[np.float64]:
    """(5, 2) float64: where the points lie in aligned crops of `size` (height, width) if nothing else is said.

    112x96 is `TEMPLATE`, 112x112 is ArcFace's; any other size is `TEMPLATE` stretched to it.
    """
    if size == ARCFACE_SIZE:
        return ARCFACE
    return TEMPLATE if size == CROP_SIZE else TEMPLATE * (size[1] / CROP_SIZE[1], size[0] / CROP_SIZE[0])


def similarity(points: ArrayLike, template: ArrayLike = TEMPLATE) -> NDArray[np.float64]:
    """The similarity transform that brings `points` closest to `template` in the least-squares sense.

    Args:
        points: (N, 2), pixels (x, y), N >= 2.
        template: (N, 2), where they should come to lie.

    Returns:
        (2, 3) float64 matrix M with `template ~ M[:, :2] @ point + M[:, 2]`, as `cv2.warpAffine` takes it.

    Raises:
        InputError: the two are not of one (N, 2) shape.
        FaceError: the points coincide or are not finite, so that no transform exists.
    """
    source = np.asarray(points, dtype=np.float64)
    target = np.asarray(template, dtype=np.float64)
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 2 or len(source) < 2:
        raise InputError(f"landmarks must have the template's shape {target.shape}, got {source.shape}")
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    if not np.isfinite(source).all() or float(np.ptp(source, axis=0).max()) < 1e-6:
        raise FaceError("landmarks coincide or are not finite: the face cannot be aligned")
    source_rest, target_rest = source - source_mean, target - target_mean
    variance = float((source_rest**2).sum()) / len(source)
    u, singular, vt = np.linalg.svd(target_rest.T @ source_rest / len(source))
    # A mirrored face would fit a reflection best; the sign keeps the transform a rotation.
    sign = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt)) or 1.0])
    linear = (singular * sign).sum() / variance * (u * sign) @ vt
    return np.column_stack([linear, target_mean - linear @ source_mean])


def align(
    image: NDArray[np.uint8],
    landmarks: ArrayLike,
    size: tuple[int, int] = CROP_SIZE,
    template: ArrayLike | None = None,
) -> NDArray[np.uint8]:
    """Cut the aligned face out of a picture; what lies outside the picture is black.

    Args:
        image: (H, W, 3) uint8 BGR.
        landmarks: (5, 2), pixels (x, y), in the order of `TEMPLATE`.
        size: (height, width) of the crop.
        template: (5, 2), pixels of the crop, where the points come to lie; None: as `template_for` says.

    Returns:
        (height, width, 3) uint8 BGR, sampled linearly.

    Raises:
        ImageError: the picture is not (H, W, 3) uint8.
        InputError: the landmarks are not (5, 2).
        FaceError: the landmarks coincide or are not finite.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ImageError(f"a picture must be (height, width, 3) uint8 BGR, got {image.shape} {image.dtype}")
    height, width = size
    matrix = similarity(landmarks, template_for(size) if template is None else template)
    crop = cv2.warpAffine(image, matrix, (width, height), flags=cv2.INTER_LINEAR)
    return np.asarray(crop, dtype=np.uint8)


def in_crop(landmarks: ArrayLike, template: ArrayLike = TEMPLATE) -> NDArray[np.float64]:
    """Landmarks (5, 2) of a picture as pixels of the crop that `align` cuts by them onto `template`."""
    matrix = similarity(landmarks, template)
    points: NDArray[np.float64] = np.asarray(landmarks, np.float64) @ matrix[:, :2].T + matrix[:, 2]
    return points
