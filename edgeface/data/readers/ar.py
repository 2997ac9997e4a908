"""The AR face database (Martinez & Benavente 1998): `m-001-01.bmp`: sex, person, picture 1 to 26.

Women are `w-` or `f-`, numbers may lack their zeros; case does not matter. Pictures 1 to 13 are the first session, 14
to 26 the second in the same order: neutral, smile, anger, scream, light from the left, right, both sides; sunglasses,
with light from the left, right; scarf, with light from the left, right. The neutral picture of the first session is
the gallery, all others are probes. Original `.raw` files are not read: convert them, keeping their names.
"""

from __future__ import annotations

import itertools
import re
from pathlib import Path

from edgeface.data.readers.files import common_crop, folders_in, pictures_below
from edgeface.data.readers.types import CLEAN, GALLERY, PROBE, FaceSet, Format, Sample, Skipped
from edgeface_runtime.errors import InputError

__all__ = ["AR"]

NAME = re.compile(r"([mwf])-(\d{1,3})-(\d{1,2})", re.IGNORECASE)
PER_SESSION = 13
CONDITIONS = {
    1: (CLEAN, "neutral"),
    2: (CLEAN, "smile"),
    3: (CLEAN, "anger"),
    4: (CLEAN, "scream"),
    5: (CLEAN, "left light"),
    6: (CLEAN, "right light"),
    7: (CLEAN, "both lights"),
    8: ("sunglasses", ""),
    9: ("sunglasses", "left light"),
    10: ("sunglasses", "right light"),
    11: ("scarf", ""),
    12: ("scarf", "left light"),
    13: ("scarf", "right light"),
}


def _open(path: Path) -> FaceSet:
    skipped: list[Skipped] = []
    samples: dict[tuple[str, int], Sample] = {}
    for picture in pictures_below(path, path, skipped):
        where = picture.relative_to(path).as_posix()
        match = NAME.fullmatch(picture.stem)
        if match is None or not 1 <= int(match[3]) <= 2 * PER_SESSION:
            skipped.append(Skipped(where, "not named like m-001-01, picture 1 to 26"))
            continue
        identity, number = f"{match[1].lower()}-{int(match[2]):03d}", int(match[3])
        if (identity, number) in samples:
            first = samples[identity, number].source.relative_to(path).as_posix()
            skipped.append(Skipped(where, f"the same person and number as {first}"))
            continue
        condition, note = CONDITIONS[(number - 1) % PER_SESSION + 1]
        session = f"session {(number - 1) // PER_SESSION + 1}"
        name = f"{identity}-{number:02d}{picture.suffix.lower()}"
        role = GALLERY if number == 1 else PROBE
        note = f"{note}, {session}" if note else session
        samples[identity, number] = Sample(identity, name, picture, None, role, condition, note)
    if not samples:
        raise InputError(f"{path} holds no usable picture named like m-001-01.bmp")
    bare = {sample.identity for sample in samples.values()} - {name for name, number in samples if number == 1}
    notes = (f"{len(bare)} people lack picture 01, so the gallery lacks them",) if bare else ()
    crop = common_crop(sample.source for sample in samples.values())
    return FaceSet(path, AR.name, tuple(samples.values()), tuple(skipped), notes, crop_size=crop)


def _matches(path: Path) -> bool:
    if not path.is_dir():
        return False
    for folder in (path, *folders_in(path)[:3]):
        if any(NAME.fullmatch(entry.stem) for entry in itertools.islice(folder.iterdir(), 50)):
            return True
    return False


AR = Format("ar", "m-001-01.bmp and w-001-01.bmp, pictures 1 to 26", _matches, _open)
