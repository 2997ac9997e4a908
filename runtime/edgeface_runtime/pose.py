"""Which way a face looks, from its five landmarks.

A rigid mean shape of the five points is turned, scaled and moved until its parallel projection lies closest to the
landmarks (scaled orthography, least squares). The shape was learned from the landmarks of 13,232 faces of LFW,
without any depth: shape and poses were fitted in turn, the shape held symmetric (structure from motion, Tomasi &
Kanade 1992). At a pitch of 0 eyes and mouth are equally far away. What differs between people, above all how high the
nose sits, comes out as pitch: yaw is good to a few degrees, pitch only roughly.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeface_runtime.errors import FaceError, InputError

__all__ = ["SHAPE", "Pose", "head_pose"]

SHAPE: NDArray[np.float64] = np.array(
    [
        (-0.500, -0.545, 0.090),
        (0.500, -0.545, 0.090),
        (0.000, -0.017, -0.362),
        (-0.438, 0.553, 0.090),
        (0.438, 0.553, 0.090),
    ]
)
"""(5, 3) float64, in distances between the eyes: x to the picture's right, y down, z away from the viewer."""
SHAPE -= SHAPE.mean(0)
SHAPE.flags.writeable = False

STEPS = 25
INVERSE = np.linalg.pinv(SHAPE).T
SPREAD = float(np.linalg.eigvalsh(SHAPE.T @ SHAPE)[-1])


@dataclass(frozen=True)
class Pose:
    """Angles of a head, degrees."""

    yaw_deg: float
    """Turned to the side: positive where the nose points to the picture's right."""
    pitch_deg: float
    """Positive where the face looks up."""
    roll_deg: float
    """Tilted: positive where the eye on the picture's right lies lower."""


def head_pose(landmarks: ArrayLike) -> Pose:
    """The pose that explains five landmarks best.

    Args:
        landmarks: (5, 2), pixels (x, y): left eye, right eye, nose, left and right mouth corner as seen.

    Raises:
        InputError: they are not (5, 2).
        FaceError: they coincide or are not finite.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (5, 2):
        raise InputError(f"landmarks must be (5, 2), got {points.shape}")
    if not np.isfinite(points).all() or float(np.ptp(points, axis=0).max()) < 1e-6:
        raise FaceError("landmarks coincide or are not finite: the face has no pose")
    points = points - points.mean(0)
    points /= np.sqrt((points**2).sum())
    linear = points.T @ INVERSE
    for _ in range(STEPS):
        rows = _nearest_rotation(linear)
        shown = SHAPE @ rows.T
        scale = float((shown * points).sum() / (shown**2).sum())
        # One step downhill in the points' error, short enough never to rise (majorisation).
        linear = scale * rows + (points - scale * shown).T @ SHAPE / SPREAD
    turn = np.vstack([rows, np.cross(rows[0], rows[1])])
    yaw = np.arcsin(np.clip(turn[2, 0], -1, 1))
    pitch = -np.arctan2(turn[2, 1], turn[2, 2])
    roll = np.arctan2(turn[1, 0], turn[0, 0])
    return Pose(*(float(np.degrees(angle)) for angle in (yaw, pitch, roll)))


def _nearest_rotation(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """The two rows of a rotation nearest to `linear` (2, 3): (A A')^-1/2 A, the root of two by two in closed form."""
    (a, b), (_, d) = (linear @ linear.T).tolist()
    trace = a + d
    area = max(a * d - b * b, 1e-12 * trace * trace) ** 0.5  # points on one line give none
    # With s = sqrt(det) and t = sqrt(trace + 2 s) the root is (M + s I) / t, and its determinant is s.
    width = (trace + 2 * area) ** 0.5
    inverse = np.array([[d + area, -b], [-b, a + area]]) / (width * area)
    return np.asarray(inverse @ linear, np.float64)
