"""Writing a published data set as identity folders: DST/<person>/<picture>, or DST/<role>/<person>/<picture> where
the set has several roles (gallery, probe, distractor).

Aligned crops come out as 112x96 on our template: crops of 112x96 are copied; insightface's 112x112 template is ours
moved 8 pixels to the right, so columns 8 to 103 of its crops are ours, written as JPEG of quality 95. Photographs are
copied byte for byte; `edgeface data align` makes crops of them. Every picture is decoded once: what is damaged, or of
another size than the set's crops, is listed and not written.

The work can be killed and started again. At the end `import.json` lists every picture with its source, person, role
and condition, and everything skipped with the reason; where no picture could be used there is no such file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface.data.align_journal import Entry, Journal, earlier_entries
from edgeface.data.align_one import fingerprint
from edgeface.data.readers.casia_rec import INSIGHTFACE_SIZE
from edgeface.data.readers.types import FaceSet, Sample, Skipped
from edgeface_runtime.align import CROP_SIZE
from edgeface_runtime.errors import EdgefaceError, ImageError, InputError
from edgeface_runtime.files import write_bytes, write_json
from edgeface_runtime.image import decode_image

__all__ = ["TEMPLATES", "ImportReport", "check_template", "import_set", "recrop"]

MANIFEST, JOURNAL = "import.json", "import.part.jsonl"
QUALITY = 95
THREADS, CHUNK = 8, 64
"""Writers, which wait for the disk most of the time, and the pictures they are given at once."""
OTHER = "other"
"""The folder of samples without a role, where others have one."""

TEMPLATES: dict[str, tuple[int, int] | None] = {"edgeface": CROP_SIZE, "insightface": INSIGHTFACE_SIZE, "none": None}
"""How a set's pictures are aligned: height and width of the crops, None for photographs."""


@dataclass(frozen=True)
class ImportReport:
    """What `import_set` did."""

    written: int
    """Pictures that are in DST now."""
    reused: int
    """Pictures (written and skipped ones) already done by an earlier run."""
    people: int
    roles: dict[str, int]
    """Role -> pictures written."""
    skipped: tuple[Skipped, ...]
    """Everything left out, by the reader and by the import."""
    notes: tuple[str, ...]
    aligned: bool
    """Whether the pictures are 112x96 crops now."""
    manifest: Path | None
    """import.json; None where nothing was written, so that another try starts afresh."""


def check_template(template: str | None) -> None:
    """Raises InputError: not None, nor one of `TEMPLATES`."""
    if template is not None and template not in TEMPLATES:
        raise InputError(f"--template must be one of {', '.join(TEMPLATES)}, got {template!r}")


