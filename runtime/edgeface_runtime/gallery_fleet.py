"""A gallery on a server with a copy on the device, which answers while the server is away and says so.

The copy is brought up to date at opening, after every change made here, and every SYNC_S seconds while it is used.
Ids and change numbers of all templates are compared: what was deleted anywhere disappears, and only what is new or
replaced travels, whatever the clocks of those who wrote it. While the server is away it is looked for every RETRY_S
seconds, in the background.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from edgeface_runtime.closing import Closing
from edgeface_runtime.errors import ArtefactError, EdgefaceError, InputError, ServerError
from edgeface_runtime.gallery_copy import GalleryCopy
from edgeface_runtime.gallery_like import GalleryLike
from edgeface_runtime.gallery_results import Candidate, Erasure, GallerySource, Person
from edgeface_runtime.milvus_address import MilvusAddress
from edgeface_runtime.milvus_gallery import MilvusGallery

__all__ = ["RETRY_S", "SYNC_S", "FleetGallery", "bring_up_to_date"]

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Answer = TypeVar("Answer")

SYNC_S = 60.0
RETRY_S = 10.0


class FleetGallery(Closing):
    """An open gallery on a server and its copy; a context manager, safe to share between threads.

    Args:
        address: the collection.
        cache: the copy's file, made where it is missing.
        model_id, embedding_size, create, features: see `MilvusGallery`.

    Raises:
        InputError: the server knows no such gallery or refuses the token, or `cache` is no copy of it.
        ArtefactError: of another model, or the copy is damaged.
        ServerError: the server cannot be reached, and the copy is not there or was never complete.
    """

    def __init__(
        self,
        address: MilvusAddress,
        cache: Path,
        model_id: str | None = None,
        embedding_size: int | None = None,
        create: bool = False,
        features: tuple[int, int, int] | None = None,
    ) -> None:
        self.place = address.place
        self.cache = cache
        self._open_server: Callable[[], MilvusGallery] = lambda: MilvusGallery(
            address, model_id, embedding_size, create, features
        )
        self._lock = threading.Lock()
        self._syncing = threading.Lock()
        self._tending = False
        self._closed = False
        self._fatal: EdgefaceError | None = None
        self._away: ServerError | None = None
        self._server: MilvusGallery | None = None
        try:
            self._server = self._open_server()
        except ServerError as exc:
            self._away = exc
            self._copy = self._left_behind(model_id, embedding_size, exc)
        else:
            try:
                self._copy = self._made(self._server)
            except BaseException:
                self._server.close()
                raise
        self.model_id = self._copy.model_id
        self.embedding_size = self._copy.embedding_size
        try:
            if self._server is not None:
                self._sync()
                if self._away is not None and self._copy.synced() is None:
                    raise self._away
        except BaseException:
            self.close()
            raise
        self._due = time.monotonic() + (SYNC_S if self._away is None else RETRY_S)

    def _made(self, server: MilvusGallery) -> GalleryCopy:
        try:
            return GalleryCopy(self.cache, self.place, server.model_id, server.embedding_size)
        except ArtefactError as exc:
            raise ArtefactError(f"the copy {self.cache} cannot be used ({exc}): delete it, it is made anew") from exc

    def _left_behind(self, model_id: str | None, embedding_size: int | None, away: ServerError) -> GalleryCopy:
        if not self.cache.exists():
            raise ServerError(f"{away}; and there is no copy {self.cache} yet") from away
        copy = GalleryCopy(self.cache, self.place, model_id, embedding_size, make=False)
        if copy.synced() is None:
            copy.close()
            raise ServerError(f"{away}; and the copy {self.cache} was never complete") from away
        return copy

    def close(self) -> None:
        """Drop the connection and close the copy. Closing twice does nothing."""
        with self._lock:
            self._closed = True
            server, self._server = self._server, None
        if server is not None:
            server.close()
        with self._syncing:  # a comparison in the background ends first; its calls are bounded
            self._copy.close()

    def source(self) -> GallerySource:
        """Where its answers come from now: the server, or the copy and since when that is stale."""
        with self._lock:
            away = self._away
        if away is None:
            return GallerySource(self.place)
        return GallerySource(str(self.cache), self.place, self._copy.synced(), str(away))

    def _sync(self) -> None:
        """Reach the server, if need be anew, and bring the copy up to date; whether that went well is in `_away`."""
        with self._syncing:
            with self._lock:
                server = self._server
                if self._closed:
                    return
            try:
                if server is None:
                    server = self._open_server()
                bring_up_to_date(self._copy, server)
            except ServerError as exc:
                self._lost(server, exc)
                return
            with self._lock:
                if not self._closed:
                    self._server, self._away = server, None
                    return
            server.close()

    def _lost(self, server: MilvusGallery | None, exc: ServerError) -> None:
        with self._lock:
            if self._server is None or self._server is server:  # else another thread has reached it anew
                self._server, self._away = None, exc
                self._due = time.monotonic() + RETRY_S
        if server is not None:
            server.close()

    def _tend(self) -> None:
        """Where it is time to, look after server and copy in the background."""
        with self._lock:
            if self._fatal is not None:
                raise self._fatal
            if self._closed or self._tending or time.monotonic() < self._due:
                return
            self._tending = True
        threading.Thread(target=self._tend_now, name="edgeface-gallery", daemon=True).start()

    def _tend_now(self) -> None:
        fatal = None
        try:
            self._sync()
        except EdgefaceError as exc:
            fatal = exc  # the server is there, and has no gallery of this model for us any more
        with self._lock:
            self._tending = False
            if not self._closed:
                self._fatal = fatal
                self._due = time.monotonic() + (SYNC_S if self._away is None else RETRY_S)

    def _ask(self, question: Callable[[GalleryLike], Answer]) -> Answer:
        """The server's answer, or the copy's while that is away."""
        self._tend()
        with self._lock:
            server = self._server
            if self._closed:
                raise InputError(f"gallery {self.place} is closed: open it again")
        if server is not None:
            try:
                return question(server)
            except ServerError as exc:
                self._lost(server, exc)
        return question(self._copy)

    def _change(self, change: Callable[[GalleryLike], Answer]) -> Answer:
        """A change made by the server, which the copy then follows."""
        if self._away is not None:
            self._sync()
        with self._lock:
            server, away = self._server, self._away
            if self._closed:
                raise InputError(f"gallery {self.place} is closed: open it again")
        if server is None:
            raise ServerError(
                f"{away}; until it is back nobody is enrolled or deleted, and faces are identified by the copy "
                f"{self.cache}"
            )
        try:
            done = change(server)
        except ServerError as exc:
            self._lost(server, exc)
            raise
        self._sync()
        return done

    def check_model(self, model_id: str | None, embedding_size: int | None = None) -> None:
        """See `Gallery.check_model`."""
        self._copy.check_model(model_id, embedding_size)

    def check_features(self, features: tuple[int, int, int] | None) -> None:
        """See `MilvusGallery.check_features`."""
        self._copy.check_features(features)

    def enroll(self, name: str, template: npt.ArrayLike, source: str = "") -> int:
        """See `MilvusGallery.enroll`; ServerError while the server is away."""
        return self._change(lambda gallery: gallery.enroll(name, template, source))

    def enroll_many(
        self,
        name: str,
        templates: Sequence[npt.ArrayLike],
        sources: Sequence[str],
        features: Sequence[npt.ArrayLike] | None = None,
    ) -> list[int]:
        """See `MilvusGallery.enroll_many`; ServerError while the server is away."""
        return self._change(lambda gallery: gallery.enroll_many(name, templates, sources, features))

    def enroll_batch(
        self,
        names: Sequence[str],
        templates: Sequence[npt.ArrayLike] | npt.ArrayLike,
        sources: Sequence[str] | None = None,
        features: Sequence[npt.ArrayLike] | None = None,
    ) -> list[int]:
        """See `MilvusGallery.enroll_batch`; ServerError while the server is away."""
        return self._change(lambda gallery: gallery.enroll_batch(names, templates, sources, features))

    def replace(
        self, template_id: int, template: npt.ArrayLike, source: str = "", feature: npt.ArrayLike | None = None
    ) -> Erasure:
        """See `MilvusGallery.replace`; ServerError while the server is away."""
        return self._change(lambda gallery: gallery.replace(template_id, template, source, feature))

    def delete(self, name: str) -> Erasure:
        """See `MilvusGallery.delete`; ServerError while the server is away. This device's copy follows at once."""
        return self._change(lambda gallery: gallery.delete(name))

    def people(self) -> list[Person]:
        """Everybody enrolled, by name."""
        return self._ask(lambda gallery: gallery.people())

    def count(self) -> int:
        """Number of templates."""
        return self._ask(lambda gallery: gallery.count())

    def templates(self) -> tuple[list[str], Floats]:
        """All templates: names (sorted), matrix (T, embedding_size) float32, unit rows."""
        return self._ask(lambda gallery: gallery.templates())

    def search(self, embedding: npt.ArrayLike, top: int = 5) -> list[Candidate]:
        """The `top` most alike people, best first."""
        return self._ask(lambda gallery: gallery.search(embedding, top))

    def masked(
        self, key: bytes, embed: Callable[[Halves], Floats], keep_bytes: int, batch: int = 64
    ) -> tuple[list[str], Floats]:
        """Refused: see `MilvusGallery.check_features`."""
        return self._ask(lambda gallery: gallery.masked(key, embed, keep_bytes, batch))

    def prepare(self, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
        """See `MilvusGallery.prepare`, or while the server is away `Gallery.prepare`."""
        return self._ask(lambda gallery: gallery.prepare(progress))

    def describe(self) -> dict[str, Any]:
        """As JSON data: see `MilvusGallery.describe`, or while the server is away `Gallery.describe`."""
        return self._ask(lambda gallery: gallery.describe())


def bring_up_to_date(copy: GalleryCopy, server: MilvusGallery) -> None:
    """Make `copy` hold what `server` does. Stopped half-way it goes on where it was, and erasures come first.

    Raises:
        ServerError: the server cannot be reached.
        InputError: the copy cannot be written.
    """
    moment = datetime.now(timezone.utc).isoformat(timespec="seconds")
    there = server.changes()
    copy.forget([id_ for id_ in copy.versions() if id_ not in there])
    here = copy.versions()
    for batch in server.fetch([id_ for id_, number in there.items() if here.get(id_) != number]):
        copy.put(*batch)
    copy.stamp(moment)
