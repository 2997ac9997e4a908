"""How many faces are found, and how much of them is covered, in pictures that have no labels: real masked faces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeface.evaluation.matching import Progress, no_progress
from edgeface.evaluation.pictures import Failures, Pictures
from edgeface_runtime.align import CROP_SIZE
from edgeface_runtime.errors import InputError
from edgeface_runtime.image import list_images

__all__ = ["CoveredResult", "Spread", "evaluate_covered"]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)

Shares = Callable[[NDArray[np.uint8]], NDArray[np.floating[Any]]]
"""Aligned faces (N, 112, 96, 3) uint8 BGR -> (N,) covered share in [0, 1]."""


@dataclass(frozen=True)
class Spread:
    """Covered shares of the faces found."""

    mean: float
    quantiles: dict[str, float]
    """5 %, 25 %, 50 %, 75 %, 95 %: share below which so many faces lie."""


@dataclass(frozen=True)
class CoveredResult:
    """One folder of pictures."""

    protocol: str
    pictures: int
    """Readable ones."""
    detected: int
    """Of them with a face."""
    detected_share: float
    covered: dict[str, Spread]
    """What measured it -> shares over the faces found: `mask` (the network's, uncalibrated), `segmenter` (pixels)."""
    unreadable: dict[str, str]
    """Pictures that cannot be read, with the reason."""
    min_face: int
    """Smallest face looked for, pixels."""
    ran_on: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def evaluate_covered(
    images: Path,
    measures: dict[str, Shares],
    *,
    name: str | None = None,
    min_face: int = 40,
    ran_on: dict[str, Any] | None = None,
    progress: Progress = no_progress,
) -> CoveredResult:
    """Look at the largest central face of every picture below `images`, in whatever folders.

    Args:
        measures: name -> function of aligned faces; none: detection only.
        name: of the set, for the report; default: the folder.
        min_face: smallest face to look for, pixels.
        ran_on: what runs the measures, for the report.

    Raises:
        InputError: no such folder, or no picture that can be read.
    """
    paths = list_images(images, recursive=True)
    if not paths:
        raise InputError(f"no picture below {images}")
    failed: Failures = {}
    found: dict[str, list[NDArray[np.floating[Any]]]] = {key: [] for key in measures}
    detected = 0
    with Pictures(images, CROP_SIZE, detect=True, min_face=min_face) as pictures:
        for batch in pictures.batches(paths, None, failed, progress):
            crops = np.stack([shot.crop for shot in batch])
            detected += len(batch)
            for key, measure in measures.items():
                found[key].append(measure(crops))
        faceless = pictures.without_face
        unreadable = {pictures.name(path): text for path, text in failed.items() if path not in faceless}
    readable = len(paths) - len(unreadable)
    if not readable:
        raise InputError(
            f"none of {len(paths)} pictures below {images} can be read: {next(iter(unreadable.values()))}"
        )
    return CoveredResult(
        protocol=f"{name or images.resolve().name} covered",
        pictures=readable,
        detected=detected,
        detected_share=detected / readable,
        covered={key: _spread(np.concatenate(parts)) for key, parts in found.items() if parts},
        unreadable=unreadable,
        min_face=min_face,
        ran_on=ran_on or {},
    )


def _spread(shares: NDArray[np.floating[Any]]) -> Spread:
    return Spread(
        float(shares.mean()),
        {f"{100 * level:g} %": float(np.quantile(shares, level)) for level in QUANTILES},
    )
