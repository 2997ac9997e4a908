"""How well a detector finds faces and places landmarks, against points somebody else placed.

The reference is a JSON object from picture name to five (x, y) points, in the order of the runtime's template.
It may be another detector's output: then the figures are agreement with it, not accuracy. A picture's error is the
mean distance over its five points, in pixels and as a share of the reference's distance between the eyes;
percentiles run over the pictures in which a face was found. Another face than the reference's counts with its full
distance.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.landmarks import read_landmarks
from edgeface_runtime.detect import Detector, largest_central
from edgeface_runtime.errors import ImageError, InputError
from edgeface_runtime.image import read_image

__all__ = ["Distribution", "DetectionReport", "compare_landmarks", "measure_detection"]

Points = NDArray[np.float64]

CLOSE = 0.1
"""Share of the distance between the eyes within which two detections are said to agree."""


@dataclass(frozen=True)
class Distribution:
    """Percentiles of an error over pictures."""

    median: float
    p90: float
    p99: float


@dataclass(frozen=True)
class DetectionReport:
    """Found share and landmark error of a detector over a set of pictures."""

    pictures: int
    """Pictures of the reference."""

    found: int
    """Pictures in which a face was found."""

    found_share: float
    """`found` over `pictures`, in [0, 1]."""

    agree_share: float
    """Share of all pictures with a mean landmark error below a tenth of the distance between the eyes, in [0, 1]."""

    error_px: Distribution | None
    """Mean landmark error per picture, pixels; None where nothing was found."""

    error_eyes: Distribution | None
    """The same as a share of the reference's distance between the eyes."""

    missed: tuple[str, ...]
    """Pictures in which no face was found."""

    unreadable: tuple[str, ...]
    """Pictures that could not be read: they count as missed too, and are named here with the reason."""

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-ready data."""
        return asdict(self)


def compare_landmarks(
    found: Mapping[str, Points | None], reference: Mapping[str, Points], unreadable: tuple[str, ...] = ()
) -> DetectionReport:
    """Compare landmarks with a reference.

    Args:
        found: picture name -> (5, 2) pixels, or None where no face was found; a name left out counts as missed.
        reference: picture name -> (5, 2) pixels.
        unreadable: what to report of pictures that could not be read.

    Raises:
        InputError: the reference is empty, or its eyes coincide in a picture.
    """
    if not reference:
        raise InputError("the reference names no pictures")
    errors, shares, missed = [], [], []
    for name, points in reference.items():
        eyes = float(np.linalg.norm(points[1] - points[0]))
        if eyes < 1e-6:
            raise InputError(f"the reference's eyes coincide in {name}")
        own = found.get(name)
        if own is None:
            missed.append(name)
            continue
        errors.append(float(np.linalg.norm(own - points, axis=1).mean()))
        shares.append(errors[-1] / eyes)
    return DetectionReport(
        pictures=len(reference),
        found=len(errors),
        found_share=len(errors) / len(reference),
        agree_share=sum(share < CLOSE for share in shares) / len(reference),
        error_px=_distribution(errors),
        error_eyes=_distribution(shares),
        missed=tuple(missed),
        unreadable=unreadable,
    )


def _distribution(values: list[float]) -> Distribution | None:
    if not values:
        return None
    median, p90, p99 = np.percentile(values, [50, 90, 99])
    return Distribution(float(median), float(p90), float(p99))


def measure_detection(
    images: Path,
    landmarks: Path,
    detector: Detector,
    on_picture: Callable[[int, int], None] | None = None,
) -> DetectionReport:
    """Detect in every picture a reference file names and compare the largest central face with it.

    Args:
        images: the folder the reference's names are within.
        landmarks: the reference file.
        detector: what is measured.
        on_picture: called with (done, all) after each picture, for a progress bar.

    Raises:
        InputError: the folder is missing, or the reference is damaged.
    """
    reference = read_landmarks(landmarks)
    if not images.is_dir():
        raise InputError(f"folder not found: {images}")
    found: dict[str, Points | None] = {}
    unreadable = []
    for done, name in enumerate(reference, start=1):
        try:
            image = read_image(images / name)
        except ImageError as exc:
            unreadable.append(str(exc))
        else:
            faces = detector.detect(image)
            own = largest_central(faces, image.shape).landmarks if faces else None
            found[name] = None if own is None else own.astype(np.float64)
        if on_picture:
            on_picture(done, len(reference))
    return compare_landmarks(found, reference, tuple(unreadable))
