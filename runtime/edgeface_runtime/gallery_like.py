"""What recognition needs of a gallery: the local file, one on a server, and one on a server with a local copy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from edgeface_runtime.gallery_results import Candidate, Erasure, GallerySource, Person

__all__ = ["GalleryLike"]

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Kept = TypeVar("Kept", bound="GalleryLike")


class GalleryLike(Protocol):
    """People and their templates, bound to one model. A context manager, safe to share between threads.

    `Gallery` says what arguments and errors mean; a gallery on a server also raises ServerError.
    """

    @property
    def model_id(self) -> str:
        """The model whose templates it holds."""

    @property
    def embedding_size(self) -> int:
        """Numbers of a template."""

    @property
    def place(self) -> str:
        """What to call it in messages: its path or address, without what is secret in it."""

    def __enter__(self: Kept) -> Kept:
        """The gallery itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""

    def close(self) -> None:
        """Let go; closing twice does nothing."""

    def check_model(self, model_id: str | None, embedding_size: int | None = None) -> None:
        """Raise ArtefactError unless it is of that model."""

    def check_features(self, features: tuple[int, int, int] | None) -> None:
        """Raise ArtefactError unless it keeps features of that shape; None is a model that gives none."""

    def enroll(self, name: str, template: npt.ArrayLike, source: str = "") -> int:
        """Add one template and return its id."""

    def enroll_many(
        self,
        name: str,
        templates: Sequence[npt.ArrayLike],
        sources: Sequence[str],
        features: Sequence[npt.ArrayLike] | None = None,
    ) -> list[int]:
        """Add templates of one person, all or none, and return their ids."""

    def enroll_batch(
        self,
        names: Sequence[str],
        templates: Sequence[npt.ArrayLike] | npt.ArrayLike,
        sources: Sequence[str] | None = None,
        features: Sequence[npt.ArrayLike] | None = None,
    ) -> list[int]:
        """Add templates of many people; their ids, ascending."""

    def replace(
        self, template_id: int, template: npt.ArrayLike, source: str = "", feature: npt.ArrayLike | None = None
    ) -> Erasure:
        """Put a template in the place of another; whose it is stays."""

    def delete(self, name: str) -> Erasure:
        """Delete a person's templates."""

    def people(self) -> list[Person]:
        """Everybody enrolled, by name."""

    def count(self) -> int:
        """Number of templates."""

    def templates(self) -> tuple[list[str], Floats]:
        """All templates: names (sorted), matrix (T, embedding_size) float32, unit rows."""

    def search(self, embedding: npt.ArrayLike, top: int = 5) -> list[Candidate]:
        """The `top` most alike people, best first."""

    def masked(
        self, key: bytes, embed: Callable[[Halves], Floats], keep_bytes: int, batch: int = 64
    ) -> tuple[list[str], Floats]:
        """All templates made anew from their features."""

    def prepare(self, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
        """Make ready for searching now instead of at the first search, and return `describe`."""

    def describe(self) -> dict[str, Any]:
        """As JSON data: `templates`, how they are searched, and `note`: what is wrong with that."""

    def source(self) -> GallerySource:
        """Where its answers come from now."""
