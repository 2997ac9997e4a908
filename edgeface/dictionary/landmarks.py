"""Where the five landmarks lie in the training crops, by which LM1 and LM2 place their regions.

As Johnston & Ngxande 2022, 3.4. Box crops bring a `landmarks.json`. Aligned crops without one have the alignment
template as mean; their spread is that of points detected on a few of them. A landmark outside its crop is a fact
about the face: it counts, and is reported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeface.data.landmarks import read_table
from edgeface_calibration.landmarks import LANDMARKS_NAME, five_points
from edgeface_runtime.align import CROP_SIZE, TEMPLATE
from edgeface_runtime.errors import InputError, MissingExtraError
from edgeface_runtime.regions import coincide

__all__ = [
    "ALIGNED_SPREAD_PX",
    "LandmarkStats",
    "Landmarks",
    "aligned_stats",
    "read_landmarks",
    "spread",
]

ALIGNED_SPREAD_PX = 1.3
"""Spread of landmarks on aligned crops where it cannot be measured: about that of MTCNN's points on aligned LFW."""

FEWEST_FOUND = 10
"""Detected faces below which a spread is not taken from them."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Landmarks:
    """Landmarks of crops, and what is wrong with some of them."""

    points: Mapping[str, Floats]
    """Picture (relative to the root) -> (5, 2) pixels (x, y)."""
    missing: tuple[str, ...] = ()
    """Pictures the file does not name."""
    unusable: tuple[str, ...] = ()
    """Pictures whose entry is not five finite points, or whose points coincide."""
    outside: tuple[str, ...] = ()
    """Pictures with a landmark outside the crop; they are in `points` too."""


@dataclass(frozen=True)
class LandmarkStats:
    """Mean and standard deviation (of the population) of the landmarks, pixels of the crop."""

    mean: Floats
    """(5, 2): left eye, right eye, nose, left and right mouth corner."""
    std: Floats
    """(5, 2)."""
    eyes_y: tuple[float, float]
    """Mean and standard deviation of the vertical position of both eyes, taken together."""
    mouth: tuple[Floats, Floats]
    """Mean (2,) and standard deviation (2,) of the mouth: the middle of its two corners."""
    faces: int
    source: str
    """In words, where the points are from."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return {
            "mean": np.round(self.mean, 4).tolist(),
            "std": np.round(self.std, 4).tolist(),
            "eyes_y": [round(value, 4) for value in self.eyes_y],
            "mouth": [np.round(value, 4).tolist() for value in self.mouth],
            "faces": self.faces,
            "source": self.source,
        }


BLUNDER = 8.0
"""A landmark this many robust deviations (1.4826 x the median distance, at least 1 px) from the median is off."""


def plausible(points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which of the faces (N, 5, 2) have no misplaced landmark: (N,). One blunder of a detector would triple sigma."""
    away = np.abs(points - np.median(points, axis=0))
    limit = BLUNDER * np.maximum(1.4826 * np.median(away, axis=0), 1.0)
    return np.asarray((away <= limit).all((1, 2)))


def spread(points: ArrayLike, source: str = "") -> LandmarkStats:
    """Statistics of the landmarks (N, 5, 2) of N >= 1 faces; misplaced ones (see `plausible`) are left out and told.

    Raises:
        InputError: not of that shape, or no face.
    """
    found = np.asarray(points, np.float64)
    if found.ndim != 3 or found.shape[1:] != (5, 2) or not len(found):
        raise InputError(f"landmark statistics need the five points of some faces, got shape {found.shape}")
    kept = plausible(found)
    if not kept.all():
        source = f"{source}, {int((~kept).sum())} left out whose landmarks are misplaced".removeprefix(", ")
        found = found[kept]
    eyes, mouth = found[:, :2, 1], found[:, 3:].mean(1)
    return LandmarkStats(
        mean=found.mean(0),
        std=found.std(0),
        eyes_y=(float(eyes.mean()), float(eyes.std())),
        mouth=(mouth.mean(0), mouth.std(0)),
        faces=len(found),
        source=source,
    )


def read_landmarks(root: Path, names: Sequence[str], size: tuple[int, int]) -> Landmarks | None:
    """The landmarks of crops of `size` (height, width); None if the folder has no `landmarks.json`.

    Args:
        names: the pictures' paths relative to `root`, with forward slashes.

    Raises:
        InputError: the file is damaged, or has usable points for none of the pictures.
    """
    path = root / LANDMARKS_NAME
    if not path.is_file():
        return None
    data, _ = read_table(path)
    points: dict[str, Floats] = {}
    missing, unusable, outside = [], [], []
    for name in names:
        if name not in data:
            missing.append(name)
            continue
        own = five_points(data[name])
        if own is None or coincide(own):
            unusable.append(name)
            continue
        points[name] = own
        if (own < 0).any() or (own > (size[1] - 1, size[0] - 1)).any():
            outside.append(name)
    if not points:
        raise InputError(f"{path} has landmarks of none of the {len(names)} pictures: is it of another folder?")
    return Landmarks(points, tuple(missing), tuple(unusable), tuple(outside))


def aligned_stats(crops: Sequence[NDArray[np.uint8]], size: tuple[int, int]) -> LandmarkStats:
    """Statistics for aligned crops: the template's places, the spread of points detected on `crops`.

    With too few faces found, or without the detector's backend, the spread is ALIGNED_SPREAD_PX; `source` says which.

    Raises:
        InputError: the crops are not of the aligned size, so nothing says where their landmarks are.
    """
    if size != CROP_SIZE:
        raise InputError(
            f"crops of {size[1]}x{size[0]} need a {LANDMARKS_NAME} in their folder for landmark regions: "
            "make them with edgeface data align --crop box"
        )
    try:
        found = _detect(crops)
    except MissingExtraError as exc:
        return _assumed(f"the spread is assumed: {exc}")
    if len(found) < FEWEST_FOUND:
        return _assumed(f"the spread is assumed: faces were found in {len(found)} of {len(crops)} crops")
    own = spread(found, f"alignment template, spread of {len(found)} faces found in {len(crops)} crops")
    found = found[plausible(found)]
    return LandmarkStats(
        mean=np.array(TEMPLATE),
        std=own.std,
        eyes_y=(float(TEMPLATE[:2, 1].mean()), float((found[:, :2, 1] - TEMPLATE[:2, 1]).std())),
        mouth=(TEMPLATE[3:].mean(0), own.mouth[1]),
        faces=own.faces,
        source=own.source,
    )


def _assumed(why: str) -> LandmarkStats:
    mouth = (TEMPLATE[3:].mean(0), np.full(2, ALIGNED_SPREAD_PX))
    eyes = (float(TEMPLATE[:2, 1].mean()), ALIGNED_SPREAD_PX)
    return LandmarkStats(
        np.array(TEMPLATE), np.full((5, 2), ALIGNED_SPREAD_PX), eyes, mouth, 0, f"alignment template; {why}"
    )


def _detect(crops: Sequence[NDArray[np.uint8]]) -> Floats:
    """(found, 5, 2): the largest face's points, crops twice as large with a repeated border so that a face fits."""
    from edgeface_runtime.detect import Detector, largest_central

    found = []
    with Detector() as detector:
        for crop in crops:
            around = crop.shape[0] // 2
            large = cv2.copyMakeBorder(crop, around, around, around, around, cv2.BORDER_REFLECT)
            faces = detector.detect(np.asarray(large, np.uint8))
            if faces:
                found.append(largest_central(faces, large.shape).landmarks.astype(np.float64) - around)
    return np.asarray(found, np.float64).reshape(-1, 5, 2)
