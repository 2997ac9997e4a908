"""The gallery: enrolled people and their templates, in one SQLite file bound to the model that made them.

A person may have several templates; a person's score is that of the best one. Scores are cosines in [-1, 1]. For a
dictionary model each template comes with the features it was made from, so that covered parts can be left out later.
"""

from __future__ import annotations

import sqlite3
import threading
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeface_runtime import gallery_store as store
from edgeface_runtime.closing import Closing
from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.gallery_features import Halves, MaskedTemplates, pack, unpack

__all__ = ["Candidate", "Erasure", "Gallery", "Person", "person_name", "rank"]

Floats = npt.NDArray[np.float32]
MAX_NAME = 200


@dataclass(frozen=True)
class Candidate:
    """One person of the gallery and how alike they are."""

    name: str
    """As enrolled."""
    score: float
    """Cosine of the probe and the person's best template, in [-1, 1]."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class Person:
    """One enrolled person."""

    name: str
    """As enrolled."""
    templates: int
    """Number of templates."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class Erasure:
    """What became of a deletion."""

    name: str
    """Who was deleted."""
    removed: int
    """Number of templates deleted; they are found no more, whatever `erased` says."""
    erased: bool
    """Whether the last copy has left the disk."""
    pending: str | None = None
    """Why not yet, in one line; the next opening, deletion or `finish_erasure` tries again."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


def person_name(name: str) -> str:
    """A name as the gallery keeps it: without blanks around it, and one spelling (NFC) for what looks the same."""
    return unicodedata.normalize("NFC", name.strip())


class Gallery(Closing):
    """An open gallery; a context manager, safe to share between threads and to open in several processes.

    Args:
        path: the file.
        model_id: the bundle's `model_id`; a gallery of another model is refused. None opens any (to list or delete).
        embedding_size: length of an embedding; needed to make a new gallery.
        create: make the gallery if it is missing; needs `model_id` and `embedding_size`.
        features: (C, h, w) of a dictionary model's features; a gallery that keeps none, or others, is refused.

    Raises:
        InputError: missing, or not writable.
        ArtefactError: no gallery, damaged, too new, of another model, or without the features asked for.
    """

    def __init__(
        self,
        path: str | Path,
        model_id: str | None = None,
        embedding_size: int | None = None,
        create: bool = False,
        features: tuple[int, int, int] | None = None,
    ) -> None:
        if create and (not model_id or not embedding_size):
            raise ValueError("a new gallery needs model_id and embedding_size")
        self.path = Path(path)
        self._lock = threading.RLock()
        self._matrix: tuple[tuple[int, int], list[str], Floats] | None = None
        self._masked = MaskedTemplates()
        self._writes = 0
        self._connection: sqlite3.Connection | None = store.connect(
            self.path, store.New(model_id or "", embedding_size or 0, features) if create else None
        )
        try:
            with store.guarded(self.path):
                meta = store.read_meta(self._connection, self.path)
                self.model_id = meta["model_id"]
                self.embedding_size = int(meta["embedding_size"])
                self.features = store.feature_shape(meta, self.path)
                self.check_model(model_id, embedding_size)
                if features is not None:
                    self.check_features(features)
                if "erasure_pending" in meta:
                    store.finish_erasure(self._connection)
        except BaseException:
            self.close()
            raise

    def check_model(self, model_id: str | None, embedding_size: int | None = None) -> None:
        """Raise ArtefactError, naming both, unless the gallery is of that model."""
        if model_id is not None and model_id != self.model_id:
            raise ArtefactError(
                f"gallery {self.path} was made with model {self.model_id[:12]}, this bundle is {model_id[:12]}: "
                "use the bundle it was made with, or enrol into a new gallery"
            )
        if embedding_size is not None and embedding_size != self.embedding_size:
            raise ArtefactError(
                f"gallery {self.path} holds embeddings of {self.embedding_size} numbers, not {embedding_size}: "
                "use the bundle it was made with, or enrol into a new gallery"
            )

    def check_features(self, features: tuple[int, int, int] | None) -> None:
        """Raise ArtefactError unless the gallery keeps features of that shape; None is a model that gives none."""
        if features == self.features:
            return
        if features is None:
            raise ArtefactError(
                f"gallery {self.path} keeps features for masking, which this bundle does not give: "
                "use the bundle it was made with, or enrol into a new gallery"
            )
        kept = "no features" if self.features is None else f"features of {self.features}, not {features},"
        raise ArtefactError(f"gallery {self.path} keeps {kept} for masking by a dictionary: enrol into a new gallery")

    def close(self) -> None:
        """Close the file. Closing twice does nothing."""
        with self._lock:
            connection, self._connection = self._connection, None
            self._matrix = None
            self._masked.clear()
            if connection is not None:
                connection.close()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            raise InputError(f"gallery {self.path} is closed: open it again")
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
    ) -> list[int]:
        """Add templates of one person, all or none, and return their ids.

        Args:
            name: who it is; a known name gains templates.
            templates: (embedding_size,) float each, any length but zero; kept L2-normalised as float32.
            sources: where each came from, for people: kept and erased with the template.
            features: (C, h, w) float each, where the gallery keeps them; kept as float16.

        Raises:
            InputError: an unusable name, template or features, or the file cannot be written.
            ArtefactError: the gallery keeps features and none are given, or the other way round.
        """
        name = person_name(name)
        if not name or len(name) > MAX_NAME or not name.isprintable():
            raise InputError(f"cannot enrol the name {name[:40]!r}: give 1 to {MAX_NAME} printable characters")
        rows = [(name, self._unit(t).tobytes(), s, _now()) for t, s in zip(templates, sources, strict=True)]
        if not rows:
            raise InputError(f"nothing to enrol for {name}: give at least one picture")
        statement = "INSERT INTO templates (name, template, source, created) VALUES (?, ?, ?, ?)"
        values: list[tuple[object, ...]] = list(rows)
        if features is None or self.features is None:
            self.check_features(None if features is None else (0, 0, 0))
        else:
            statement = "INSERT INTO templates (name, template, source, created, features) VALUES (?, ?, ?, ?, ?)"
            blobs = [pack(feature, self.features) for feature in features]
            values = [(*row, blob) for row, blob in zip(rows, blobs, strict=True)]
        with self._lock, store.guarded(self.path):
            connection = self._open()
            ids = []
            with store.transaction(connection):
                for row in values:
                    ids.append(int(connection.execute(statement, row).lastrowid or 0))
            self._writes += 1
            self._masked.clear()
            return ids

    def _unit(self, vector: npt.ArrayLike) -> Floats:
        unit = np.asarray(vector, dtype=np.float32)
        length = float(np.linalg.norm(unit)) if unit.shape == (self.embedding_size,) else 0.0
        if not np.isfinite(length) or length < 1e-12:
            raise InputError(
                f"not an embedding: give ({self.embedding_size},) finite numbers, not all zero; got {unit.shape}"
            )
        return np.asarray(unit / np.float32(length), dtype="<f4")

    def people(self) -> list[Person]:
        """Everybody enrolled, by name."""
        with self._lock, store.guarded(self.path):
            rows = self._open().execute("SELECT name, COUNT(*) FROM templates GROUP BY name ORDER BY name").fetchall()
        return [Person(name, count) for name, count in rows]

    def delete(self, name: str) -> Erasure:
        """Delete a person's templates and take them off the disk.

        Raises:
            InputError: nobody of that name is enrolled, or the file cannot be written.
        """
        given, name = name, person_name(name)
        # Galleries of earlier versions keep names as they were typed.
        spellings = (name, unicodedata.normalize("NFD", name), given)
        with self._lock, store.guarded(self.path):
            connection = self._open()
            with store.transaction(connection):
                removed = connection.execute("DELETE FROM templates WHERE name IN (?, ?, ?)", spellings).rowcount
                if removed:
                    connection.execute("INSERT OR REPLACE INTO meta VALUES ('erasure_pending', ?)", (_now(),))
            if not removed:
                raise InputError(f"nobody named {name!r} is in gallery {self.path}: see edgeface gallery list")
            self._writes += 1
            self._matrix = None
            self._masked.clear()
            pending = store.finish_erasure(connection)
        return Erasure(name, removed, pending is None, pending)

    def finish_erasure(self) -> str | None:
        """Try again to take deleted templates off the disk: None when done, else why it is still pending."""
        with self._lock, store.guarded(self.path):
            return store.finish_erasure(self._open())

    def templates(self) -> tuple[list[str], Floats]:
        """All templates: names (sorted; a name once per template), matrix (T, embedding_size) float32, unit rows.

        Raises:
            ArtefactError: the file is damaged.
        """
        with self._lock, store.guarded(self.path):
            connection = self._open()
            state = self._state(connection)
            if self._matrix is None or self._matrix[0] != state:
                rows = connection.execute("SELECT name, template FROM templates ORDER BY name, id").fetchall()
                self._matrix = (state, [row[0] for row in rows], self._stack([row[1] for row in rows]))
            return list(self._matrix[1]), self._matrix[2]

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
                cursor = connection.execute("SELECT name, features FROM templates ORDER BY name, id")
                while page := cursor.fetchmany(batch):
                    names += [row[0] for row in page]
                    rows.append(embed(unpack([row[1] for row in page], self.features, self.path)))
                found = (names, np.concatenate(rows))
                self._masked.put(key, found, keep_bytes)
            return list(found[0]), found[1]

    def _stack(self, blobs: list[bytes]) -> Floats:
        if any(not isinstance(blob, bytes) or len(blob) != 4 * self.embedding_size for blob in blobs):
            raise ArtefactError(f"gallery {self.path} is damaged (a template is cut): restore a backup of it")
        matrix = np.frombuffer(b"".join(blobs), dtype="<f4").reshape(len(blobs), self.embedding_size)
        lengths = np.linalg.norm(matrix.astype(np.float64), axis=1)
        if not np.all(np.abs(lengths - 1.0) < 1e-3):
            raise ArtefactError(f"gallery {self.path} is damaged (a template has changed): restore a backup of it")
        return np.asarray(matrix, dtype=np.float32)

    def search(self, embedding: npt.ArrayLike, top: int = 5) -> list[Candidate]:
        """The `top` most alike people, best first; fewer when fewer are enrolled.

        Args:
            embedding: (embedding_size,) float, any length but zero.
            top: how many people, at least 1.
        """
        probe = self._unit(embedding)
        names, matrix = self.templates()
        return rank(names, matrix, probe, top)


def rank(names: Sequence[str], matrix: Floats, probe: Floats, top: int) -> list[Candidate]:
    """The `top` most alike people, best first.

    Args:
        names: sorted; a name once per template.
        matrix: (T, E) float32, unit rows.
        probe: (E,) float32, unit length.
        top: how many people, at least 1.
    """
    if top < 1:
        raise InputError(f"--top is {top}: give at least 1")
    if not names:
        return []
    scores = matrix @ probe
    # Names come sorted: the rows of one person are one run, and a run's best score is the person's.
    starts = [0, *(i for i in range(1, len(names)) if names[i] != names[i - 1])]
    best = np.maximum.reduceat(scores, starts)
    count = min(top, len(starts))
    chosen = np.argpartition(-best, count - 1)[:count]
    ordered = chosen[np.lexsort((chosen, -best[chosen]))]
    return [Candidate(names[starts[i]], float(np.clip(best[i], -1.0, 1.0))) for i in ordered]


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
