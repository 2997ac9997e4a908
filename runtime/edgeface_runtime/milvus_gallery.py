"""A gallery on a Milvus server, for fleets: one collection, bound to the model that made its templates.

The index is FLAT by inner product of unit vectors, so search is exact, and every question is asked with strong
consistency: whoever has enrolled is found by the next search from anywhere. Writing is by upsert under ids made here,
so a call that is repeated does no harm.
"""

from __future__ import annotations

import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeface_runtime.closing import Closing
from edgeface_runtime.errors import ArtefactError, InputError, ServerError
from edgeface_runtime.gallery_results import (
    Candidate,
    Erasure,
    GallerySource,
    Person,
    checked_name,
    is_text,
    person_name,
    source_text,
)
from edgeface_runtime.gallery_templates import units
from edgeface_runtime.milvus_address import MilvusAddress
from edgeface_runtime.milvus_server import LARGEST_PAGE, MilvusServer, Row

__all__ = ["PENDING", "MilvusGallery"]

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]

VERSION = "1"
FORMAT, MODEL, SIZE = "edgeface.gallery", "edgeface.model_id", "edgeface.embedding_size"
"""Properties of the collection."""
MAX_NAME_BYTES = 800
MAX_SOURCE_BYTES = 8192
AT_ONCE = 1000
"""Rows of one call."""
PENDING = (
    "no search finds it any more, but a Milvus server takes deleted data off its disks only when it compacts and "
    "collects garbage (by default hours later), and its message log and backups keep their own time"
)


