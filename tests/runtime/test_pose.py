"""Head poses of points that were turned and projected: with no distance, with a camera's, and on other faces."""

from __future__ import annotations

from math import cos, radians, sin

import numpy as np
import pytest

from edgeface_runtime.align import TEMPLATE
from edgeface_runtime.errors import FaceError, InputError
from edgeface_runtime.pose import SHAPE, head_pose

ANGLES = [(0, 0, 0), (30, 0, 0), (-45, 10, 5), (60, -20, 0), (20, 25, -30), (0, -30, 0), (-15, 15, 90)]


def turned(shape: np.ndarray, yaw: float, pitch: float, roll: float) -> np.ndarray:
    """Points (5, 3) of a head whose nose goes right by yaw, up by pitch, and that is then tilted clockwise by roll.

    Written by where things go: x right, y down, z away. A nose at z = -1 is to lie at x = sin(yaw).
    """
    y, p, r = radians(yaw), radians(pitch), radians(roll)
    nod = np.array([[1, 0, 0], [0, cos(p), sin(p)], [0, -sin(p), cos(p)]])
    shake = np.array([[cos(y), 0, -sin(y)], [0, 1, 0], [sin(y), 0, cos(y)]])
    tilt = np.array([[cos(r), -sin(r), 0], [sin(r), cos(r), 0], [0, 0, 1]])
    return np.asarray(shape @ (tilt @ shake @ nod).T)


def test_the_directions_are_what_they_are_called() -> None:
    nose = np.array([[0.0, 0.0, -1.0]])
    assert turned(nose, 30, 0, 0)[0, 0] > 0, "to the right"
    assert turned(nose, 0, 30, 0)[0, 1] < 0, "up"
    assert turned(SHAPE, 0, 0, 10)[1, 1] > turned(SHAPE, 0, 0, 10)[0, 1], "the eye on the right is lower"
    assert SHAPE[2, 2] < SHAPE[[0, 1, 3, 4], 2].min(), "the nose is nearest"


@pytest.mark.parametrize("angles", ANGLES)
def test_parallel_projection(angles: tuple[float, float, float]) -> None:
    points = 40 * turned(SHAPE, *angles)[:, :2] + (120, 90)
    pose = head_pose(points)
    assert (pose.yaw_deg, pose.pitch_deg, pose.roll_deg) == pytest.approx(angles, abs=0.1)


@pytest.mark.parametrize("angles", ANGLES)
def test_seen_by_a_camera_at_an_arms_length(angles: tuple[float, float, float]) -> None:
    """From ten distances between the eyes (63 cm) a nearer point looks larger: some degrees off."""
    solid = turned(SHAPE, *angles)
    points = 400 * solid[:, :2] / (10 + solid[:, 2:])
    pose = head_pose(points)
    assert (pose.yaw_deg, pose.pitch_deg, pose.roll_deg) == pytest.approx(angles, abs=5)


def test_other_peoples_faces_and_a_detectors_errors() -> None:
    """Faces whose points differ by 4 % of the eyes' distance, found with an error of 2 %: yaw to a few degrees."""
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(100):
        wanted = (rng.uniform(-40, 40), rng.uniform(-20, 20), rng.uniform(-20, 20))
        shape = SHAPE + rng.normal(0, 0.04, (5, 3))
        points = turned(shape, *wanted)[:, :2] + rng.normal(0, 0.02, (5, 2))
        pose = head_pose(100 * points)
        errors.append(np.subtract((pose.yaw_deg, pose.pitch_deg, pose.roll_deg), wanted))
    yaw, pitch, roll = np.median(np.abs(errors), axis=0)
    assert yaw < 4 and pitch < 6 and roll < 3


def test_the_template_looks_ahead() -> None:
    pose = head_pose(TEMPLATE)
    assert abs(pose.yaw_deg) < 3 and abs(pose.roll_deg) < 1 and abs(pose.pitch_deg) < 12
    mirrored = np.stack([96 - TEMPLATE[:, 0], TEMPLATE[:, 1]], 1)[[1, 0, 2, 4, 3]]
    assert head_pose(mirrored).yaw_deg == pytest.approx(-pose.yaw_deg, abs=0.01)


def test_bad_input() -> None:
    with pytest.raises(FaceError, match="coincide"):
        head_pose(np.ones((5, 2)))
    with pytest.raises(FaceError, match="not finite"):
        head_pose(np.full((5, 2), np.nan))
    with pytest.raises(InputError, match=r"must be \(5, 2\)"):
        head_pose(np.ones((4, 2)))
