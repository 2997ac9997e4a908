"""Real faces a model's precisions are judged on, with pairs of them, and others to calibrate on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeface.data.faces import read_crop
from edgeface.data.folders import scan
from edgeface.data.sample import FaceSample, read_some, sample_faces
from edgeface.data.template import Points
from edgeface_calibration.drift import JudgedPairs, draw_pairs
from edgeface_calibration.pairs import read_pairs
from edgeface_runtime.align import CROP_SIZE
from edgeface_runtime.errors import InputError

__all__ = ["JudgedFaces", "calibration_faces", "judged_faces"]

JUDGED = 500
"""Faces judged on, where nothing is said."""
DRAWN = 32
"""Procedural faces, where no folder is given."""
PER_PERSON = 8
"""Faces of one person drawn together: 28 genuine pairs."""
SEED = 0


@dataclass(frozen=True)
class JudgedFaces:
    """Faces to judge on."""

    crops: NDArray[np.uint8]
    """(N, H, W, 3) uint8 BGR."""
    source: str
    """What they are, in words."""
    pairs: JudgedPairs | None = None
    """Pairs of them; None for drawn faces."""
    paths: tuple[Path, ...] = ()
    """Where they lie."""


def judged_faces(
    folder: Path | None,
    count: int | None = None,
    pairs: Path | None = None,
    size: tuple[int, int] = CROP_SIZE,
    template: Points | None = None,
) -> JudgedFaces:
    """Faces of an identity folder: `count` drawn person by person, or those of a pairs file; else procedural ones.

    Crops are of `size` (height, width); `template` is what they were aligned onto (see `read_crop`). Where `count` is
    None they are at most 500, and half of what the folder has: the other half is to calibrate on.

    Raises:
        InputError: no such folder or pairs, nothing readable, `count` below 1, or both `count` and `pairs`.
    """
    if count is not None and count < 1:
        raise InputError(f"--count must be at least 1, got {count}")
    if pairs is not None:
        if folder is None or count is not None:
            raise InputError("--pairs needs --faces, the folder it is of" if folder is None else _BOTH)
        return _of_pairs(pairs, folder, size, template)
    if folder is None:
        sample = sample_faces(None, count or DRAWN, SEED, "--count", size, template)
        return JudgedFaces(sample.crops, sample.source)
    samples = scan(folder).samples
    order = _person_by_person([label for _, label in samples])
    wanted = count or max(1, min(JUDGED, len(samples) // 2))
    crops, read = read_some([samples[index][0] for index in order], wanted, size, folder, template)
    label_of = dict(samples)
    source = f"faces of {folder.resolve().name}"
    drawn = draw_pairs([label_of[path] for path in read], f"pairs drawn from {source}")
    return JudgedFaces(crops, source, drawn, read)


_BOTH = "--count and --pairs both say which faces to judge on: give one of them"


def calibration_faces(
    folder: Path,
    count: int,
    judged: JudgedFaces,
    size: tuple[int, int] = CROP_SIZE,
    template: Points | None = None,
) -> FaceSample:
    """`count` faces of a folder, none of those judged on; people who are not judged on come first.

    Raises:
        InputError: `count` is below 1, or no face is left.
    """
    if count < 1:
        raise InputError(f"--calibration must be at least 1, got {count}")
    samples = scan(folder).samples
    used = set(judged.paths)
    people = {path.parent for path in judged.paths}
    order = np.random.default_rng(SEED).permutation(len(samples))
    left = [samples[index][0] for index in order if samples[index][0] not in used]
    if not left:
        raise InputError(
            f"{folder} has {len(samples)} faces and all are judged on, none are left to calibrate: "
            "give more, or a lower --count"
        )
    left.sort(key=lambda path: path.parent in people)  # stable: others first
    crops, _ = read_some(left, count, size, folder, template)
    return FaceSample(crops, f"faces of {folder.resolve().name}")


def _of_pairs(file: Path, folder: Path, size: tuple[int, int], template: Points | None) -> JudgedFaces:
    pairs, report = read_pairs(file, folder)
    paths = sorted({path for pair in pairs for path in (pair.a, pair.b)})
    index = {path: number for number, path in enumerate(paths)}
    crops = np.stack([read_crop(path, size, template) for path in paths])
    return JudgedFaces(
        crops,
        f"faces of {folder.resolve().name}",
        JudgedPairs(
            np.array([index[pair.a] for pair in pairs], np.int64),
            np.array([index[pair.b] for pair in pairs], np.int64),
            np.array([pair.genuine for pair in pairs]),
            np.array([pair.fold for pair in pairs], np.int64),
            f"{report.usable} of {report.listed} pairs of {file.name}",
        ),
        tuple(paths),
    )


def _person_by_person(labels: Sequence[int]) -> list[int]:
    """Indices in rounds: of every person, in random order, PER_PERSON faces, then as many more, and so on."""
    rng = np.random.default_rng(SEED)
    shuffled = rng.permutation(len(labels))
    faces: dict[int, list[int]] = {}
    for index in shuffled:  # people in the order in which they first come up
        faces.setdefault(labels[index], []).append(int(index))
    rounds = range(0, max(len(own) for own in faces.values()), PER_PERSON)
    return [index for start in rounds for own in faces.values() for index in own[start : start + PER_PERSON]]
