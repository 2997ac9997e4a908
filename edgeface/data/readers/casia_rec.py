"""CASIA-WebFace (or another training set) as insightface publishes it: `train.rec`, `train.idx`, `property`.

`property` holds `people,height,width`: 10572,112,112. Record 0 is a header without a picture, its two labels N and M:
records 1 to N-1 are pictures, N to M-1 say which records are one person's. A picture's own label is what networks are
trained with, so it is the identity here. Crops of 112x112 are aligned on insightface's template.
"""

from __future__ import annotations

import math
from pathlib import Path

from edgeface.data.readers.files import read_lines
from edgeface.data.readers.types import CLEAN, TRAIN, FaceSet, Format, Sample, Skipped
from edgeface.data.recordio import Record, RecordError, RecordFile
from edgeface_runtime.align import CROP_SIZE
from edgeface_runtime.errors import InputError
from edgeface_runtime.image_header import read_header

__all__ = ["CASIA_REC", "INSIGHTFACE_SIZE"]

INSIGHTFACE_SIZE = (112, 112)
"""Height and width of insightface's crops, pixels."""

_SUFFIXES = {b"\xff\xd8\xff": ".jpg", b"\x89PN": ".png"}


def _open(path: Path) -> FaceSet:
    source = _record_file(path)
    if source is None:
        raise InputError(f"{path} holds no train.rec")
    records = RecordFile(source)
    try:
        return _list(path, records)
    except BaseException:
        records.close()
        raise


def _list(path: Path, records: RecordFile) -> FaceSet:
    notes: list[str] = []
    skipped = [Skipped(f"{records.path.name} {entry.where}", entry.reason) for entry in records.damaged]
    samples: list[Sample] = []
    last = 0
    for key in records.offsets:
        try:
            record = records.peek(key)
            if record.data:
                samples.append(_sample(records.path, key, record))
            elif key == 0 and len(record.labels) == 2 and all(map(math.isfinite, record.labels)):
                last = int(record.labels[0])
        except RecordError as exc:
            skipped.append(Skipped(f"record {key}", str(exc)))
    if not samples:
        hint = f": if {records.path.stem}.idx belongs to another file, remove it" if records.indexed else ""
        first = f", first {skipped[0].name}: {skipped[0].reason}" if skipped else ""
        raise InputError(f"{records.path} has no usable picture{first}{hint}")
    if records.indexed:
        absent = sorted(set(range(1, last)) - records.offsets.keys())
        skipped += [Skipped(f"record {key}", "promised by the header, not in the index") for key in absent]
    else:
        notes.append("no usable index: records are numbered in the file's order")
    people = len({sample.identity for sample in samples})
    size = _property(records, people, notes) or _first_size(records, samples)
    if size not in (INSIGHTFACE_SIZE, CROP_SIZE):
        size = None
    return FaceSet(
        path, CASIA_REC.name, tuple(samples), tuple(skipped), tuple(notes), crop_size=size, records=records
    )


def _sample(source: Path, key: int, record: Record) -> Sample:
    label = record.labels[0]
    if not math.isfinite(label) or label < 0 or label != int(label):
        raise RecordError(f"label {label} is no identity")
    suffix = _SUFFIXES.get(record.data[:3])
    if suffix is None:
        raise RecordError("holds neither a JPEG nor a PNG picture")
    return Sample(f"{int(label):06d}", f"{key:08d}{suffix}", source, key, TRAIN, CLEAN)


def _property(records: RecordFile, people: int, notes: list[str]) -> tuple[int, int] | None:
    """Height and width by the `property` file, None without a usable one."""
    path = records.path.parent / "property"
    if not path.is_file():
        return None
    lines = read_lines(path)
    fields = [field.strip() for field in lines[0].split(",")] if lines else []
    if len(fields) != 3 or not all(field.isdecimal() for field in fields):
        notes.append("property is not 'people,height,width': not used")
        return None
    promised, height, width = map(int, fields)
    if promised != people:
        notes.append(f"property promises {promised} people, {people} have a usable picture")
    return height, width


def _first_size(records: RecordFile, samples: list[Sample]) -> tuple[int, int] | None:
    key = samples[0].key
    assert key is not None
    header = read_header(records.read(key).data)
    return None if header is None else (header.height, header.width)


def _record_file(path: Path) -> Path | None:
    if path.is_file():
        return path if path.suffix == ".rec" else None
    if (path / "train.rec").is_file():
        return path / "train.rec"
    found = sorted(path.glob("*.rec")) if path.is_dir() else []
    return found[0] if len(found) == 1 else None


CASIA_REC = Format("casia-rec", "train.rec with train.idx and property", lambda p: _record_file(p) is not None, _open)
