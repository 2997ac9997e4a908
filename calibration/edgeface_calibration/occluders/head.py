"""A plain solid head behind the five landmarks: where cheeks, jaw and chin lie on a face that is turned.

Five points carry a pose: with the eyes' and mouth's plane known, the nose tip shows which way the head looks. The
head is in pixels of the alignment template (about 1.8 mm each), looking straight ahead it projects onto the template
exactly. Depths are round anthropometric numbers; the camera is far away (scaled orthographic).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeface_runtime.align import TEMPLATE
from edgeface_runtime.errors import FaceError

__all__ = ["MIDDLE", "Pose", "Row", "head_pose"]

Points = NDArray[np.float64]

MIDDLE = 48.0
"""x of the head's plane of symmetry, in the template's frame."""

_DEPTH = np.array((0.0, 0.0, 16.0, 3.0, 3.0))
"""How far eyes, nose tip and mouth corners stand out (z, towards the viewer)."""
_NOD = 0.5
"""Share of the measured nod that is believed: noses differ in length more than faces in frontal pictures nod."""


@dataclass(frozen=True)
class Row:
    """The head at one height: half an ellipse round the front, template pixels."""

    y: float
    half_width: float
    front: float
    """z of its foremost point."""
    depth: float
    """How far behind that its sides lie."""


@dataclass(frozen=True)
class Pose:
    """The way from the head (x, y, z) to the frame its landmarks were given in."""

    linear: NDArray[np.float64]
    """(2, 3): two rows of a rotation, scaled."""
    shift: NDArray[np.float64]
    """(2,)"""

    def project(self, points: Points) -> Points:
        """Head points (n, 3) to (n, 2); y runs down, z towards the viewer."""
        seen: Points = np.asarray(points, np.float64) @ self.linear.T + self.shift
        return seen

    def side(self, row: Row, reach_deg: float, right: bool) -> Points:
        """Where something worn ends (2,) that goes round the head at one height by `reach_deg` from the middle.

        On the far side of a turned head that is where the head itself ends.
        """
        round_deg = np.radians(np.linspace(0.6, 1.0, 9) * reach_deg)
        x = row.half_width * np.sin(round_deg) * (1 if right else -1)
        z = row.front - row.depth * (1 - np.cos(round_deg))
        seen = self.project(np.column_stack((MIDDLE + x, np.full_like(x, row.y), z)))
        end: Points = seen[np.argmax(seen[:, 0] if right else -seen[:, 0])]
        return end

    @property
    def turn_deg(self) -> float:
        """How far the head is turned, degrees; positive looks to the picture's right."""
        size = float(np.linalg.norm(self.linear[0]))
        return float(np.degrees(np.arcsin(np.clip(self.linear[0, 2] / size, -1, 1))))


def head_pose(points: Points, exact: Sequence[int] = (0, 1, 2, 3, 4)) -> Pose:
    """The pose of a head whose landmarks are `points` (5, 2), any frame; the mean of the `exact` ones is kept.

    Raises:
        FaceError: the points coincide or lie on a line.
    """
    solid = np.column_stack((TEMPLATE, _DEPTH))
    affine = np.linalg.lstsq(solid - solid.mean(0), points - points.mean(0), rcond=None)[0].T
    left, sizes, right = np.linalg.svd(affine, full_matrices=False)
    if sizes[1] < 0.02 * sizes[0] or sizes[0] < 1e-3:
        raise FaceError("the landmarks coincide or lie on a line: give the five points of a face")
    linear = float(sizes.mean()) * (left @ right)
    linear[1, 2] *= _NOD
    chosen = list(exact)
    return Pose(linear, points[chosen].mean(0) - linear @ solid[chosen].mean(0))
