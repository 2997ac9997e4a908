"""Which pictures are gallery and which are probes.

first picture   each person's first picture is the gallery, the others are probes
two folders     one folder's pictures are the gallery, the other's are probes (RMFD: unmasked and masked)
fractions       each person's pictures divided by seed, as `edgeface data split`: train is gallery, test is probes
a file          JSON, {"gallery": ["person/file.jpg", ...], "probes": [...]}
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgeface.data.folders import FaceFolder, scan
from edgeface.data.split import divide
from edgeface_runtime.errors import InputError
from edgeface_runtime.files import require_file

__all__ = ["GallerySplit", "first_pictures", "split_by_file", "split_by_fractions", "two_folders"]

Picture = tuple[Path, str]
"""A picture and its person."""


@dataclass(frozen=True)
class GallerySplit:
    """Gallery and probes."""

    gallery_root: Path
    gallery: tuple[Picture, ...]
    probe_root: Path
    probes: tuple[Picture, ...]
    missing: tuple[str, ...] = ()
    """Pictures a file asks for that are not there."""
    unusable: Mapping[str, str] = field(default_factory=dict)
    """Pictures whose first bytes are no picture's, left out of both: name -> reason."""


def first_pictures(images: Path) -> GallerySplit:
    """Raises InputError: no identity folders, or nobody has two pictures."""
    folder = scan(images)
    gallery: dict[int, Path] = {}
    probes: list[Picture] = []
    for path, label in folder.samples:
        if label in gallery:
            probes.append((path, folder.identities[label]))
        else:
            gallery[label] = path
    if not probes:
        raise InputError(f"{images}: nobody has two pictures, so there is no probe to identify")
    enrolled = tuple((path, folder.identities[label]) for label, path in gallery.items())
    return GallerySplit(images, enrolled, images, tuple(probes), unusable=_unusable(folder))


def two_folders(gallery: Path, probes: Path) -> GallerySplit:
    """Raises InputError: one of the two is no folder of identities."""
    one, other = scan(gallery), scan(probes)
    return GallerySplit(
        gallery,
        tuple((path, one.identities[label]) for path, label in one.samples),
        probes,
        tuple((path, other.identities[label]) for path, label in other.samples),
        unusable=_unusable(one, other),
    )


def split_by_fractions(images: Path, fractions: Sequence[float] = (0.7, 0.15, 0.15), seed: int = 0) -> GallerySplit:
    """The parts that `edgeface data split` would write with this seed; the middle one is left alone.

    Raises:
        InputError: no identity folders, fractions that are not three shares of 1, or no probe.
    """
    folder = scan(images)
    parts = divide(folder, fractions, seed)
    if not parts["test"]:
        raise InputError(f"{images}: nobody has enough pictures for a probe")
    person = {path: folder.identities[label] for path, label in folder.samples}
    train, test = (tuple((path, person[path]) for path in parts[part]) for part in ("train", "test"))
    return GallerySplit(images, train, images, test, unusable=_unusable(folder))


def split_by_file(images: Path, file: Path) -> GallerySplit:
    """Pictures by name; those that are not there are listed.

    Raises:
        InputError: the file is missing or not of that form, names a picture outside `images`, or leaves a side empty.
    """
    require_file(file, "split file")
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
        names = {side: [str(name) for name in data[side]] for side in ("gallery", "probes")}
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise InputError(f'{file} is not a split: JSON with lists "gallery" and "probes" is expected') from exc
    missing: list[str] = []

    def found(side: Iterable[str]) -> tuple[Picture, ...]:
        pictures = []
        for name in side:
            parts = Path(name).parts
            if len(parts) < 2 or Path(name).is_absolute() or ".." in parts:
                raise InputError(f"{file}: {name!r} is not person/file")
            if (images / name).is_file():
                pictures.append((images / name, parts[0]))
            else:
                missing.append(name)
        return tuple(pictures)

    gallery, probes = found(names["gallery"]), found(names["probes"])
    both = {path for path, _ in gallery} & {path for path, _ in probes}
    if both:
        raise InputError(f"{file}: {len(both)} pictures are both gallery and probe, first {min(both)}")
    if not gallery or not probes:
        raise InputError(f"{file}: no gallery picture or no probe is in {images}, first missing {missing[:1]}")
    return GallerySplit(images, gallery, images, probes, tuple(missing))


def _unusable(*folders: FaceFolder) -> dict[str, str]:
    """What the folders skipped; of several folders, where one name may be in both, by its whole path."""
    found = {}
    for folder in folders:
        for entry in folder.skipped:
            name = entry.path if len(folders) > 1 else entry.path.relative_to(folder.root)
            found[name.as_posix()] = entry.reason
    return found
