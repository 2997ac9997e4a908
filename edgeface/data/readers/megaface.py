"""MegaFace challenge 1: FaceScrub as probes, `FlickrFinal2` as distractors, and the development kit's lists.

Probes lie in `facescrub_images/<Name>/`, distractors in `FlickrFinal2/<xxx>/<user>/<photo>_0.jpg`, maybe some folders
down. The kit's `templatelists` name what belongs to the test: `facescrub_features_list.json` (or `..._uncropped_...`)
and `megaface_features_list.json_<size>_<set>`, each an object with `path` and, for probes, `id`. Where a list is
there only what it names is taken, of the distractors by the largest list of set 1; what it names and is not there is
listed. Without a list everything is taken, and that is noted. A distractor's identity is its user's folder.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from edgeface.data.readers.files import pictures_below, read_json
from edgeface.data.readers.folders import person_samples
from edgeface.data.readers.types import DISTRACTOR, PROBE, FaceSet, Format, Sample, Skipped
from edgeface_runtime.errors import InputError
from edgeface_runtime.image import IMAGE_SUFFIXES

__all__ = ["MEGAFACE"]

PROBES = ("facescrub_images", "facescrub_aligned", "facescrub")
DISTRACTORS = ("flickrfinal2", "megaface_images")
PROBE_LISTS = ("facescrub_features_list.json", "facescrub_uncropped_features_list.json")
DISTRACTOR_LIST = re.compile(r"megaface_features_list\.json_(\d+)_1")
DEPTH = 3


def _open(path: Path) -> FaceSet:
    probes, distractors = _find(path)
    if probes is None and distractors is None:
        raise InputError(f"{path} holds neither facescrub_images nor FlickrFinal2")
    skipped: list[Skipped] = []
    notes: list[str] = []
    samples: list[Sample] = []
    for folder, role in ((probes, PROBE), (distractors, DISTRACTOR)):
        if folder is None:
            notes.append(f"no folder of {role}s is there")
            continue
        chosen = _probe_list(path) if role == PROBE else _distractor_list(path)
        if chosen is not None:
            samples += _listed(chosen, folder, role, skipped)
            notes.append(f"{role}s by {chosen.name}")
        else:
            notes.append(f"no list of {role}s is there: every picture is taken")
            if role == PROBE:
                samples += person_samples(folder, path, skipped, role)
            else:
                found = pictures_below(folder, path, skipped)
                samples += [_sample(picture.relative_to(folder), picture, role) for picture in found]
    if not samples:
        raise InputError(f"{path} holds no usable picture")
    return FaceSet(path, MEGAFACE.name, tuple(samples), tuple(skipped), tuple(notes))


def _listed(source: Path, folder: Path, role: str, skipped: list[Skipped]) -> list[Sample]:
    data = read_json(source)
    paths = data.get("path") if isinstance(data, dict) else None
    names = data.get("id") if isinstance(data, dict) and role == PROBE else None
    if not isinstance(paths, list) or (
        names is not None and (not isinstance(names, list) or len(names) != len(paths))
    ):
        raise InputError(f"{source} is no feature list: expected an object with path and id, equally long")
    there = {picture.relative_to(folder).as_posix(): picture for picture in pictures_below(folder, folder, skipped)}
    by_stem = {str(Path(name).with_suffix("")): name for name in reversed(there)}
    samples: list[Sample] = []
    taken: set[str] = set()
    for index, listed in enumerate(paths):
        name = by_stem.get(_stem(str(listed))) if str(listed) not in there else str(listed)
        if name is None:
            skipped.append(Skipped(f"{source.name} entry {index}", f"names {listed}, which is not there or unusable"))
        elif name in taken:
            skipped.append(Skipped(f"{source.name} entry {index}", f"names {listed} again"))
        else:
            taken.add(name)
            identity = str(names[index]) if names else ""
            samples.append(_sample(Path(name), there[name], role, identity))
    return samples


def _stem(name: str) -> str:
    path = Path(name)
    return str(path.with_suffix("")) if path.suffix.lower() in IMAGE_SUFFIXES else name


def _sample(name: Path, picture: Path, role: str, identity: str = "") -> Sample:
    own = "_".join(name.parts[:-1]) or name.stem
    usable = identity and identity not in (".", "..") and not set(identity) & set("/\\\0")
    return Sample(identity if usable else own, name.name, picture, None, role)


def _find(path: Path) -> tuple[Path | None, Path | None]:
    """The folders of probes and of distractors at most `DEPTH` folders down."""
    found: dict[tuple[str, ...], Path] = {}
    if path.is_dir():
        for place, folders, _ in os.walk(path):
            here = Path(place)
            for name in sorted(folders):
                for kind in (PROBES, DISTRACTORS):
                    if name.lower() in kind:
                        found.setdefault(kind, here / name)
            if len(here.relative_to(path).parts) + 1 >= DEPTH:
                folders.clear()
            folders[:] = [name for name in folders if name.lower() not in (*PROBES, *DISTRACTORS)][:50]
    return found.get(PROBES), found.get(DISTRACTORS)


def _list_folders(path: Path) -> list[Path]:
    return [path, path / "templatelists", path / "devkit" / "templatelists"]


def _probe_list(path: Path) -> Path | None:
    places = (folder / name for folder in _list_folders(path) for name in PROBE_LISTS)
    return next((place for place in places if place.is_file()), None)


def _distractor_list(path: Path) -> Path | None:
    found: list[tuple[int, Path]] = []
    for folder in _list_folders(path):
        for entry in folder.iterdir() if folder.is_dir() else ():
            match = DISTRACTOR_LIST.fullmatch(entry.name)
            if match:
                found.append((int(match[1]), entry))
    return max(found)[1] if found else None


def _matches(path: Path) -> bool:
    return any(folder is not None for folder in _find(path))


MEGAFACE = Format("megaface", "facescrub_images/NAME and FlickrFinal2/XXX/USER", _matches, _open)
