"""Aligned crops of who was enrolled, kept where the user asks for it, so that another model can enrol them again.

Each is a PNG of a random name in a folder the user gives; the gallery knows which template it belongs to. A crop
whose template is gone is overwritten and removed by the next erasure, which stays pending until that is done.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeface_runtime.errors import InputError
from edgeface_runtime.files import flush
from edgeface_runtime.gallery_layout import seal
from edgeface_runtime.gallery_results import is_text

__all__ = ["Crop", "KeptCrop", "erase", "erase_file", "folder_of", "let_go", "link", "said_folder", "spoken_for"]


@dataclass(frozen=True)
class Crop:
    """One kept crop."""

    folder: str
    """Where it lies, from the gallery's own folder where it is below that, else from the root."""
    file: str
    """Its name there: random, says nothing."""
    sha256: str
    """Of the file."""
    spec: str
    """How it was cut, see `gallery_crop_files.crop_spec`."""


@dataclass(frozen=True)
class KeptCrop:
    """A template, and what it can be made anew from."""

    name: str
    """Whose it is."""
    source: str
    """Where it came from, as enrolled."""
    crop: Crop | None
    """None where none was kept."""


def said_folder(gallery: Path, folder: Path) -> str:
    """How a crop's folder is kept: `folder_of` gives it back, also after both were moved where it is below.

    Raises:
        InputError: its path is no text, which the gallery could not keep.
    """
    home, place = gallery.absolute().parent.resolve(), folder.absolute().resolve()
    said = str(place.relative_to(home)) if place.is_relative_to(home) else str(place)
    if not is_text(said):
        raise InputError(f"crops cannot be kept in {folder}: its path is not UTF-8: give another folder")
    return said


def folder_of(gallery: Path, folder: str) -> Path:
    """Where a crop's folder is."""
    return gallery.absolute().parent / folder


def link(connection: sqlite3.Connection, ids: Sequence[int], crops: Sequence[Crop]) -> None:
    """Say whose the crops are, within the enrolment's transaction: one a template."""
    rows = [(at, crop.folder, crop.file, crop.sha256, crop.spec) for at, crop in zip(ids, crops, strict=True)]
    first = int(connection.execute("SELECT COALESCE(MAX(id), 0) + 1 FROM crops").fetchone()[0])
    connection.executemany("INSERT INTO crops (template_id, folder, file, sha256, spec) VALUES (?, ?, ?, ?, ?)", rows)
    seal(connection, "crops", first)


def let_go(connection: sqlite3.Connection, template_id: int) -> None:
    """The template was replaced: its crop is another picture's, and goes with the next erasure."""
    ids = connection.execute("SELECT id FROM crops WHERE template_id = ?", (template_id,)).fetchall()
    for (row_id,) in ids:
        connection.execute("UPDATE crops SET template_id = 0 WHERE id = ?", (row_id,))
        seal(connection, "crops", row_id, row_id)


def spoken_for(connection: sqlite3.Connection) -> list[tuple[int, Crop]]:
    """(template id, crop) of every template that has one, by id."""
    rows = connection.execute(
        "SELECT template_id, folder, file, sha256, spec FROM crops WHERE template_id IN (SELECT id FROM templates) "
        "ORDER BY template_id"
    )
    return [(int(row[0]), Crop(*map(str, row[1:]))) for row in rows]


def erase(connection: sqlite3.Connection, gallery: Path) -> str | None:
    """Remove the crops of templates that are no more: None, or why some are still there."""
    gone = connection.execute(
        "SELECT id, folder, file FROM crops WHERE template_id NOT IN (SELECT id FROM templates)"
    ).fetchall()
    pending = None
    done, folders = [], set()
    for row_id, folder, file in gone:
        place = folder_of(gallery, str(folder))
        try:
            place.stat()  # a folder that is not there may be on a disk that is not mounted
            with contextlib.suppress(FileNotFoundError):
                erase_file(place / str(file))
            folders.add(place)
            done.append((row_id,))
        except FileNotFoundError:
            pending = f"the folder {place} of kept crops is not there: mount its disk, or, where they are gone for "
            pending += "good, make it anew, empty; then run edgeface gallery list"
        except (OSError, ValueError) as exc:  # a damaged name may be none
            why = exc.strerror or exc if isinstance(exc, OSError) else exc
            pending = f"the kept crop {place / str(file)} cannot be removed ({why}): remove it, or "
            pending += "make its folder writable, and run edgeface gallery list"
    for place in folders:
        flush(place)
    if done:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("DELETE FROM crops WHERE id = ?", done)
        connection.execute("COMMIT")
    return pending


def erase_file(path: Path) -> None:
    """Zeros over the file, to the disk, then no file."""
    handle = os.open(path, os.O_WRONLY | os.O_NOFOLLOW)
    try:
        os.write(handle, bytes(os.fstat(handle).st_size))
        os.fsync(handle)
    finally:
        os.close(handle)
    path.unlink()
