"""LFW: `<Name>/<Name>_0001.jpg`, with `pairs.txt`, `people.txt` and the view 1 lists beside or above the pictures.

The archive unpacks to `lfw`, `lfw_funneled` or `lfw-deepfunneled`. `peopleDevTrain.txt` and `peopleDevTest.txt` give
the roles train and test; without them there is no role. A people list has the number of lists or people in its first
line and `Name<tab>pictures` in the others.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from edgeface.data.readers.files import common_crop, folders_in, inner, read_lines
from edgeface.data.readers.folders import person_samples
from edgeface.data.readers.pairs import pairs_of
from edgeface.data.readers.types import CLEAN, TEST, TRAIN, FaceSet, Format, Sample, Skipped
from edgeface_runtime.errors import InputError

__all__ = ["LFW"]

PICTURES = ("lfw-deepfunneled", "lfw_funneled", "lfw-funneled", "lfw2", "lfw", "aligned", "images")
LISTS = ("pairs.txt", "people.txt", "peopleDevTrain.txt", "peopleDevTest.txt")


def _open(path: Path) -> FaceSet:
    images = _images(path)
    if images is None:
        raise InputError(f"{path} holds no folder of people's pictures: expected NAME/NAME_0001.jpg")
    skipped: list[Skipped] = []
    samples = person_samples(images, images, skipped, condition=CLEAN)
    if not samples:
        raise InputError(f"{images} holds no usable picture")
    roles: dict[str, str] = {}
    for name, role in (("people.txt", ""), ("peopleDevTrain.txt", TRAIN), ("peopleDevTest.txt", TEST)):
        people = _list(path, images, name)
        if people is not None:
            for person in _people(people, samples, skipped):
                roles[person] = role or roles.get(person, "")
    if any(roles.values()):
        samples = [replace(sample, role=roles.get(sample.identity, "")) for sample in samples]
    pairs_file = _list(path, images, "pairs.txt")
    pairs = pairs_of(pairs_file, images, skipped) if pairs_file else ()
    crop = common_crop(sample.source for sample in samples)
    return FaceSet(path, LFW.name, tuple(samples), tuple(skipped), crop_size=crop, pairs=pairs)


def _people(path: Path, samples: list[Sample], skipped: list[Skipped]) -> list[str]:
    """The people of a list; those of whom pictures are missing are added to `skipped`."""
    there: dict[str, int] = {}
    for sample in samples:
        there[sample.identity] = there.get(sample.identity, 0) + 1
    found: list[str] = []
    for number, line in enumerate(read_lines(path), 1):
        fields = line.split("\t") if "\t" in line else line.split()
        if len(fields) == 1 and fields[0].isdecimal():
            continue
        if len(fields) != 2 or not fields[1].isdecimal():
            skipped.append(Skipped(f"{path.name} line {number}", f"not 'name pictures': {line[:40]!r}"))
            continue
        name, wanted = fields[0], int(fields[1])
        found.append(name)
        if there.get(name, 0) < wanted:
            reason = f"{name} should have {wanted} pictures, {there.get(name, 0)} are usable"
            skipped.append(Skipped(f"{path.name} line {number}", reason))
    return found


def _list(path: Path, images: Path, name: str) -> Path | None:
    places = (path / name, images / name, images.parent / name)
    return next((place for place in places if place.is_file()), None)


def _images(path: Path) -> Path | None:
    if not path.is_dir():
        return None
    candidates = [path, *(inner(path / name) for name in PICTURES if (path / name).is_dir())]
    return next((folder for folder in candidates if _has_people(folder)), None)


def _has_people(folder: Path) -> bool:
    return any(any(person.glob(f"{_literal(person.name)}_[0-9]*.*")) for person in folders_in(folder)[:20])


def _literal(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _matches(path: Path) -> bool:
    images = _images(path)
    return images is not None and any(_list(path, images, name) for name in LISTS)


LFW = Format("lfw", "NAME/NAME_0001.jpg with pairs.txt or people.txt", _matches, _open)