class MilvusGallery(Closing):
    """An open gallery on a server; a context manager, safe to share between threads.

    Args:
        address: the collection.
        model_id: the bundle's `model_id`; a gallery of another model is refused. None opens any (to list or delete).
        embedding_size: length of an embedding; needed to make a new gallery.
        create: make the collection if it is missing; needs `model_id` and `embedding_size`.
        features: of a dictionary model: refused, since no features are kept on a server.

    Raises:
        InputError: the collection is missing, or the server refuses the token.
        ArtefactError: no gallery, too new, of another model, or features are asked for.
        ServerError: the server cannot be reached.
        MissingExtraError: its client is not installed.
    """

    def __init__(
        self,
        address: MilvusAddress,
        model_id: str | None = None,
        embedding_size: int | None = None,
        create: bool = False,
        features: tuple[int, int, int] | None = None,
    ) -> None:
        if create and (not model_id or not embedding_size):
            raise ValueError("a new gallery needs model_id and embedding_size")
        self.place = address.place
        self.check_features(features)
        self._server = MilvusServer(address)
        try:
            if not self._server.call("has_collection"):
                if not create:
                    raise InputError(f"gallery not found: {self.place}: make one with edgeface enroll")
                self._make(str(model_id), int(embedding_size or 0))
            self._read_header()
            self.check_model(model_id, embedding_size)
            self._server.load()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Drop the connection. Closing twice does nothing."""
        self._server.close()

    def _make(self, model_id: str, embedding_size: int) -> None:
        header = {FORMAT: VERSION, MODEL: model_id, SIZE: str(embedding_size)}
        schema, index, types = self._server.schema()
        schema.add_field("id", types.INT64, is_primary=True)
        schema.add_field("changed", types.INT64)
        schema.add_field("name", types.VARCHAR, max_length=MAX_NAME_BYTES)
        schema.add_field("source", types.VARCHAR, max_length=MAX_SOURCE_BYTES)
        schema.add_field("template", types.FLOAT_VECTOR, dim=embedding_size)
        index.add_index("template", index_type="FLAT", metric_type="IP")
        try:
            self._server.call(
                "create_collection",
                schema=schema,
                index_params=index,
                consistency_level="Strong",
                properties=header,
            )
        except ServerError:
            if not self._server.call("has_collection"):  # else another device was faster
                raise

    def _read_header(self) -> None:
        facts = self._server.call("describe_collection")
        header = facts.get("properties") or {}
        fields = {field["name"]: field.get("params", {}) for field in facts.get("fields", [])}
        if FORMAT not in header or not {"id", "changed", "name", "source", "template"} <= set(fields):
            raise ArtefactError(
                f"{self.place} is not a gallery: it is a collection of something else: give another name"
            )
        if header[FORMAT] != VERSION:
            raise ArtefactError(
                f"gallery {self.place} has version {header[FORMAT]!r}, this edgeface reads version {VERSION}: "
                "upgrade edgeface"
            )
        index = self._server.call("describe_index", index_name="template") or {}
        if index.get("metric_type") != "IP":
            raise ArtefactError(
                f"gallery {self.place} is indexed by {index.get('metric_type')}, not IP: index it by IP again"
            )
        self._index = str(index.get("index_type"))
        self.model_id = str(header.get(MODEL, ""))
        self.embedding_size = int(fields["template"]["dim"])

    def check_model(self, model_id: str | None, embedding_size: int | None = None) -> None:
        """See `Gallery.check_model`."""
        if model_id is not None and model_id != self.model_id:
            raise ArtefactError(
                f"gallery {self.place} was made with model {self.model_id[:12]}, this bundle is {model_id[:12]}: "
                "use the bundle it was made with, or enrol into a new gallery"
            )
        if embedding_size is not None and embedding_size != self.embedding_size:
            raise ArtefactError(
                f"gallery {self.place} holds embeddings of {self.embedding_size} numbers, not {embedding_size}: "
                "use the bundle it was made with, or enrol into a new gallery"
            )

    def check_features(self, features: tuple[int, int, int] | None) -> None:
        """Raise ArtefactError where features are to be kept: on a server there are none."""
        if features is not None:
            raise ArtefactError(
                f"gallery {self.place} keeps no features for masking by a dictionary, as none on a server does: "
                "give a file as --gallery"
            )

    def enroll(self, name: str, template: npt.ArrayLike, source: str = "") -> int:
        """Add one template and return its id. See `enroll_batch`."""
        return self.enroll_many(name, [template], [source])[0]

    def enroll_many(
        self,
        name: str,
        templates: Sequence[npt.ArrayLike],
        sources: Sequence[str],
        features: Sequence[npt.ArrayLike] | None = None,
    ) -> list[int]:
        """Add templates of one person, all or none, and return their ids. See `enroll_batch`."""
        if not len(templates):
            raise InputError(f"nothing to enrol for {person_name(name)}: give at least one picture")
        return self.enroll_batch([name] * len(templates), templates, sources, features)

    def enroll_batch(
        self,
        names: Sequence[str],
        templates: Sequence[npt.ArrayLike] | npt.ArrayLike,
        sources: Sequence[str] | None = None,
        features: Sequence[npt.ArrayLike] | None = None,
    ) -> list[int]:
        """Add templates of many people; their ids, ascending. Arguments are those of `Gallery.enroll_batch`.

        Up to 1,000 templates are one call, which the server takes or not. Of more, those already taken are removed
        again where a later call fails.

        Raises:
            InputError: an unusable name, source or template, or the server refuses the token.
            ArtefactError: features are given.
            ServerError: the server cannot be reached.
        """
        spelt = {name: checked_name(name) for name in set(names)}
        self.check_features(None if features is None else (0, 0, 0))
        if not len(names):
            return []
        rows = units(templates, self.embedding_size)
        given = [""] * len(names) if sources is None else [source_text(source) for source in sources]
        if any(len(source.encode()) > MAX_SOURCE_BYTES for source in given):
            raise InputError(f"a picture's path may be {MAX_SOURCE_BYTES} bytes long on a server: give a shorter one")
        now = _now()
        ids = sorted(_new_id() for _ in names)
        entries = [
            {"id": id_, "changed": now, "name": spelt[name], "source": source, "template": row}
            for id_, name, source, row in zip(ids, names, given, rows, strict=True)
        ]
        try:
            for start in range(0, len(entries), AT_ONCE):
                self._server.call("upsert", data=entries[start : start + AT_ONCE])
        except ServerError as exc:
            self._take_back(ids, exc)
            raise
        return ids

    def _take_back(self, ids: list[int], cause: ServerError) -> None:
        """Remove what a failed enrolment has left; also a call without an answer may have been carried out."""
        try:
            self._delete(ids)
        except ServerError:
            raise ServerError(
                f"{cause}; of the {len(ids)} templates some may be enrolled: see edgeface gallery list later"
            ) from cause

    def replace(
        self, template_id: int, template: npt.ArrayLike, source: str = "", feature: npt.ArrayLike | None = None
    ) -> Erasure:
        """Put a template in the place of another; whose it is stays. See `Gallery.replace` and `delete`."""
        self.check_features(None if feature is None else (0, 0, 0))
        row = units([template], self.embedding_size)[0]
        found = self._query(f"id == {int(template_id)}", ["name", "changed"])
        if not found:
            raise InputError(f"gallery {self.place} has no template {template_id}: give an id that enroll returned")
        changed = max(_now(), int(found[0]["changed"]) + 1)
        entry = {"id": int(template_id), "changed": changed, "name": found[0]["name"], "source": source_text(source)}
        self._server.call("upsert", data=[{**entry, "template": row}])
        return self._erased(str(found[0]["name"]), 1)

    def delete(self, name: str) -> Erasure:
        """Delete a person's templates: no search finds them any more. `erased` is never true, see PENDING.

        Raises:
            InputError: nobody of that name is enrolled.
            ServerError: the server cannot be reached, or still has some.
        """
        name = person_name(name)
        condition = f"name == {_quoted(name)}"
        ids = [int(row["id"]) for row in self._query(condition, ["id"])] if is_text(name) else []
        if not ids:
            raise InputError(f"nobody named {name!r} is in gallery {self.place}: see edgeface gallery list")
        removed = 0
        while ids:
            self._delete(ids)
            removed += len(ids)
            ids = [int(row["id"]) for row in self._query(condition, ["id"])]
        return self._erased(name, removed)

    def _delete(self, ids: list[int]) -> None:
        for start in range(0, len(ids), AT_ONCE):
            self._server.call("delete", ids=ids[start : start + AT_ONCE])

    def _erased(self, name: str, removed: int) -> Erasure:
        """Ask the server to compact: sooner than it would by itself. What it makes of it cannot be seen from here."""
        try:
            self._server.call("flush")
            self._server.call("compact")
        except ServerError as exc:
            return Erasure(name, removed, False, f"{PENDING}; it was asked to compact and did not ({exc})")
        return Erasure(name, removed, False, PENDING)

    def people(self) -> list[Person]:
        """Everybody enrolled, by name."""
        counts = Counter(str(row["name"]) for page in self._server.rows({"id": 8, "name": 100}) for row in page)
        return [Person(name, counts[name]) for name in sorted(counts)]

    def count(self) -> int:
        """Number of templates."""
        return int(self._query("", ["count(*)"])[0]["count(*)"])

    def templates(self) -> tuple[list[str], Floats]:
        """All templates: names (sorted), matrix (T, embedding_size) float32, unit rows."""
        sizes = {"id": 8, "name": 100, "template": 16 * self.embedding_size}
        rows = [row for page in self._server.rows(sizes) for row in page]
        rows.sort(key=lambda row: (row["name"], row["id"]))
        return [str(row["name"]) for row in rows], self._matrix(rows)

    def changes(self) -> dict[int, int]:
        """Id -> change number of every template: it rises whenever the template is replaced."""
        pages = self._server.rows({"id": 8, "changed": 8})
        return {int(row["id"]): int(row["changed"]) for page in pages for row in page}

    def fetch(self, ids: Sequence[int]) -> Iterator[tuple[list[int], list[int], list[str], Floats]]:
        """Ids, change numbers, names, templates (N, embedding_size) of those ids that are there, some at a time."""
        for start in range(0, len(ids), AT_ONCE):
            wanted = ", ".join(str(int(id_)) for id_ in ids[start : start + AT_ONCE])
            rows = self._query(f"id in [{wanted}]", ["id", "changed", "name", "template"])
            yield (
                [int(row["id"]) for row in rows],
                [int(row["changed"]) for row in rows],
                [str(row["name"]) for row in rows],
                self._matrix(rows),
            )

    def search(self, embedding: npt.ArrayLike, top: int = 5) -> list[Candidate]:
        """The `top` most alike people, best first. See `Gallery.search`."""
        if top < 1:
            raise InputError(f"--top is {top}: give at least 1")
        probe = units([embedding], self.embedding_size)[0].tolist()
        limit = top
        while True:
            # People have several templates each: more rows, until there are enough people.
            limit = min(limit, LARGEST_PAGE)
            found = self._server.call(
                "search", data=[probe], limit=limit, output_fields=["name"], consistency_level="Strong"
            )[0]
            best: dict[str, float] = {}
            for hit in found:
                name = str(hit["entity"]["name"])
                best[name] = max(best.get(name, -1.0), min(1.0, float(hit["distance"])))
            if len(best) >= top or len(found) < limit or limit == LARGEST_PAGE:
                ordered = sorted(best.items(), key=lambda entry: (-entry[1], entry[0]))
                return [Candidate(name, score) for name, score in ordered[:top]]
            limit *= 4

    def masked(
        self, key: bytes, embed: Callable[[Halves], Floats], keep_bytes: int, batch: int = 64
    ) -> tuple[list[str], Floats]:
        """Refused: see `check_features`."""
        self.check_features((0, 0, 0))
        raise AssertionError("unreachable")

    def prepare(self, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
        """There is nothing to make ready; `describe`."""
        return self.describe()

    def describe(self) -> dict[str, Any]:
        """As JSON data: `templates`, the server, its index, and a note where that makes the search inexact."""
        exact = self._index == "FLAT"
        return {
            "templates": self.count(),
            "multiplied_by": f"Milvus {self._server.version()}",
            "index": self._index,
            "note": None if exact else f"the index of {self.place} is {self._index}, by which search is not exact",
        }

    def source(self) -> GallerySource:
        """Where its answers come from."""
        return GallerySource(self.place)

    def _query(self, condition: str, fields: list[str]) -> list[Row]:
        found = self._server.call("query", filter=condition, output_fields=fields, consistency_level="Strong")
        return [dict(row) for row in found]

    def _matrix(self, rows: Sequence[Row]) -> Floats:
        matrix = np.array([row["template"] for row in rows], np.float32).reshape(len(rows), self.embedding_size)
        if not (np.abs(np.linalg.norm(matrix, axis=1) - 1) < 1e-3).all():
            raise ArtefactError(f"gallery {self.place} is damaged (a template has changed): restore a backup of it")
        return matrix


def _new_id() -> int:
    """Ids are made here, by chance: of a million templates two are alike with a probability of 1e-7."""
    return secrets.randbits(62)


def _now() -> int:
    """Change number: microseconds since 1970."""
    return time.time_ns() // 1000


def _quoted(name: str) -> str:
    """As a string of the server's filters; names are printable."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
