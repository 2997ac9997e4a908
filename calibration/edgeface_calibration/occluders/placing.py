"""Where an object goes and how large it is: by a size step, or so that it covers an exact share of the crop."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.occluders.sprite import Sprite
from edgeface_runtime.align import TEMPLATE, similarity
from edgeface_runtime.errors import InputError

__all__ = [
    "OPAQUE",
    "SHARE_TOLERANCE",
    "Placement",
    "face_frame",
    "held",
    "matrix_for_share",
    "size_for_area",
    "warp",
    "worn",
]

OPAQUE = 128
"""Opacity (of 255) from which a pixel counts as covered."""
SHARE_TOLERANCE = 0.01
"""How far the covered share may be from the one asked for."""

_GROWTH, _LARGEST = 1.2, 64.0
_STEPS = 24
_WOBBLE_DEG = 3.0


@dataclass(frozen=True)
class Placement:
    """An object's way onto a picture: canvas point p goes to `size * linear @ (p - anchor) + centre`."""

    linear: NDArray[np.float64]
    """(2, 2) rotation, or rotation and size for worn things."""
    anchor: tuple[float, float]
    centre: tuple[float, float]

    def matrix(self, size: float) -> NDArray[np.float64]:
        """The affine map (2, 3) from canvas to picture at a size."""
        linear = size * self.linear
        shift = np.asarray(self.centre) - linear @ np.asarray(self.anchor)
        return np.concatenate((linear, shift[:, None]), 1)


def held(rng: np.random.Generator, sprite: Sprite, shape: tuple[int, int], turn_deg: float) -> Placement:
    """About a random point of a picture of `shape` (h, w), turned at random by up to `turn_deg` to either side."""
    x, y = rng.uniform(0.08, 0.92, 2)
    return Placement(
        _rotation(rng.uniform(-turn_deg, turn_deg)), sprite.inside or sprite.anchor, (x * shape[1], y * shape[0])
    )


def worn(rng: np.random.Generator, sprite: Sprite, frame: NDArray[np.float64]) -> Placement:
    """Where it belongs on the face `frame` (2, 3) leads to, give or take 3 degrees and a pixel of a 96x112 crop."""
    anchor = np.asarray(sprite.anchor) / sprite.density + sprite.offset + rng.uniform(-1, 1, 2)
    centre = frame[:, :2] @ anchor + frame[:, 2]
    linear = frame[:, :2] @ _rotation(rng.uniform(-_WOBBLE_DEG, _WOBBLE_DEG)) / sprite.density
    return Placement(linear, sprite.anchor, (float(centre[0]), float(centre[1])))


def face_frame(points: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The map (2, 3) from the alignment template's frame to the picture, and the landmarks `points` in that frame.

    Raises:
        FaceError: the points coincide.
    """
    if points is TEMPLATE:
        return np.eye(2, 3), points
    to_template = similarity(points)
    in_frame = points @ to_template[:, :2].T + to_template[:, 2]
    linear = np.linalg.inv(to_template[:, :2])
    return np.column_stack((linear, -linear @ to_template[:, 2])), in_frame


def _rotation(degrees: float) -> NDArray[np.float64]:
    turn = np.deg2rad(degrees)
    return np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])


def warp(
    plane: NDArray[np.uint8], matrix: NDArray[np.float64], shape: tuple[int, int], edge: int
) -> NDArray[np.uint8]:
    """Resample a canvas into a picture of `shape` (h, w); strongly reduced canvases are averaged first.

    `edge` is OpenCV's border mode: constant (0) for opacity, replicate for colour.
    """
    shrink = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    while shrink < 0.45 and min(plane.shape[:2]) >= 8:
        height, width = plane.shape[:2]
        half = (width // 2, height // 2)
        step = np.array([width / half[0], height / half[1]])
        plane = np.asarray(cv2.resize(plane, half, interpolation=cv2.INTER_AREA), np.uint8)
        linear = matrix[:, :2] * step
        shift = matrix[:, 2] + matrix[:, :2] @ (step / 2 - 0.5)
        matrix = np.concatenate((linear, shift[:, None]), 1)
        shrink *= 2
    height, width = shape
    return np.asarray(
        cv2.warpAffine(plane, matrix, (width, height), flags=cv2.INTER_LINEAR, borderMode=edge), np.uint8
    )


def size_for_area(sprite: Sprite, area_px: float) -> float:
    """The size at which the whole object (also what falls outside the picture) has an area in pixels."""
    own = int(np.count_nonzero(sprite.alpha >= OPAQUE))
    return float(np.sqrt(area_px / max(own, 1)))


def matrix_for_share(
    sprite: Sprite, placement: Placement, shape: tuple[int, int], share: float, kind: str
) -> NDArray[np.float64]:
    """The affine map (2, 3) at which the object covers `share` of a picture of `shape` (h, w), by bisection.

    An object is scaled about its anchor; one with a gap there (glasses), too open to cover that much, about `inside`.

    Raises:
        InputError: this object cannot cover that much from where it lies.
    """
    for candidate in (placement, _about_inside(sprite, placement)):
        matrix = _bisect(sprite, candidate, shape, share * shape[0] * shape[1])
        if matrix is not None:
            return matrix
    raise InputError(
        f"{kind} cannot cover {share:g} of this picture to within {SHARE_TOLERANCE:g}: use another share"
    )


def _about_inside(sprite: Sprite, placement: Placement) -> Placement:
    if sprite.inside is None:
        return placement
    place = placement.matrix(1.0)
    centre = place[:, :2] @ np.asarray(sprite.inside) + place[:, 2]
    return Placement(placement.linear, sprite.inside, (float(centre[0]), float(centre[1])))


def _bisect(
    sprite: Sprite, placement: Placement, shape: tuple[int, int], wanted: float
) -> NDArray[np.float64] | None:
    """The map at which `wanted` pixels are covered, or None where no size gives that many."""

    def covered(size: float) -> int:
        alpha = warp(sprite.alpha, placement.matrix(size), shape, cv2.BORDER_CONSTANT)
        return int(np.count_nonzero(alpha >= OPAQUE))

    tolerance = SHARE_TOLERANCE * shape[0] * shape[1]
    low, high = 0.0, size_for_area(sprite, wanted) / float(np.sqrt(abs(np.linalg.det(placement.linear))))
    count = covered(high)
    while count < wanted:
        if high > _LARGEST:
            return None
        low, high = high, _GROWTH * high
        count = covered(high)
    best, error = high, abs(count - wanted)
    for _ in range(_STEPS):
        if error <= 0.2 * tolerance:
            break
        middle = 0.5 * (low + high)
        count = covered(middle)
        if abs(count - wanted) < error:
            best, error = middle, abs(count - wanted)
        low, high = (middle, high) if count < wanted else (low, middle)
    return placement.matrix(best) if error <= tolerance else None
