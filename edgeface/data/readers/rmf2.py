"""RMF2, real people with and without masks.

FROM's paper names a set RMF2 and publishes no layout. What is published is MFR2 (Anwar & Raychowdhury 2020, arXiv
2008.11104; 53 people, 269 pictures), which we take it for: `<Name>/<Name>_0001.png`, `mfr2_labels.txt` with lines
`Name, number, kind of mask` (`no-mask` for a bare face), and `pairs.txt` in LFW's format. Without labels the folders
say it: `masked/<id>` and `unmasked/<id>`, or `<id>/masked` and `<id>/unmasked`.
Masked faces are probes, bare ones the gallery; a face without a label has neither role and is counted in a note.
"""

from __future__ import annotations

import re
from pathlib import Path

from edgeface.data.readers.files import common_crop, file_name, folders_in, inner, pictures_below, read_lines
from edgeface.data.readers.pairs import pairs_of
from edgeface.data.readers.types import CLEAN, GALLERY, MASK, PROBE, UNKNOWN, FaceSet, Format, Sample, Skipped
from edgeface_runtime.errors import InputError

__all__ = ["RMF2"]

LABELS = ("mfr2_labels.txt", "rmf2_labels.txt")
BARE = "no-mask"
MARKERS = {
    "masked": MASK,
    "mask": MASK,
    "with_mask": MASK,
    "unmasked": CLEAN,
    "no_mask": CLEAN,
    "nomask": CLEAN,
    "without_mask": CLEAN,
}
ROLES = {MASK: PROBE, CLEAN: GALLERY, UNKNOWN: ""}


def _open(path: Path) -> FaceSet:
    root = inner(path)
    skipped: list[Skipped] = []
    labels = _labels_file(root)
    samples = _by_labels(root, labels, skipped) if labels else _by_folders(root, skipped)
    if not samples:
        raise InputError(f"{path} holds no usable picture")
    unknown = sum(sample.condition == UNKNOWN for sample in samples)
    notes = (f"{unknown} pictures are not labelled masked or bare: they have no role",) if unknown else ()
    pairs = pairs_of(root / "pairs.txt", root, skipped)
    crop = common_crop(sample.source for sample in samples)
    return FaceSet(path, RMF2.name, tuple(samples), tuple(skipped), notes, crop_size=crop, pairs=pairs)


def _by_labels(root: Path, labels: Path, skipped: list[Skipped]) -> list[Sample]:
    kinds: dict[tuple[str, int], str] = {}
    lines: dict[tuple[str, int], int] = {}
    for number, line in enumerate(read_lines(labels), 1):
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != 3 or not fields[1].isdecimal():
            skipped.append(Skipped(f"{labels.name} line {number}", f"not 'name, number, mask': {line[:40]!r}"))
            continue
        kinds[fields[0], int(fields[1])] = fields[2]
        lines[fields[0], int(fields[1])] = number
    samples: list[Sample] = []
    for person in folders_in(root):
        for picture in pictures_below(person, root, skipped):
            match = re.fullmatch(r".*_(\d+)", picture.stem)
            key = (person.name, int(match[1]) if match else -1)
            kind = kinds.get(key)
            lines.pop(key, None)
            condition = UNKNOWN if kind is None else CLEAN if kind == BARE else MASK
            note = "" if kind is None or kind == BARE else kind
            name = file_name(picture, person)
            samples.append(Sample(person.name, name, picture, None, ROLES[condition], condition, note))
    skipped += [
        Skipped(f"{labels.name} line {line}", f"names {name} {number}, which is not there or unusable")
        for (name, number), line in lines.items()
    ]
    return samples


def _by_folders(root: Path, skipped: list[Skipped]) -> list[Sample]:
    samples: list[Sample] = []
    for outer in folders_in(root):
        for folder in folders_in(outer) if outer.name.lower() in MARKERS else [outer]:
            for picture in pictures_below(folder, root, skipped):
                name = file_name(picture, folder)
                marked = outer.name.lower() if folder != outer else picture.relative_to(folder).parts[0].lower()
                condition = MARKERS.get(marked, UNKNOWN)
                samples.append(Sample(folder.name, name, picture, None, ROLES[condition], condition))
    return samples


def _labels_file(root: Path) -> Path | None:
    return next((root / name for name in LABELS if (root / name).is_file()), None)


def _matches(path: Path) -> bool:
    if not path.is_dir():
        return False
    root = inner(path)
    if _labels_file(root):
        return True
    people = folders_in(root)
    return any(_both(folders) for folders in (people, *(folders_in(person) for person in people[:20])))


def _both(folders: list[Path]) -> bool:
    return {MASK, CLEAN} <= {MARKERS.get(folder.name.lower(), UNKNOWN) for folder in folders}


RMF2 = Format("rmf2", "NAME/NAME_0001.png with mfr2_labels.txt, or masked/ID and unmasked/ID", _matches, _open)
