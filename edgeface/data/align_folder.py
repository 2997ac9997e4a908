"""Aligning a tree of photographs: SRC/<person>/... becomes DST/<person>/<name>.jpg, JPEG quality 95.

The detector and the transform are the runtime's own, so training and devices see the same crops. The work can be
killed and started again (`align_journal`): a finished picture is done again only when its file changed or its crop is
gone. At the end `align.json` names SRC, every crop, its source, box and landmarks, and every skipped picture with the
reason; box crops get a `landmarks.json` too, their five points in pixels of the crop. A folder of crops belongs to
one SRC: another one's crops are never mixed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edgeface.data.align_journal import JOURNAL, MANIFEST, Entry, Journal, earlier_entries
from edgeface.data.align_one import AlignSettings, fingerprint
from edgeface.data.align_pool import Task, align_all
from edgeface.data.align_sources import OTHER_FORMAT, list_sources, target_names
from edgeface_calibration.landmarks import LANDMARKS_NAME
from edgeface_runtime.align import template_for
from edgeface_runtime.errors import InputError
from edgeface_runtime.files import write_json

__all__ = ["AlignReport", "AlignSettings", "Skipped", "align_folder"]

FORMAT = "edgeface-align"
VERSION = 1


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

    outside: tuple[str, ...] = ()
    """Box crops (their names) with a landmark outside the crop."""


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
        workers: processes that share the pictures; the crops do not depend on it.
        progress: show a progress bar on stderr.

    Raises:
        InputError: `source` is missing or without pictures, `target` lies in it, was begun with other settings or
            from another source or holds something else, or cannot be written to; a process was killed.
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
    todo: list[Task] = []
    for path in pictures:
        relative = path.relative_to(source)
        old = earlier.get(relative.as_posix())
        if old and _unchanged(old, path, target, targets[relative]):
            entries[old["source"]] = old
        else:
            todo.append((path, relative.as_posix(), targets[relative]))
    reused = len(entries)
    if todo:
        _run(todo, target, settings, workers, progress, Journal(target, header, earlier.values()), entries)
    for path in others:
        name = path.relative_to(source).as_posix()
        entries[name] = {"source": name, **fingerprint(path), "skipped": OTHER_FORMAT}
    ordered = [entries[name] for name in sorted(entries)]
    outside: tuple[str, ...] = ()
    if settings.crop == "box":
        points = {entry["crop"]: entry["crop_landmarks"] for entry in ordered if "crop" in entry}
        write_json(target / LANDMARKS_NAME, dict(sorted(points.items())))
        outside = tuple(sorted(crop for crop, own in points.items() if _any_outside(own, settings.crop_size)))
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
        outside=outside,
    )


def _header(source: Path, settings: AlignSettings) -> Entry:
    height, width = settings.crop_size
    template = template_for((height, width)) if settings.template is None else np.array(settings.template)
    return {
        "format": FORMAT,
        "version": VERSION,
        "source": str(source.resolve()),
        "min_face": settings.min_face,
        "jpeg_quality": settings.jpeg_quality,
        "height": height,
        "width": width,
        **({"template": template.tolist()} if settings.crop == "aligned" else {"crop": settings.crop}),
    }


def _any_outside(points: list[list[float]], size: tuple[int, int]) -> bool:
    height, width = size
    return not all(0 <= x < width and 0 <= y < height for x, y in points)


def _unchanged(entry: Entry, path: Path, target: Path, crop: str | None) -> bool:
    if any(entry.get(key) != value for key, value in fingerprint(path).items()):
        return False
    return "skipped" in entry or (entry.get("crop") == crop and (target / str(crop)).is_file())


def _run(
    todo: list[Task],
    target: Path,
    settings: AlignSettings,
    workers: int,
    progress: bool,
    journal: Journal,
    entries: dict[str, Entry],
) -> None:
    columns = (TextColumn("aligning"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with journal, Progress(*columns, console=Console(stderr=True), disable=not progress) as bar:
        task = bar.add_task("aligning", total=len(todo))
        for entry in align_all(todo, target, settings, workers):
            journal.add(entry)
            entries[entry["source"]] = entry
            bar.advance(task)
