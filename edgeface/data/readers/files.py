"""What readers of folders share: a folder's pictures, and the files left out with their reason."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from edgeface.data.align_sources import OTHER_FORMAT
from edgeface.data.folders import unusable
from edgeface.data.readers.types import Skipped
from edgeface_runtime.align import CROP_SIZE
from edgeface_runtime.errors import InputError
from edgeface_runtime.image import IMAGE_SUFFIXES
from edgeface_runtime.image_header import read_header

__all__ = ["common_crop", "file_name", "folders_in", "inner", "pictures_below", "read_json", "read_lines"]

BESIDE = frozenset(
    {".txt", ".json", ".md", ".csv", ".xml", ".mat", ".bin", ".npy", ".pts", ".db", ".ini", ".html", ""}
)
"""Suffixes of what lies beside pictures and nobody takes for one."""


def folders_in(folder: Path) -> list[Path]:
    """Its folders, sorted, hidden ones left out.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as exc:
        raise InputError(f"cannot read folder {folder}: {exc.strerror or exc}") from exc


def pictures_below(folder: Path, root: Path, skipped: list[Skipped]) -> Iterator[Path]:
    """The pictures of a folder and of those in it, sorted; what cannot be one is added to `skipped`."""
    for path in _files_below(folder):
        name = path.relative_to(root).as_posix()
        if path.suffix.lower() in IMAGE_SUFFIXES:
            reason = unusable(path)
            if reason is None:
                yield path
            else:
                skipped.append(Skipped(name, reason))
        elif path.suffix.lower() not in BESIDE:
            skipped.append(Skipped(name, OTHER_FORMAT))


def file_name(path: Path, person: Path) -> str:
    """What a picture is called within its person: folders in between become part of the name."""
    return "_".join(path.relative_to(person).parts)


def common_crop(paths: Iterable[Path]) -> tuple[int, int] | None:
    """112x96 where the first three pictures have that size, which aligned crops have; else None."""
    sizes = set()
    for path in itertools.islice(paths, 3):
        try:
            header = read_header(path.read_bytes())
        except OSError:
            continue
        if header is not None:
            sizes.add((header.height, header.width))
    return CROP_SIZE if sizes == {CROP_SIZE} else None


def inner(folder: Path) -> Path:
    """The folder of its own name within it, as archives are often unpacked; else itself."""
    same = folder / folder.name
    return same if same.is_dir() else folder


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, blank ones left out.

    Raises:
        InputError: it cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except OSError as exc:
        raise InputError(f"cannot read {path}: {exc.strerror or exc}") from exc
    return [line.strip() for line in text.splitlines() if line.strip()]


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        InputError: it cannot be read or is damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as exc:
        raise InputError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except ValueError as exc:
        raise InputError(f"{path} is no JSON or is damaged: copy it again") from exc


def _files_below(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith("."):
                yield Path(place) / name
