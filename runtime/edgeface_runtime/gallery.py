"""The gallery: enrolled people and their templates, in one SQLite file bound to the model that made them.

A person may have several templates; a person's score is that of the best one. Scores are cosines in [-1, 1]. For a
dictionary model each template comes with the features it was made from, so that covered parts can be left out later.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeface_runtime import gallery_changes as changes
from edgeface_runtime import gallery_crops as kept
from edgeface_runtime import gallery_store as store
from edgeface_runtime.closing import Closing
from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.gallery_binding import check_features, check_model
from edgeface_runtime.gallery_encryption import make_encrypted, open_rows
from edgeface_runtime.gallery_features import Halves, MaskedTemplates, pack, unpack
from edgeface_runtime.gallery_files import copies_left
from edgeface_runtime.gallery_key import GalleryKey
from edgeface_runtime.gallery_layout import seal, spared
from edgeface_runtime.gallery_rekey import Rekeyed, refuse_same, rekey
from edgeface_runtime.gallery_results import (
    Candidate,
    Erasure,
    GallerySource,
    Person,
    checked_name,
    is_text,
    person_name,
    rank,
    source_text,
)
from edgeface_runtime.gallery_rows import NewRows
from edgeface_runtime.gallery_search import INDEX_FROM, LargeGallery, Progress
from edgeface_runtime.gallery_templates import by_name, stack, units

__all__ = ["Candidate", "Erasure", "Gallery", "GalleryKey", "Person", "Rekeyed", "person_name", "rank"]

Floats = npt.NDArray[np.float32]
TRIES = 2
"""Scans that may be overtaken by changes before one is made within a transaction, while the other threads wait."""


class Gallery(Closing):
    """An open gallery; a context manager, safe to share between threads and to open in several processes.

    Args:
        path: the file.
        model_id: the bundle's `model_id`; a gallery of another model is refused. None opens any (to list or delete).
        embedding_size: length of an embedding; needed to make a new gallery.
        create: make the gallery if it is missing; needs `model_id` and `embedding_size`.
        features: (C, h, w) of a dictionary model's features; a gallery that keeps none, or others, is refused.
        origin: the server it is the copy of (see gallery_copy.py); a copy is opened by it only, and no other gallery.
        key: opens an encrypted gallery, and makes a new one encrypted; one that is not encrypted is refused.

    Raises:
        InputError: missing, not writable, not opened by this key, or a copy of something else than `origin`.
        ArtefactError: no gallery, damaged, too new, of another model, or without the features asked for.
    """

    def __init__(
        self,
        path: str | Path,
        model_id: str | None = None,
        embedding_size: int | None = None,
        create: bool = False,
        features: tuple[int, int, int] | None = None,
        origin: str | None = None,
        key: GalleryKey | None = None,
    ) -> None:
        if create and (not model_id or not embedding_size):
            raise ValueError("a new gallery needs model_id and embedding_size")
        self.path = Path(path)
        self._lock = threading.RLock()
        self._matrix: tuple[tuple[int, int], list[str], Floats] | None = None
        self._masked = MaskedTemplates()
        self._writes = 0
        also = None if key is None else partial(make_encrypted, key=key, path=self.path)
        self._connection: sqlite3.Connection | None = store.connect(
            self.path,
            store.New(model_id or "", embedding_size or 0, features, origin=origin, also=also) if create else None,
        )
        self._large = LargeGallery(self.path)
        self.erasure_pending: str | None = None
        """Why an earlier deletion was still not erased when the gallery was opened; None: nothing was pending, or it
        is done now."""
        try:
            with store.guarded(self.path):
                self._file = store.FileId.of(self.path)
                with store.reading(self._connection):
                    meta = store.read_meta(self._connection, self.path)
                    copy = None if meta["version"] == "1" else spared(self._connection)
                store.check_origin(meta, self.path, origin)
                self.model_id = meta["model_id"]
                self.embedding_size = int(meta["embedding_size"])
                self.features = store.feature_shape(meta, self.path)
                self.check_model(model_id, embedding_size)
                if features is not None:
                    self.check_features(features)
                store.upgrade(self._connection)
                self._rows = self._large.rows = open_rows(meta, key, self.path)
                store.check_spare(meta, copy, self.path)
                changes.prepare(self._connection)
                self._large.size = self.embedding_size
                if "erasure_pending" in meta:
                    self.erasure_pending = self._finish_erasure(self._connection)
        except BaseException:
            self.close()
            raise

    @property
    def place(self) -> str:
        """What to call it in messages: its path."""
        return str(self.path)

    def source(self) -> GallerySource:
        """Where its answers come from."""
        return GallerySource(self.place)

    def check_model(self, model_id: str | None, embedding_size: int | None = None) -> None:
        """Raise ArtefactError, naming both, unless the gallery is of that model."""
        check_model(self.path, self.model_id, self.embedding_size, model_id, embedding_size)

    def check_features(self, features: tuple[int, int, int] | None) -> None:
        """Raise ArtefactError unless the gallery keeps features of that shape; None is a model that gives none."""
        check_features(self.path, self.features, features)

    def close(self) -> None:
        """Close the file. Closing twice does nothing."""
        with self._lock:
            connection, self._connection = self._connection, None
            self._matrix = None
            self._masked.clear()
            self._large.index = None
            self._large.rows.forget()
            if connection is not None:
                connection.close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise InputError(f"gallery {self.path} is closed: open it again")
        self._file.check(self.path)
        return self._connection

    def enroll(self, name: str, template: npt.ArrayLike, source: str = "") -> int:
        """Add one template and return its id. See `enroll_many`."""
        return self.enroll_many(name, [template], [source])[0]

    def enroll_many(
        self,
        name: str,
        templates: Sequence[npt.ArrayLike],
        sources: Sequence[str],
        features: Sequence[npt.ArrayLike] | None = None,
        crops: Sequence[kept.Crop] | None = None,
    ) -> list[int]:
        """Add templates of one person, all or none, and return their ids. See `enroll_batch`."""
        if not len(templates):
            raise InputError(f"nothing to enrol for {person_name(name)}: give at least one picture")
        return self.enroll_batch([name] * len(templates), templates, sources, features, crops)

    def enroll_batch(
        self,
        names: Sequence[str],
        templates: Sequence[npt.ArrayLike] | npt.ArrayLike,
        sources: Sequence[str] | None = None,
        features: Sequence[npt.ArrayLike] | None = None,
        crops: Sequence[kept.Crop] | None = None,
    ) -> list[int]:
        """Add templates of many people in one transaction, all or none, durable on return; their ids, ascending.

        Args:
            names: whose each template is; a known name gains templates.
            templates: (T, embedding_size) float, rows of any length but zero; kept L2-normalised as float32.
            sources: where each came from, for people: kept and erased with the template; None keeps none.
            features: (C, h, w) float each, where the gallery keeps them; kept as float16.
            crops: the kept crop of each (`gallery_crops.keep`), erased with its template; None keeps none.

        Raises:
            InputError: an unusable name, template or features, or the file cannot be written.
            ArtefactError: the gallery keeps features and none are given, or the other way round.
        """
        # One check a spelling: a batch repeats names.
        spelt = {name: checked_name(name) for name in set(names)}
        if not len(names):
            return []
        rows = units(templates, self.embedding_size)
        packed = self._packed(features)
        given = [""] * len(rows) if sources is None else [source_text(source) for source in sources]
        new = NewRows([spelt[name] for name in names], [row.tobytes() for row in rows], given, _now(), packed)
        with self._lock, store.guarded(self.path):
            connection = self._open()
            with store.transaction(connection):
                first = self._rows.insert(connection, new)
                ids = range(first, first + len(rows))
                seal(connection, "templates", ids[0], ids[-1])
                if crops is not None:
                    kept.link(connection, ids, crops)
                changes.log_enrolment(connection)
            self._file.check(self.path)  # nothing is acknowledged that went into a file without a name
            self._writes += 1
            self._masked.clear()
            return list(ids)

    def _packed(self, features: Sequence[npt.ArrayLike] | None) -> list[bytes] | None:
        if features is None or self.features is None:
            self.check_features(None if features is None else (0, 0, 0))
            return None
        return [pack(feature, self.features) for feature in features]

    def replace(
        self, template_id: int, template: npt.ArrayLike, source: str = "", feature: npt.ArrayLike | None = None
    ) -> Erasure:
        """Put a template in the place of another, which is taken off the disk; whose it is stays.

        Args:
            template_id: as `enroll` returned it.
            template: (embedding_size,) float, any length but zero.
            source: where it came from.
            feature: (C, h, w) float, where the gallery keeps features.

        Raises:
            InputError: no such template, an unusable one, or the file cannot be written.
            ArtefactError: the gallery keeps features and none are given, or the other way round.
        """
        packed = self._packed(None if feature is None else [feature])
        unit = self._unit(template).tobytes()
        with self._lock, store.guarded(self.path):
            connection = self._open()
            with store.transaction(connection):
                name = self._rows.owner(connection, template_id)
                if name is None:
                    raise InputError(
                        f"gallery {self.path} has no template {template_id}: give an id that enroll returned"
                    )
                self._rows.update(
                    connection, template_id, NewRows([name], [unit], [source_text(source)], _now(), packed)
                )
                seal(connection, "templates", template_id, template_id)
                kept.let_go(connection, template_id)
                changes.trim(connection)
                self._note_erasure(connection)
            pending = self._erased(connection)
        return Erasure(name, 1, pending is None, pending)

    def _unit(self, vector: npt.ArrayLike) -> Floats:
        return np.asarray(units([vector], self.embedding_size)[0])

    def people(self) -> list[Person]:
        """Everybody enrolled, by name."""
        with self._lock, store.guarded(self.path):
            return [Person(name, count) for name, count in self._rows.people(self._open())]

    def delete(self, name: str) -> Erasure:
        """Delete a person's templates and take them off the disk.

        Raises:
            InputError: nobody of that name is enrolled, or the file cannot be written.
        """
        given, name = name, person_name(name)
        with self._lock, store.guarded(self.path):
            connection = self._open()
            with store.transaction(connection):
                removed = self._rows.delete(connection, given) if is_text(given) else 0
                if removed:
                    changes.trim(connection)
                    self._note_erasure(connection)
            if not removed:
                raise InputError(f"nobody named {name!r} is in gallery {self.path}: see edgeface gallery list")
            pending = self._erased(connection)
        return Erasure(name, removed, pending is None, pending)

    def finish_erasure(self) -> str | None:
        """Try again to take deleted templates off the disk: None when done, else why it is still pending."""
        with self._lock, store.guarded(self.path):
            return self._finish_erasure(self._open())

    def rekey(self, key: GalleryKey | None, progress: Progress | None = None) -> Rekeyed:
        """Put another key in the place of this gallery's, all or nothing; encrypt a plain one, or decrypt it by None.

        Galleries that are open elsewhere have to be opened again.

        Args:
            key: the new one; None decrypts.
            progress: called with the templates done and all of them, where every row is written.

        Raises:
            InputError: the key is the gallery's own, there is nothing to decrypt, or the file cannot be written.
            ArtefactError: the gallery was tampered with.
        """
        with self._lock, store.guarded(self.path):
            connection = self._open()
            if key is None and not self._rows.encrypted:
                raise InputError(f"gallery {self.path} is not encrypted: there is nothing to decrypt")
            with store.transaction(connection):
                rows = rekey(connection, self._rows, key, progress)
                people = connection.execute("SELECT COUNT(DISTINCT name) FROM templates").fetchone()[0]
                self._note_erasure(connection)
            self._rows = self._large.rows = rows
            self._large.index = None
            pending = self._erased(connection)
        return Rekeyed(rows.encrypted, people, pending is None, pending)

    def check_new_key(self, key: GalleryKey) -> None:
        """Raise InputError unless the gallery is encrypted, and by another key than this one."""
        with self._lock, store.guarded(self.path):
            if not self._rows.encrypted:
                raise InputError(f"gallery {self.path} is not encrypted: it has no key to change")
            refuse_same(self._open(), self.path, key)

    def _note_erasure(self, connection: sqlite3.Connection) -> None:
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('erasure_pending', ?)", (_now(),))

    def _erased(self, connection: sqlite3.Connection) -> str | None:
        self._writes += 1
        self._matrix = None
        self._masked.clear()
        return self._finish_erasure(connection)

    def _finish_erasure(self, connection: sqlite3.Connection) -> str | None:
        """Out of the index file and the kept crops first: the note that something is pending goes last.

        A disk that is full or fails keeps it pending: those who were deleted are, and the others can be searched.
        """
        try:
            with store.guarded(self.path):
                return (
                    self._large.erase(connection)
                    or kept.erase(connection, self.path)
                    or store.finish_erasure(connection)
                    or copies_left(self.path)
                )
        except ArtefactError:
            raise
        except InputError as exc:
            return f"{exc}: run edgeface gallery list once that is mended"

    def kept_crops(self) -> list[kept.KeptCrop]:
        """Every template's name and source, with its crop where one was kept; by id."""
        with self._lock, store.guarded(self.path), store.reading(self._open()):
            crops = dict(kept.spoken_for(self._open()))
            pages = self._rows.read(self._open(), "templates.id > 0", column="source")
            return [kept.KeptCrop(row.name, str(row.blob), crops.get(row.id)) for page in pages for row in page]

    def templates(self) -> tuple[list[str], Floats]:
        """All templates: names (sorted; a name once per template), matrix (T, embedding_size) float32, unit rows.

        Raises:
            ArtefactError: the file is damaged.
        """
        with self._lock, store.guarded(self.path):
            connection = self._open()
            state = self._state(connection)
            if self._matrix is not None and self._matrix[0] == state:
                return list(self._matrix[1]), self._matrix[2]
            self._rows.forget()  # somebody may have been erased by another process
            rows = [row for page in self._rows.read(connection) for row in page]
            blobs = stack([row.blob for row in rows], self.embedding_size, self.path)
            names, matrix = by_name([row.name for row in rows], blobs)
            self._matrix = (state, names, matrix) if len(names) < INDEX_FROM else None
            return list(names), matrix

    def _state(self, connection: sqlite3.Connection) -> tuple[int, int]:
        """What changes with the file: data_version counts the changes of other connections, _writes our own."""
        return int(connection.execute("PRAGMA data_version").fetchone()[0]), self._writes

    def count(self) -> int:
        """Number of templates."""
        with self._lock, store.guarded(self.path):
            return int(self._open().execute("SELECT COUNT(*) FROM templates").fetchone()[0])

    def masked(
        self, key: bytes, embed: Callable[[Halves], Floats], keep_bytes: int, batch: int = 64
    ) -> tuple[list[str], Floats]:
        """All templates made anew from their features, remembered until the gallery changes; order as `templates`.

        Other threads wait for the gallery meanwhile.

        Args:
            key: stands for what `embed` does.
            embed: features (N, C, h, w) float16 -> unit embeddings (N, E) float32.
            keep_bytes: bytes of such templates to remember, over all keys; those not used for longest go first.
            batch: how many are in memory at once.

        Raises:
            ArtefactError: the file is damaged, or templates of it lack their features.
        """
        if self.features is None:
            raise ArtefactError(f"gallery {self.path} keeps no features for masking: enrol into a new gallery")
        with self._lock, store.guarded(self.path):
            connection = self._open()
            self._masked.follow(self._state(connection))
            found = self._masked.get(key)
            if found is None:
                names: list[str] = []
                rows = [np.empty((0, self.embedding_size), np.float32)]
                for page in self._rows.read(connection, column="features", page=batch):
                    names += [row.name for row in page]
                    rows.append(embed(unpack([row.blob for row in page], self.features, self.path)))
                found = by_name(names, np.concatenate(rows))
                self._masked.put(key, found, keep_bytes)
            return list(found[0]), found[1]

    def search(self, embedding: npt.ArrayLike, top: int = 5) -> list[Candidate]:
        """The `top` most alike people, best first; fewer when fewer are enrolled.

        Args:
            embedding: (embedding_size,) float, any length but zero.
            top: how many people, at least 1.
        """
        if top < 1:
            raise InputError(f"--top is {top}: give at least 1")
        probe = self._unit(embedding)
        if not self._is_large():
            names, matrix = self.templates()
            return rank(names, matrix, probe, top)
        found = None
        for _ in range(TRIES):
            with self._lock, store.guarded(self.path):
                view = self._large.follow(self._open())
            bounds = self._large.bounds(view, probe)
            with self._lock, store.guarded(self.path):
                found = self._large.search(self._open(), view, bounds, probe, top)
            if found is not None:
                break
        else:
            with self._lock, store.guarded(self.path), store.reading(self._open()):
                view = self._large.follow(self._open())
                found = self._large.search(self._open(), view, self._large.bounds(view, probe), probe, top)
        return [Candidate(name, max(-1.0, min(1.0, score))) for name, score in found or []]

    def _is_large(self) -> bool:
        with self._lock, store.guarded(self.path):
            connection = self._open()
            if self._large.index is not None:
                return True
            if self._matrix is not None and self._matrix[0] == self._state(connection):
                return False  # only small ones are kept
            return self.count() >= INDEX_FROM

    def prepare(self, progress: Progress | None = None) -> dict[str, Any]:
        """Make or open the index of a large gallery now instead of at the first search, and return `describe`.

        Args:
            progress: called with the templates done and all of them, while the index is made.
        """
        if self._is_large():
            with self._lock, store.guarded(self.path):
                self._large.follow(self._open(), progress)
        return self.describe()

    def describe(self) -> dict[str, Any]:
        """As JSON data: `templates`, how they are searched and kept (see `LargeGallery.describe`)."""
        return {"templates": self.count(), **self._large.describe()}


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
