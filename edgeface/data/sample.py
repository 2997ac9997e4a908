"""A few faces to measure a network on: drawn at random, seeded, from identity folders, or procedural ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface.data.faces import read_crop
from edgeface.data.folders import scan
from edgeface.data.synthetic import synth_face
from edgeface_runtime.align import CROP_SIZE
from edgeface_runtime.errors import ImageError, InputError

__all__ = ["FaceSample", "read_some", "sample_faces"]


@dataclass(frozen=True)
class FaceSample:
    """Face crops and where they are from."""

    crops: NDArray[np.uint8]
    """(N, H, W, 3) uint8 BGR."""
    source: str
    """In words, such as `faces of lfw` or `procedural faces`."""


def sample_faces(
    folder: Path | None,
    count: int,
    seed: int = 0,
    flag: str = "--faces",
    size: tuple[int, int] = CROP_SIZE,
) -> FaceSample:
    """`count` face crops of `size` (height, width), fewer if the folder has fewer; None gives procedural faces.

    Raises:
        InputError: the folder is not one of such crops, or `count` (given as `flag`) is below 1.
    """
    if count < 1:
        raise InputError(f"{flag} must be at least 1, got {count}")
    if folder is None:
        drawn = [synth_face(number, 0, seed) for number in range(count)]
        if size != CROP_SIZE:
            drawn = [np.asarray(cv2.resize(crop, size[::-1]), np.uint8) for crop in drawn]
        return FaceSample(np.stack(drawn), "procedural faces")
    samples = scan(folder).samples
    order = np.random.default_rng(seed).permutation(len(samples))
    crops, _ = read_some([samples[index][0] for index in order], count, size, folder)
    return FaceSample(crops, f"faces of {folder.resolve().name}")


def read_some(
    paths: Sequence[Path], count: int, size: tuple[int, int], folder: Path
) -> tuple[NDArray[np.uint8], tuple[Path, ...]]:
    """The first `count` crops that can be read, (N, H, W, 3) uint8 BGR, and where they lie.

    Raises:
        InputError: none can be read, of `folder`.
    """
    crops, read = [], []
    for path in paths:
        try:
            crops.append(read_crop(path, size))
        except ImageError:
            continue  # a sample needs only enough of them; training lists what it skips
        read.append(path)
        if len(crops) == count:
            break
    if not crops:
        raise InputError(f"{folder} holds no readable face")
    return np.stack(crops), tuple(read)
