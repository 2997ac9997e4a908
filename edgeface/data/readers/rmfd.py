"""RMFD (Wang et al. 2020, arXiv 2003.09093): real masked faces, and faces with simulated masks.

Real: `AFDB_masked_face_dataset/<id>/*` and `AFDB_face_dataset/<id>/*`, often within a folder
`self-built-masked-face-recognition-dataset`, or each in a folder of its own name again. Ids are the people's in both,
so masked faces are probes and bare ones the gallery. Some folders of people are published empty: they are listed.

Simulated: sets of identity folders, every face with a drawn mask: `lfw_train` and `lfw_test` for LFW; other sets are
read from the folders in `simulation_dataset`. Of the simulated archives only those two names could be confirmed.
"""

from __future__ import annotations

from pathlib import Path

from edgeface.data.readers.files import common_crop, folders_in, inner
from edgeface.data.readers.folders import person_samples
from edgeface.data.readers.types import CLEAN, GALLERY, MASK, PROBE, TEST, TRAIN, FaceSet, Format, Sample, Skipped
from edgeface_runtime.errors import InputError

__all__ = ["RMFD", "RMFD_SIMULATED"]

MASKED, BARE = "AFDB_masked_face_dataset", "AFDB_face_dataset"
OUTER = "self-built-masked-face-recognition-dataset"
SIMULATED = "simulation_dataset"
SIMULATED_SETS = {"lfw_train": TRAIN, "lfw_test": TEST}


def _open_real(path: Path) -> FaceSet:
    root = _real_root(path)
    if root is None:
        raise InputError(f"{path} holds neither {MASKED} nor {BARE}")
    skipped: list[Skipped] = []
    notes: list[str] = []
    samples: list[Sample] = []
    people: list[set[str]] = []
    for name, role, condition in ((MASKED, PROBE, MASK), (BARE, GALLERY, CLEAN)):
        if (root / name).is_dir():
            found = person_samples(inner(root / name), root, skipped, role, condition)
            people.append({sample.identity for sample in found})
            samples += found
        else:
            notes.append(f"{name} is not there: no {role} pictures")
    if not samples:
        raise InputError(f"{root} holds no usable picture")
    if len(people) == 2:
        notes.append(f"{len(people[0] & people[1])} people are both in {MASKED} and in {BARE}")
    return FaceSet(path, RMFD.name, tuple(samples), tuple(skipped), tuple(notes))


def _real_root(path: Path) -> Path | None:
    places = (path, path / OUTER)
    return next((place for place in places if (place / MASKED).is_dir() or (place / BARE).is_dir()), None)


def _open_simulated(path: Path) -> FaceSet:
    skipped: list[Skipped] = []
    samples: list[Sample] = []
    for folder in _simulated_sets(path):
        role = SIMULATED_SETS.get(folder.name, "")
        samples += person_samples(inner(folder), path, skipped, role, MASK, note=folder.name)
    if not samples:
        raise InputError(f"{path} holds no usable picture in lfw_train, lfw_test or {SIMULATED}")
    crop = common_crop(sample.source for sample in samples)
    return FaceSet(path, RMFD_SIMULATED.name, tuple(samples), tuple(skipped), crop_size=crop)


def _simulated_sets(path: Path) -> list[Path]:
    if path.name == SIMULATED and path.is_dir():
        return folders_in(path)
    if (path / SIMULATED).is_dir():
        return folders_in(path / SIMULATED)
    return [path / name for name in SIMULATED_SETS if (path / name).is_dir()]


RMFD = Format("rmfd", f"{MASKED}/ID and {BARE}/ID", lambda path: _real_root(path) is not None, _open_real)
RMFD_SIMULATED = Format(
    "rmfd-simulated",
    f"lfw_train/ID and lfw_test/ID, or {SIMULATED}/SET/ID",
    lambda p: bool(_simulated_sets(p)),
    _open_simulated,
)
