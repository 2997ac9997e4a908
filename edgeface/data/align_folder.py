"""Aligning a tree of photographs: SRC/<person>/... becomes DST/<person>/<name>.jpg, 112x96 crops, JPEG quality 95.

The detector and the transform are the runtime's own, so training and devices see the same crops. The work can be
killed and started again (`align_journal`): a finished picture is done again only when its file changed or its crop is
gone. At the end `align.json` names SRC, every crop, its source, box and landmarks, and every skipped picture with the
reason. A folder of crops belongs to one SRC: another one's crops are never mixed in.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path

import cv2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edgeface.data.align_journal import JOURNAL, MANIFEST, Entry, Journal, earlier_entries
from edgeface.data.align_sources import OTHER_FORMAT, list_sources, target_names
from edgeface_runtime.align import CROP_SIZE, TEMPLATE, align
from edgeface_runtime.detect import Detector, largest_central
from edgeface_runtime.errors import EdgefaceError, FaceError, InputError
from edgeface_runtime.files import write_bytes, write_json
from edgeface_runtime.image import read_image

__all__ = ["AlignReport", "AlignSettings", "Skipped", "align_folder"]

FORMAT = "edgeface-align"
VERSION = 1


@dataclass(frozen=True)
class AlignSettings:
    """What decides how the crops come out; a folder is resumed only under the settings it was begun with."""

    min_face: int = 40
    """Smallest side of a face to look for, pixels."""

    jpeg_quality: int = 95
    """JPEG quality of the crops, 1 to 100."""

    def __post_init__(self) -> None:
        if self.min_face < 12:
            raise ValueError(f"--min-face must be at least 12 pixels, got {self.min_face}")
        if not 1 <= self.jpeg_quality <= 100:
            raise ValueError(f"--quality must be from 1 to 100, got {self.jpeg_quality}")


@dataclass(frozen=True)
class Skipped:
    """A picture that gave no crop."""

    source: str
    """Its path within SRC."""

    reason: str
    """One line."""


@dataclass(frozen=True)
class AlignReport:
    """What `align_folder` did."""

    aligned: int
    """Crops that are in DST now."""

    reused: int
    """Pictures (crops and skipped ones) already done by an earlier run."""

    skipped: tuple[Skipped, ...]
    """Every picture without a crop, and every file of a format that is not read."""

    identities: int
    """People with at least one crop."""

    manifest: Path
    """The file that lists it all."""


def align_folder(
    source: Path,
    target: Path,
    settings: AlignSettings | None = None,
    workers: int = 1,
    progress: bool = True,
) -> AlignReport:
    """Find, align and crop the largest central face of every picture below `source`.

    Args:
        source: a folder of one folder per person; deeper folders count to the person.
        target: where the crops go, outside `source`.
        settings: see `AlignSettings`.
        workers: pictures worked on at once.
        progress: show a progress bar on stderr.

    Raises:
        InputError: `source` is missing or without pictures, `target` lies in it, was begun with other settings or
            from another source or holds something else, or cannot be written to.
        MissingExtraError: ONNX Runtime is not installed.
    """
    settings = settings or AlignSettings()
    if workers < 1:
        raise InputError(f"--workers must be at least 1, got {workers}")
    pictures, others = list_sources(source)
    if target.resolve().is_relative_to(source.resolve()):
        raise InputError(f"{target} lies in {source}: write the crops somewhere else")
    header = _header(source, settings)
    earlier = earlier_entries(target, header)
    targets = target_names([path.relative_to(source) for path in pictures])
    entries: dict[str, Entry] = {}
    todo: list[Path] = []
    for path in pictures:
        old = earlier.get(path.relative_to(source).as_posix())
        if old and _unchanged(old, path, target, targets[path.relative_to(source)]):
            entries[old["source"]] = old
        else:
            todo.append(path)
    reused = len(entries)
    if todo:
        with Detector(min_face=settings.min_face) as detector:

            def work(path: Path) -> Entry:
                name = path.relative_to(source)
                return _align_one(path, name, target, targets[name], detector, settings)

            _run(work, todo, workers, progress, Journal(target, header, earlier.values()), entries)
    for path in others:
        name = path.relative_to(source).as_posix()
        entries[name] = {"source": name, **_fingerprint(path), "skipped": OTHER_FORMAT}
    ordered = [entries[name] for name in sorted(entries)]
    manifest = target / MANIFEST
    write_json(manifest, {**header, "pictures": ordered})
    (target / JOURNAL).unlink(missing_ok=True)
    crops = [entry["crop"] for entry in ordered if "crop" in entry]
    return AlignReport(
        aligned=len(crops),
        reused=reused,
        skipped=tuple(Skipped(e["source"], e["skipped"]) for e in ordered if "skipped" in e),
        identities=len({Path(crop).parts[0] for crop in crops}),
        manifest=manifest,
    )


def _header(source: Path, settings: AlignSettings) -> Entry:
    return {
        "format": FORMAT,
        "version": VERSION,
        "source": str(source.resolve()),
        "min_face": settings.min_face,
        "jpeg_quality": settings.jpeg_quality,
        "height": CROP_SIZE[0],
        "width": CROP_SIZE[1],
        "template": TEMPLATE.tolist(),
    }


def _align_one(
    path: Path, name: Path, target: Path, crop: str | None, detector: Detector, settings: AlignSettings
) -> Entry:
    entry: Entry = {"source": name.as_posix(), **_fingerprint(path)}
    if crop is None:
        return {**entry, "skipped": "lies in no person's folder"}
    try:
        image = read_image(path)
        faces = detector.detect(image)
        if not faces:
            raise FaceError(f"no face of {settings.min_face} pixels or more found")
        face = largest_central(faces, image.shape)
        pixels = align(image, face.landmarks)
    except EdgefaceError as exc:
        return {**entry, "skipped": str(exc).replace(f"{path} is", "is")}
    done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, settings.jpeg_quality])
    assert done
    write_bytes(target / crop, data.tobytes())
    return {
        **entry,
        "crop": crop,
        "faces": len(faces),
        "score": round(face.score, 4),
        "box": [round(float(value), 2) for value in face.box],
        "landmarks": [[round(float(x), 2), round(float(y), 2)] for x, y in face.landmarks],
    }


def _fingerprint(path: Path) -> Entry:
    try:
        stat = path.stat()
    except OSError:
        return {"size_bytes": -1, "modified_ns": -1}
    return {"size_bytes": stat.st_size, "modified_ns": stat.st_mtime_ns}


def _unchanged(entry: Entry, path: Path, target: Path, crop: str | None) -> bool:
    if any(entry.get(key) != value for key, value in _fingerprint(path).items()):
        return False
    return "skipped" in entry or (entry.get("crop") == crop and (target / str(crop)).is_file())


def _run(
    work: Callable[[Path], Entry],
    todo: list[Path],
    workers: int,
    progress: bool,
    journal: Journal,
    entries: dict[str, Entry],
) -> None:
    columns = (TextColumn("aligning"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with (
        journal,
        ThreadPoolExecutor(workers) as pool,
        Progress(*columns, console=console, disable=not progress) as bar,
    ):
        task = bar.add_task("aligning", total=len(todo))
        futures = [pool.submit(work, path) for path in todo]
        try:
            for future in as_completed(futures):
                entry = future.result()
                journal.add(entry)
                entries[entry["source"]] = entry
                bar.advance(task)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
