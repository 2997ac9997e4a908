"""A local copy of a gallery on a server: a gallery file of its own kind, which only the server's changes alter.

It holds names and templates, not where pictures came from. Who was deleted on the server is taken out of the file as
`Gallery.delete` would, index included.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeface_runtime import gallery_changes as changes
from edgeface_runtime import gallery_store as store
from edgeface_runtime.gallery import Gallery

__all__ = ["GalleryCopy"]

Floats = npt.NDArray[np.float32]
VARIABLES = 500
"""Ids of one SQL statement."""


class GalleryCopy(Gallery):
    """The copy at `path` of the gallery at `origin`; made where `model_id` and `embedding_size` are given.

    Raises:
        InputError: missing and not to be made, not writable, or no copy of `origin`.
        ArtefactError: damaged, too new, or of another model.
    """

    def __init__(
        self,
        path: Path,
        origin: str,
        model_id: str | None = None,
        embedding_size: int | None = None,
        make: bool = True,
    ) -> None:
        super().__init__(path, model_id, embedding_size, make, None, origin)

    def versions(self) -> dict[int, int]:
        """The server's id -> change number of each template that is copied."""
        with self._lock, store.guarded(self.path):
            return {int(row[0]): int(row[1]) for row in self._open().execute("SELECT id, changed FROM remote")}

    def synced(self) -> str | None:
        """When the copy was last complete, ISO 8601; None where it never was."""
        with self._lock, store.guarded(self.path):
            row = self._open().execute("SELECT value FROM meta WHERE key = 'synced'").fetchone()
        return None if row is None else str(row[0])

    def forget(self, ids: Sequence[int]) -> str | None:
        """Take templates out of the file, by the server's ids: None, or why the last trace is still on the disk.

        What is pending from earlier is finished too.
        """
        with self._lock, store.guarded(self.path):
            connection = self._open()
            if not ids:
                left = connection.execute("SELECT 1 FROM meta WHERE key = 'erasure_pending'").fetchone()
                return None if left is None else self._finish_erasure(connection)
            with store.transaction(connection):
                self._drop(connection, ids)
            return self._erased(connection)

    def put(self, ids: Sequence[int], numbers: Sequence[int], names: Sequence[str], templates: Floats) -> None:
        """Add templates, or put them in the place of older ones.

        Args:
            ids: the server's.
            numbers: change numbers.
            names: whose they are.
            templates: (N, embedding_size) float32, unit rows.
        """
        with self._lock, store.guarded(self.path):
            connection = self._open()
            old = self._copied(connection, ids)
            with store.transaction(connection):
                if old:
                    self._drop(connection, old)
                for id_, number, name, row in zip(ids, numbers, names, templates, strict=True):
                    cursor = connection.execute(
                        "INSERT INTO templates (name, template, source, created) VALUES (?, ?, '', '')",
                        (name, row.astype("<f4").tobytes()),
                    )
                    connection.execute("INSERT INTO remote VALUES (?, ?, ?)", (id_, number, cursor.lastrowid))
                changes.log_enrolment(connection)
            self._writes += 1
            if old:
                self._erased(connection)

    def stamp(self, moment: str) -> None:
        """Note that the copy is complete as of `moment`, ISO 8601."""
        with self._lock, store.guarded(self.path):
            self._open().execute("INSERT OR REPLACE INTO meta VALUES ('synced', ?)", (moment,))

    def _copied(self, connection: sqlite3.Connection, ids: Sequence[int]) -> list[int]:
        found: list[int] = []
        for some in _pieces(ids):
            rows = connection.execute(f"SELECT id FROM remote WHERE id IN ({_marks(some)})", some)
            found += [int(row[0]) for row in rows]
        return found

    def _drop(self, connection: sqlite3.Connection, ids: Sequence[int]) -> None:
        for some in _pieces(ids):
            where = f"id IN ({_marks(some)})"
            connection.execute(f"DELETE FROM templates WHERE id IN (SELECT template FROM remote WHERE {where})", some)
            connection.execute(f"DELETE FROM remote WHERE {where}", some)
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('erasure_pending', 'copy')")


def _pieces(ids: Sequence[int]) -> list[list[int]]:
    return [list(ids[start : start + VARIABLES]) for start in range(0, len(ids), VARIABLES)]


def _marks(some: Sequence[int]) -> str:
    return ",".join("?" * len(some))
