"""Landmarks of pictures in a file beside them: a JSON object from a name to five points (x, y), pixels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeface_runtime.errors import InputError

__all__ = ["LANDMARKS_NAME", "five_points", "read_landmarks"]

Points = NDArray[np.float64]

LANDMARKS_NAME = "landmarks.json"
"""The file in the root of a folder of pictures that are not aligned."""


def five_points(value: object) -> Points | None:
    """(5, 2) of an entry; None if it is not five finite points."""
    try:
        points = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        return None
    return points if points.shape == (5, 2) and np.isfinite(points).all() else None


def read_landmarks(path: Path) -> dict[str, Points]:
    """Read a reference file.

    Returns:
        Picture name -> (5, 2) float64 pixels (x, y).

    Raises:
        InputError: missing, no JSON, empty, or an entry that is not five finite points.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise InputError(f"cannot read landmarks {path}: {exc.strerror or exc}") from exc
    except ValueError as exc:
        raise InputError(f"{path} is not JSON: it should map picture names to five points") from exc
    if not isinstance(content, dict) or not content:
        raise InputError(f"{path} names no pictures: it should map picture names to five points")
    return {name: _points(path, name, value) for name, value in content.items()}


def _points(path: Path, name: str, value: object) -> Points:
    points = five_points(value)
    if points is None:
        raise InputError(f"{path}: {name} has no five (x, y) points")
    return points
