"""Searching a large gallery: its index follows the changes of any process, what it finds is scored exactly.

The templates in the SQLite file stay the truth. From `FILE_FROM` templates on the index is kept in a file beside it;
one that is missing, stale, damaged or cannot be written costs time, never a result, and `describe` says so.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeface_runtime import gallery_changes as changes
from edgeface_runtime import gallery_index_file as file
from edgeface_runtime.errors import InputError
from edgeface_runtime.gallery_codes import Floats, Product, quantise, quantise_probe
from edgeface_runtime.gallery_index import ROWS, DamagedIndexError, Index, View
from edgeface_runtime.gallery_rank import best_people
from edgeface_runtime.gallery_rows import Rows
from edgeface_runtime.gallery_store import reading
from edgeface_runtime.gallery_templates import stack

__all__ = ["FILE_FROM", "INDEX_FROM", "LargeGallery", "Progress"]

INDEX_FROM = 10_000
"""Templates from which a gallery is searched by its index; a smaller one is multiplied as it is."""
FILE_FROM = 50_000
"""Templates from which the index is kept in a file; a smaller one is made in half a second."""
BEHIND = 20_000
"""Changes after which the file is written anew: following them at the next opening takes less than half a second."""
VARIABLES = 500
"""Ids of one SQL statement."""

Progress = Callable[[int, int], None]
"""Called with the templates done and all of them."""


class LargeGallery:
    """The index of one gallery, in one process; its caller holds the gallery's lock, but for `View.bounds`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = file.index_path(path)
        self.size = 0
        """Length of an embedding, once the gallery has been read."""
        self.rows = Rows(path)
        """What reads its rows; encrypted ones have no index file."""
        self.product = Product()
        self.index: Index | None = None
        self._unsaved = 0
        self._left = False
        """Whether the file may hold people who have left: its writer was killed before it looked once more."""
        self._from = "none"
        self._note: str | None = None

    def describe(self) -> dict[str, Any]:
        """As JSON data: who multiplies, whether the index was made or came from its file, what is wrong with that."""
        return {
            "multiplied_by": None if self.index is None else self.product.name,
            "index": self._from,
            "note": self._note,
            "encrypted": self.rows.encrypted,
        }

    def follow(self, connection: sqlite3.Connection, progress: Progress | None = None) -> View:
        """A view of the gallery as it is now.

        Raises:
            ArtefactError: the gallery is damaged.
        """
        known, self.index = self.index, None  # half a change must not be gone on from
        with reading(connection):
            self.rows.check(connection)
            now = changes.state(connection)
            try:
                current = self._current(connection, now, known)
                if current is not None:
                    current.check()
            except DamagedIndexError as exc:
                current = self._second_try(connection, now, exc)
            if current is None:
                current = self._build(connection, now, progress)
            self.index = current
        if self._unsaved > BEHIND and not connection.in_transaction:
            self._save(connection, current)
        elif self._left:
            self._note = self.erase(connection) or self._note
        self._left = False
        return current.view()

    def _current(self, connection: sqlite3.Connection, now: changes.State, index: Index | None) -> Index | None:
        """The index in memory, or the file's, brought up to date; None where there is none that can be."""
        loaded = False
        if index is None and not self.rows.encrypted and self.file.exists():
            try:
                index, loaded = file.load(self.file, self.size), True
            except OSError as exc:
                self._note = f"{self.file} cannot be read: {exc.strerror or exc}"
        if index is None:
            return None
        changed = index.state != now
        if changed:
            if not changes.descends(connection, index.state, now):
                self._note = f"{self.file} is not of this gallery's past: made anew" if loaded else self._note
                return None
            self._left = self._catch_up(connection, index, now) > 0 and loaded
        living = index.living() if loaded or changed else index.count
        if loaded:
            if living != connection.execute("SELECT COUNT(*) FROM templates").fetchone()[0]:
                raise DamagedIndexError("it has not as many templates as the gallery")
            self._from = "file"
        return None if index.count > 2 * living + ROWS else index

    def _second_try(
        self, connection: sqlite3.Connection, now: changes.State, damage: DamagedIndexError
    ) -> Index | None:
        """The file may have been written anew while we had the old one mapped: look once more, else say it."""
        try:
            index = self._current(connection, now, None)
            if index is not None:
                index.check()
            return index
        except DamagedIndexError:
            self._note = f"{self.file} was damaged ({damage}): made anew"
            return None

    def _catch_up(self, connection: sqlite3.Connection, index: Index, now: changes.State) -> int:
        """Bring the index up to date; how many templates were deleted or replaced."""
        changed = changes.changed_since(connection, index.state)
        if changed:
            self.rows.forget()  # somebody may have been erased by another process
        index.remove(np.array(changed, np.int64))
        for start in range(0, len(changed), VARIABLES):
            ids, templates, _ = self._rows(connection, changed[start : start + VARIABLES])
            index.replace(ids, quantise(templates))
        added = self._append(connection, index, None)
        self._unsaved += len(changed) + added
        index.state = now
        return len(changed)

    def _build(self, connection: sqlite3.Connection, now: changes.State, progress: Progress | None) -> Index:
        index = Index(self.size, changes.State(0, 0, ""))
        self._append(connection, index, progress)
        index.state = now
        self._from = "made"
        self._unsaved = BEHIND + 1 if index.count >= FILE_FROM else 0
        return index

    def _append(self, connection: sqlite3.Connection, index: Index, progress: Progress | None) -> int:
        """Add the templates that are new since the index's state; their number."""
        total = connection.execute("SELECT COUNT(*) FROM templates").fetchone()[0] if progress else 0
        added = 0
        for page in self.rows.read(connection, "templates.id > ?", (index.state.last_id,), page=ROWS // 8):
            templates = stack([row.blob for row in page], self.size, self.path)
            index.append(np.array([row.id for row in page], np.int64), quantise(templates))
            added += len(page)
            if progress is not None:
                progress(added, total)
        return added

    def _save(self, connection: sqlite3.Connection, index: Index) -> None:
        self._unsaved = 0
        if self.rows.encrypted or index.living() < FILE_FROM:
            return
        try:
            file.save(self.file, index)
        except InputError as exc:
            self._note = f"the index is in memory only: {exc}"
            return
        # Whom another process deleted meanwhile must not stay in this file.
        self._note = self.erase(connection) or self._note

    def erase(self, connection: sqlite3.Connection) -> str | None:
        """Take who was deleted or replaced out of the file: None, or why that could not be done."""

        def gone(old: changes.State) -> list[int] | None:
            with reading(connection):
                past = changes.descends(connection, old, changes.state(connection))
                return changes.changed_since(connection, old) if past else None

        try:
            if self.rows.encrypted:  # one of the time before
                file.remove(self.file)
            else:
                file.erase(self.file, gone)
        except OSError as exc:
            why = exc.strerror or exc
            if self.file.exists():
                return f"the index file {self.file} cannot be written ({why}): delete it"
            return f"{self.file.parent} cannot be flushed ({why}): run edgeface gallery list once that is mended"
        return None

    def search(
        self, connection: sqlite3.Connection, view: View, bounds: Floats, probe: Floats, top: int
    ) -> list[tuple[str, float]] | None:
        """(name, score) of the best people, or None where the gallery is no longer in the view's state."""

        def fetch(ids: npt.NDArray[np.int64]) -> tuple[list[str], Floats]:
            _, templates, names = self._rows(connection, ids.tolist())
            return names, templates

        with reading(connection):
            if changes.state(connection) != view.state:
                return None
            # A row in eight bits is half as far off as the probe in seven.
            return best_people(bounds, view.ids, probe, top, fetch, 1.5 * quantise_probe(probe).error)

    def bounds(self, view: View, probe: Floats) -> Floats:
        """(T,) float32: no row's score is above; needs no lock."""
        return view.bounds(quantise_probe(probe), self.product)

    def _rows(
        self, connection: sqlite3.Connection, ids: list[int]
    ) -> tuple[npt.NDArray[np.int64], Floats, list[str]]:
        marks = ",".join("?" * len(ids))
        found = [row for page in self.rows.read(connection, f"templates.id IN ({marks})", ids) for row in page]
        templates = stack([row.blob for row in found], self.size, self.path)
        return np.array([row.id for row in found], np.int64), templates, [row.name for row in found]