def recrop(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Our part of an insightface crop.

    Args:
        image: (112, 112, 3) uint8, aligned on insightface's template.

    Returns:
        (112, 96, 3) uint8, aligned on ours.
    """
    margin = (INSIGHTFACE_SIZE[1] - CROP_SIZE[1]) // 2
    return np.ascontiguousarray(image[:, margin : margin + CROP_SIZE[1]])


def import_set(
    faces: FaceSet,
    target: Path,
    template: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> ImportReport:
    """Write a data set as identity folders.

    Args:
        faces: from `open_reader`.
        target: where the folders go, outside the set.
        template: one of `TEMPLATES`; None: as the reader found.
        progress: called with (pictures done, pictures in all).

    Raises:
        InputError: an unknown template; `target` lies in the set, was begun with another set or other settings, or
            cannot be written to.
    """
    check_template(template)
    size = faces.crop_size if template is None else TEMPLATES[template]
    source = faces.root if faces.root.is_dir() else faces.root.parent
    if target.resolve().is_relative_to(source.resolve()):
        raise InputError(f"{target} lies in {source}: write the folders somewhere else")
    header = {
        "format": "edgeface-import",
        "version": 1,
        "source": str(faces.root.resolve()),
        "layout": faces.format,
        "crop": list(size) if size else None,
    }
    earlier = earlier_entries(target, header, MANIFEST, JOURNAL, "imported")
    entries: list[Entry] = []
    todo: list[tuple[Sample, str, Entry]] = []
    for sample, name, base in _named(faces, size):
        old = earlier.get(base["source"])
        if old and all(old.get(key) == value for key, value in base.items()) and _there(old, target, name):
            entries.append(old)
        else:
            todo.append((sample, name, base))
    reused, total = len(entries), len(faces.samples)
    if todo:

        def write(task: tuple[Sample, str, Entry]) -> Entry:
            sample, name, base = task
            return _write(faces, sample, target, name, base, size)

        with Journal(target, header, entries, JOURNAL) as journal, ThreadPoolExecutor(THREADS) as pool:
            for start in range(0, len(todo), CHUNK):
                for entry in pool.map(write, todo[start : start + CHUNK]):
                    journal.add(entry)
                    entries.append(entry)
                    if progress is not None:
                        progress(len(entries), total)
    skipped = (*faces.skipped, *(Skipped(e["source"], e["skipped"]) for e in entries if "skipped" in e))
    written = sorted((entry for entry in entries if "picture" in entry), key=lambda entry: entry["picture"])
    manifest = target / MANIFEST if written else None
    if manifest is not None:
        left = [{"source": entry.name, "skipped": entry.reason} for entry in skipped]
        own = {entry["source"]: entry for entry in entries if "skipped" in entry}
        pictures = [*written, *(own.get(entry["source"], entry) for entry in left)]
        write_json(manifest, {**header, "notes": list(faces.notes), "pictures": pictures})
    (target / JOURNAL).unlink(missing_ok=True)
    roles: dict[str, int] = {}
    for entry in written:
        roles[entry["role"]] = roles.get(entry["role"], 0) + 1
    people = len({entry["person"] for entry in written})
    return ImportReport(len(written), reused, people, roles, skipped, faces.notes, size is not None, manifest)


def _named(faces: FaceSet, size: tuple[int, int] | None) -> Iterator[tuple[Sample, str, Entry]]:
    """Every sample with its name in the target, no two alike, and the start of its entry."""
    several = len(faces.roles) > 1
    taken: set[str] = set()
    record_stamp = fingerprint(faces.records.path) if faces.records is not None else {}
    for sample in faces.samples:
        folder = f"{sample.role or OTHER}/{sample.identity}" if several else sample.identity
        stem, suffix = Path(sample.name).stem, Path(sample.name).suffix
        if size == INSIGHTFACE_SIZE:
            suffix = ".jpg"
        name, number = f"{folder}/{stem}{suffix}", 2
        while name.lower() in taken:
            name, number = f"{folder}/{stem}.{number}{suffix}", number + 1
        taken.add(name.lower())
        stamp = record_stamp if sample.key is not None else fingerprint(sample.source)
        about = {"person": sample.identity, "role": sample.role, "condition": sample.condition, "note": sample.note}
        yield sample, name, {"source": _source(faces, sample), **stamp, **about}


def _source(faces: FaceSet, sample: Sample) -> str:
    if sample.key is not None:
        return f"{sample.source.name}#{sample.key}"
    return sample.source.relative_to(faces.root).as_posix()


def _there(entry: Entry, target: Path, name: str) -> bool:
    return "skipped" in entry or (entry.get("picture") == name and (target / name).is_file())


def _write(
    faces: FaceSet, sample: Sample, target: Path, name: str, base: Entry, size: tuple[int, int] | None
) -> Entry:
    try:
        data = faces.read(sample)
        image = decode_image(data, base["source"])
        if size is not None and image.shape[:2] != size:
            height, width = image.shape[:2]
            raise ImageError(f"{base['source']} is {height}x{width}, the crops of this set are {size[0]}x{size[1]}")
    except EdgefaceError as exc:
        return {**base, "skipped": str(exc).replace(f"{base['source']} is", "is")}
    if size == INSIGHTFACE_SIZE:
        done, encoded = cv2.imencode(".jpg", recrop(image), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        assert done
        data = encoded.tobytes()
    write_bytes(target / name, data)
    return {**base, "picture": name}
