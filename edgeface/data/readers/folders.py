"""Identity folders: `<person>/<picture>`, pictures in deeper folders too. CASIA-WebFace unpacked is laid out so
(`0000045/001.jpg`)."""

from __future__ import annotations

import itertools
from pathlib import Path

from edgeface.data.readers.files import common_crop, file_name, folders_in, pictures_below
from edgeface.data.readers.types import FaceSet, Format, Sample, Skipped
from edgeface_runtime.errors import InputError

__all__ = ["FOLDERS", "person_samples"]

EMPTY = "a person's folder without a usable picture"


def person_samples(
    people: Path, root: Path, skipped: list[Skipped], role: str = "", condition: str = "", note: str = ""
) -> list[Sample]:
    """The samples of a folder of identity folders; what is left out is added to `skipped`."""
    samples: list[Sample] = []
    for person in folders_in(people):
        before = len(samples), len(skipped)
        for path in pictures_below(person, root, skipped):
            samples.append(Sample(person.name, file_name(path, person), path, None, role, condition, note))
        if (len(samples), len(skipped)) == before:
            skipped.append(Skipped(person.relative_to(root).as_posix(), EMPTY))
    return samples


def _open(path: Path) -> FaceSet:
    skipped: list[Skipped] = []
    samples = person_samples(path, path, skipped)
    if not samples:
        note = f" ({len(skipped)} unusable, first {skipped[0].name}: {skipped[0].reason})" if skipped else ""
        raise InputError(f"{path} holds no pictures of people: expected one folder per person{note}")
    crop = common_crop(sample.source for sample in samples)
    return FaceSet(path, FOLDERS.name, tuple(samples), tuple(skipped), crop_size=crop)


def _matches(path: Path) -> bool:
    if not path.is_dir():
        return False
    return any(any(pictures_below(person, path, [])) for person in itertools.islice(folders_in(path), 20))


FOLDERS = Format("folders", "one folder of pictures per person, as CASIA-WebFace unpacked", _matches, _open)
