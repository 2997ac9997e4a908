"""Faces to compare two models on, read without torch: of a folder of crops, or drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface.data.align_command import align_command
from edgeface.data.folders import scan
from edgeface.data.synthetic import synth_face
from edgeface_runtime.errors import ImageError, InputError
from edgeface_runtime.image import list_images, read_image

__all__ = ["FaceSet", "gather_faces"]

PER_PERSON = 4
"""Faces of one person, as far as there are so many: genuine pairs come from them."""


@dataclass(frozen=True)
class FaceSet:
    """Crops of one size."""

    crops: NDArray[np.uint8]
    """(N, H, W, 3) uint8 BGR."""
    people: NDArray[np.int64] | None
    """(N,) who each is; None where the folder does not say."""
    source: str
    """In words, such as `64 faces of lfw`."""


def gather_faces(folder: Path | None, count: int, size: tuple[int, int], seed: int = 0) -> FaceSet:
    """At most `count` crops of `size` (height, width), drawn with `seed`, up to four a person.

    Args:
        folder: identity folders of crops, or one folder of crops of unknown people; None draws people.

    Raises:
        InputError: `count` is below 2, or the folder holds no two readable crops, or crops of another size.
    """
    if count < 2:
        raise InputError(f"--count must be at least 2, got {count}")
    if folder is None:
        drawn = [synth_face(number // PER_PERSON, number % PER_PERSON, seed) for number in range(count)]
        crops = [np.asarray(cv2.resize(crop, size[::-1]), np.uint8) for crop in drawn]
        return FaceSet(np.stack(crops), np.arange(count) // PER_PERSON, f"{count} drawn faces")
    known = folder.is_dir() and any(entry.is_dir() and not entry.name.startswith(".") for entry in folder.iterdir())
    listed = list(scan(folder).samples) if known else [(path, -1) for path in list_images(folder)]
    found: list[tuple[NDArray[np.uint8], int]] = []
    for path, person in _drawn(listed, seed):
        try:
            crop = read_image(path)
        except ImageError:
            continue  # a sample needs only enough of them
        if crop.shape[:2] != size:
            raise InputError(
                f"{path} is {crop.shape[1]}x{crop.shape[0]}, not a crop of {size[1]} wide, {size[0]} high: "
                f"run `{align_command(size)}` first"
            )
        found.append((crop, person))
        if len(found) == count:
            break
    if len(found) < 2:
        raise InputError(
            f"--faces {folder} holds {len(found)} readable face{'s' * (len(found) != 1)}, two are needed"
        )
    people = np.array([person for _, person in found], np.int64) if known else None
    return FaceSet(np.stack([crop for crop, _ in found]), people, f"{len(found)} faces of {folder.resolve().name}")


def _drawn(samples: list[tuple[Path, int]], seed: int) -> list[tuple[Path, int]]:
    """People in random order, each with up to PER_PERSON random pictures; then all that are left."""
    generator = np.random.default_rng(seed)
    shuffled = [samples[index] for index in generator.permutation(len(samples))]
    by_person: dict[int, list[tuple[Path, int]]] = {}
    for sample in shuffled:
        by_person.setdefault(sample[1], []).append(sample)
    first = [sample for person in by_person.values() for sample in person[:PER_PERSON]]
    return [*first, *(sample for person in by_person.values() for sample in person[PER_PERSON:])]
