"""A local copy of a gallery on a server: a gallery file of its own kind, which only the server's changes alter.

It holds names and templates, not where pictures came from. It is changed as any gallery is, so whoever was deleted on
the server is erased here, index included. Killed half-way or changed by two processes at once it is wrong until the
next comparison, which mends it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeface_runtime import gallery_store as store
from edgeface_runtime.errors import InputError
from edgeface_runtime.gallery import Gallery
from edgeface_runtime.gallery_layout import seal_meta

__all__ = ["GalleryCopy"]

Floats = npt.NDArray[np.float32]
THERE = "EXISTS (SELECT 1 FROM templates WHERE templates.id = remote.template)"
"""Another process may have taken the template out since."""
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
            rows = self._open().execute(f"SELECT id, changed FROM remote WHERE {THERE}").fetchall()
        return {int(row[0]): int(row[1]) for row in rows}

    def synced(self) -> str | None:
        """When the copy was last complete, ISO 8601; None where it never was."""
        with self._lock, store.guarded(self.path):
            row = self._open().execute("SELECT value FROM meta WHERE key = 'synced'").fetchone()
        return None if row is None else str(row[0])

    def forget(self, ids: Sequence[int]) -> str | None:
        """Take people out of the file, by the server's ids of templates: None, or why a trace is still on the disk.

        With one template all of that person go, to be fetched again where the server has more of them. What a killed
        process has left half copied goes too, and an erasure that is pending from earlier is finished.
        """
        with self._lock, store.guarded(self.path):
            connection = self._open()
            for name in sorted({name for some in _pieces(ids) for name in self._owners(connection, some)}):
                try:
                    self.delete(name)
                except InputError:  # another process was faster, or it is a real one
                    if any(person.name == name for person in self.people()):
                        raise
            connection.execute(f"DELETE FROM remote WHERE NOT {THERE}")
            left = connection.execute("SELECT 1 FROM meta WHERE key = 'erasure_pending'").fetchone()
            return None if left is None else self._finish_erasure(connection)

    def _owners(self, connection: sqlite3.Connection, ids: Sequence[int]) -> list[str]:
        """Whose templates those are, and those that belong to no id."""
        marks = ",".join("?" * len(ids))
        rows = connection.execute(
            f"SELECT name FROM templates WHERE id IN (SELECT template FROM remote WHERE id IN ({marks})) "
            "OR id NOT IN (SELECT template FROM remote)",
            ids,
        )
        return [str(row[0]) for row in rows]

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
            here = dict(connection.execute(f"SELECT id, template FROM remote WHERE {THERE}").fetchall())
            new = [row for row, id_ in enumerate(ids) if id_ not in here]
            added = dict(zip(new, self.enroll_batch([names[row] for row in new], templates[new]), strict=True))
            for row, id_ in enumerate(ids):
                if id_ in here:
                    self.replace(here[id_], templates[row])
            lines = [
                (id_, number, added.get(row, here.get(id_)))
                for row, (id_, number) in enumerate(zip(ids, numbers, strict=True))
            ]
            with store.transaction(connection):
                connection.executemany("INSERT OR REPLACE INTO remote VALUES (?, ?, ?)", lines)

    def stamp(self, moment: str) -> None:
        """Note that the copy is complete as of `moment`, ISO 8601."""
        with self._lock, store.guarded(self.path):
            connection = self._open()
            with store.transaction(connection):
                connection.execute("INSERT OR REPLACE INTO meta VALUES ('synced', ?)", (moment,))
                seal_meta(connection)


def _pieces(ids: Sequence[int]) -> list[list[int]]:
    """At least one, which may be empty."""
    return [list(ids[start : start + VARIABLES]) for start in range(0, max(1, len(ids)), VARIABLES)]
