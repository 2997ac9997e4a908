"""The demo's faces: procedural ones or a user's own identity folders, split by people into training and test."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgeface.data.folders import FaceFolder, scan
from edgeface_runtime.align import CROP_SIZE
from edgeface_runtime.errors import ImageError, InputError
from edgeface_runtime.image import read_image

__all__ = ["DemoFaces", "prepare_faces"]

TEST_PART = 0.2
"""Share of the people that nothing is trained on."""


@dataclass(frozen=True)
class DemoFaces:
    """Two folders of links to aligned faces; no person is in both."""

    train: Path
    test: Path
    source: str
    """In words."""
    people: tuple[int, int]
    """To train on, to test on."""


def prepare_faces(
    own: Path | None, out: Path, people: int, per_person: int, seed: int, note: Callable[[str], None]
) -> DemoFaces:
    """Draw or align faces below `out` and split them by people.

    Raises:
        InputError: the user's folder has fewer than four people with two pictures.
    """
    if own is None:
        from edgeface.data.synthetic import write_synthetic

        note(f"drawing {people} people, {per_person} pictures of each (procedural faces)")
        faces = out / "procedural"
        if not faces.is_dir():
            unfinished = out / "procedural.part"
            if unfinished.is_dir():
                shutil.rmtree(unfinished)
            write_synthetic(unfinished, people, per_person, seed)
            unfinished.rename(faces)
        source = "procedural faces"
    else:
        faces, source = _aligned(own, out / "aligned", note), f"faces of {own.resolve().name}"
    folder = scan(faces)
    test = _test_people(folder, seed)
    name = "procedural" if own is None else own.resolve().name
    train, held_out = out / f"{name}-train", out / f"{name}-test"
    links = {train: [person for person in folder.identities if person not in test], held_out: test}
    for part, people_of_part in links.items():
        part.mkdir(parents=True, exist_ok=True)
        for old in part.iterdir():
            if old.is_symlink() and old.name not in people_of_part:
                old.unlink()  # else someone could be in both parts
        for person in people_of_part:
            link = part / person
            if not link.is_symlink():
                link.symlink_to((faces / person).resolve(), target_is_directory=True)
    note(f"{len(links[train])} people to train on, {len(test)} others to test on")
    return DemoFaces(train, held_out, source, (len(links[train]), len(test)))


def _test_people(folder: FaceFolder, seed: int) -> list[str]:
    """A fifth of the people with two pictures or more, at least two."""
    pictures = np.bincount([label for _, label in folder.samples])
    able = [name for name, number in zip(folder.identities, pictures, strict=True) if number >= 2]
    if len(able) < 4:
        raise InputError(f"{folder.root} has {len(able)} people with two pictures: the demo needs four or more")
    order = np.random.default_rng(seed).permutation(len(able))
    return sorted(able[index] for index in order[: max(2, round(TEST_PART * len(able)))])


def _aligned(own: Path, target: Path, note: Callable[[str], None]) -> Path:
    """The user's folder itself if its first readable picture is a crop, else an aligned copy of it."""
    for path, _ in scan(own).samples:
        try:
            shape = read_image(path).shape[:2]
        except ImageError:
            continue
        if shape == CROP_SIZE:
            return own
        break
    from edgeface.data.align_folder import align_folder

    note(f"aligning the photographs of {own}")
    report = align_folder(own, target, workers=2)
    note(f"{report.aligned} aligned, {len(report.skipped)} skipped, listed in {report.manifest}")
    return target
