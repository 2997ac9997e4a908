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
from edgeface.data.template import Points
from edgeface_runtime.align import CROP_SIZE, TEMPLATE, align
from edgeface_runtime.errors import ImageError, InputError

__all__ = ["FaceSample", "PeopleSample", "read_some", "sample_faces", "sample_people"]

PEOPLE, EACH = 40, 3
"""People of a sample with identities, and most pictures of each."""


@dataclass(frozen=True)
class FaceSample:
    """Face crops and where they are from."""

    crops: NDArray[np.uint8]
    """(N, H, W, 3) uint8 BGR."""
    source: str
    """In words, such as `faces of lfw` or `procedural faces`."""


@dataclass(frozen=True)
class PeopleSample:
    """Face crops of people with several pictures."""

    crops: NDArray[np.uint8]
    """(N, H, W, 3) uint8 BGR."""
    labels: NDArray[np.int64]
    """(N,) who it is."""


def sample_people(
    folder: Path, seed: int = 0, size: tuple[int, int] = CROP_SIZE, template: Points | None = None
) -> PeopleSample | None:
    """At most EACH crops of PEOPLE people with two or more, drawn at random; None where the folder has not two such.

    Raises:
        InputError: the folder is not one of crops of `size`.
    """
    rng = np.random.default_rng(seed)
    by_person: dict[int, list[Path]] = {}
    for path, label in scan(folder).samples:
        by_person.setdefault(label, []).append(path)
    crops: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for label in rng.permutation([label for label, paths in by_person.items() if len(paths) > 1]):
        own = []
        for index in rng.permutation(len(by_person[label])):
            try:
                own.append(read_crop(by_person[label][index], size, template))
            except ImageError:
                continue
            if len(own) == EACH:
                break
        if len(own) > 1:
            crops += own
            labels += [int(label)] * len(own)
        if len(set(labels)) == PEOPLE:
            break
    return PeopleSample(np.stack(crops), np.array(labels)) if len(set(labels)) > 1 else None


def sample_faces(
    folder: Path | None,
    count: int,
    seed: int = 0,
    flag: str = "--faces",
    size: tuple[int, int] = CROP_SIZE,
    template: Points | None = None,
) -> FaceSample:
    """`count` face crops of `size` (height, width), fewer if the folder has fewer; None gives procedural faces.

    Procedural faces of another size than ours are stretched, or aligned onto `template`, as those of the folder are.

    Raises:
        InputError: the folder is not one of such crops, or `count` (given as `flag`) is below 1.
    """
    if count < 1:
        raise InputError(f"{flag} must be at least 1, got {count}")
    if folder is None:
        drawn = [synth_face(number, 0, seed) for number in range(count)]
        if template is not None:
            drawn = [align(crop, TEMPLATE, size, template) for crop in drawn]
        elif size != CROP_SIZE:
            drawn = [np.asarray(cv2.resize(crop, size[::-1]), np.uint8) for crop in drawn]
        return FaceSample(np.stack(drawn), "procedural faces")
    samples = scan(folder).samples
    order = np.random.default_rng(seed).permutation(len(samples))
    crops, _ = read_some([samples[index][0] for index in order], count, size, folder, template)
    return FaceSample(crops, f"faces of {folder.resolve().name}")


def read_some(
    paths: Sequence[Path], count: int, size: tuple[int, int], folder: Path, template: Points | None = None
) -> tuple[NDArray[np.uint8], tuple[Path, ...]]:
    """The first `count` crops that can be read, (N, H, W, 3) uint8 BGR, and where they lie.

    Raises:
        InputError: none can be read, of `folder`.
    """
    crops, read = [], []
    for path in paths:
        try:
            crops.append(read_crop(path, size, template))
        except ImageError:
            continue  # a sample needs only enough of them; training lists what it skips
        read.append(path)
        if len(crops) == count:
            break
    if not crops:
        raise InputError(f"{folder} holds no readable face")
    return np.stack(crops), tuple(read)
