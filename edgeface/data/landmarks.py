"""Where the eyes, nose and mouth of every training face are: from the folder's `landmarks.json`, else the template's.

Aligned crops need no such file. Box crops, which are not aligned, have one in their root:
{"person/file.jpg": [[x, y] * 5]} in the crop's own pixels, in the template's order.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeface.data.folders import FaceFolder
from edgeface_calibration.landmarks import LANDMARKS_NAME, five_points
from edgeface_runtime.errors import InputError

__all__ = ["AGAIN", "Landmarks", "load_landmarks", "mirrored", "read_table"]

AGAIN = "write it again with edgeface data align --crop box"
"""What to do about a bad file."""


@dataclass(frozen=True)
class Landmarks:
    """Five points for every picture of a folder, in the order of its samples."""

    points: NDArray[np.float64]
    """(N, 5, 2) pixels (x, y) of the crop, all inside it."""
    digest: str
    """Hex SHA-256 of the file."""
    missing: tuple[str, ...]
    """Pictures the file does not name; they have the mean of the others, as have those outside."""
    outside: tuple[str, ...]
    """Pictures whose points are no five different ones inside the crop."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What was wrong, one line each."""
        return tuple(
            f"{len(names)} pictures {words} in {LANDMARKS_NAME}, first {names[0]}: the others' mean is used"
            for names, words in (
                (self.missing, "have no landmarks"),
                (self.outside, "have landmarks outside the crop, or in one point,"),
            )
            if names
        )


def mirrored(points: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """(5, 2) in the mirrored crop of that width; left is again left in the picture."""
    return (np.array([width - 1, 0]) + points * (-1, 1))[[1, 0, 2, 4, 3]]


def load_landmarks(folder: FaceFolder, size: tuple[int, int]) -> Landmarks | None:
    """The folder's landmarks; None where it has no such file.

    Raises:
        InputError: the file is damaged, or has usable landmarks for none of the pictures.
    """
    path = folder.root / LANDMARKS_NAME
    if not path.is_file():
        return None
    data, digest = read_table(path)
    points = np.full((len(folder.samples), 5, 2), np.nan)
    missing, outside = [], []
    for index, (picture, _) in enumerate(folder.samples):
        name = picture.relative_to(folder.root).as_posix()
        if name not in data:
            missing.append(name)
        elif (found := _usable(data[name], size)) is None:
            outside.append(name)
        else:
            points[index] = found
    known = np.isfinite(points[:, 0, 0])
    if not known.any():
        raise InputError(
            f"{path} has no usable landmarks for any picture of {size[1]} wide, {size[0]} high: "
            f"they must be in the crop's own pixels; {AGAIN}"
        )
    points[~known] = points[known].mean(0)
    return Landmarks(points, digest, tuple(missing), tuple(outside))


def read_table(path: Path) -> tuple[dict[str, Any], str]:
    """What a `landmarks.json` says of each picture, unchecked, and the hex SHA-256 of the file.

    Raises:
        InputError: it is damaged or no table.
    """
    try:
        text = path.read_bytes()
        data = json.loads(text)
    except (OSError, ValueError) as exc:
        raise InputError(f"{path} is damaged: {AGAIN}") from exc
    if not isinstance(data, dict):
        raise InputError(f"{path} is not a table of landmarks: {AGAIN}")
    return data, hashlib.sha256(text).hexdigest()


def _usable(value: Any, size: tuple[int, int]) -> NDArray[np.float64] | None:
    """Five points inside a crop, at most at its last pixel so that they stay inside when it is mirrored."""
    points = five_points(value)
    limit = (size[1], size[0])
    if points is None or (points < 0).any() or (points >= limit).any():
        return None
    if float(np.ptp(points, axis=0).max()) < 1:
        return None
    return np.minimum(points, np.array(limit) - 1.0)
