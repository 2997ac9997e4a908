"""What two faces are compared by. A matcher encodes pictures once, then scores pairs, or probes against a gallery.

Without masking at run time a code is the embedding, and a score the cosine (`PlainMatcher`). A mask dictionary needs
more (`edgeface.evaluation.masked`): its codes are trunk features, and what is covered decides how they are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeface.data.template import Points
from edgeface.evaluation.embedder import Embedder
from edgeface.evaluation.occlusion import Occlusion
from edgeface.evaluation.pictures import Failures, Pictures
from edgeface_runtime.errors import InputError

__all__ = ["CHUNK", "Covered", "Encoded", "Matcher", "PlainMatcher", "Progress", "no_progress"]

CHUNK = 256
"""Faces of a side scored at once: bounds memory."""

Floats = NDArray[np.floating[Any]]
Covered = tuple[bool, ...]
"""For each region of a dictionary whether it is covered."""
Progress = Callable[[int, int], None]


def no_progress(done: int, total: int) -> None:
    """Says nothing."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """Pictures of one side, those that failed left out."""

    paths: tuple[Path, ...]
    codes: Floats
    """(N, E) float32 embeddings, or (N, C, h, w) float16 features."""
    covered: tuple[Covered, ...]
    """What covers each of them; empty where nothing looks."""
    failed: Failures

    @cached_property
    def row(self) -> dict[Path, int]:
        """Picture -> its row."""
        return {path: at for at, path in enumerate(self.paths)}


class Matcher(Protocol):
    """Compares faces."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the faces it takes."""

    @property
    def template(self) -> Points | None:
        """Where the five points of its aligned faces lie, pixels; None: not said."""

    @property
    def label(self) -> str:
        """What masks at run time, in a word; empty for nothing."""

    @property
    def coded(self) -> dict[str, Any]:
        """What codes are and what runs the network, in plain data: where it is the same, so are a network's codes."""

    def encode(
        self,
        pictures: Pictures,
        paths: Sequence[Path],
        occlusion: Occlusion | None = None,
        *,
        probe: bool = False,
        progress: Progress = no_progress,
    ) -> Encoded:
        """Encode pictures; of probes what covers them is looked at.

        Raises:
            InputError: a picture is a crop of another size, or not one of them could be used.
        """

    def pair_scores(self, first: Encoded, second: Encoded, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n,) cosines of pairs (n, 2): a row of `first` and one of `second`, which are probes."""

    def probe_scores(self, gallery: Encoded, probes: Encoded) -> Iterator[tuple[NDArray[np.int64], Floats]]:
        """Parts of the table of probes by gallery pictures: (rows of probes (k,), cosines (k, gallery))."""

    def describe(self) -> dict[str, Any]:
        """What ran, for the report."""


class PlainMatcher:
    """Cosine of embeddings."""

    label = ""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self.size = embedder.size
        self.template = embedder.template
        self.shares = embedder.shares
        self.coded = {"codes": "embeddings", **embedder.describe}

    def encode(
        self,
        pictures: Pictures,
        paths: Sequence[Path],
        occlusion: Occlusion | None = None,
        *,
        probe: bool = False,
        progress: Progress = no_progress,
    ) -> Encoded:
        failed: Failures = {}
        done: list[Path] = []
        vectors = []
        for batch in pictures.batches(paths, occlusion, failed, progress):
            done += [shot.path for shot in batch]
            vectors.append(self._embedder.run(np.stack([shot.crop for shot in batch])))
        if not vectors:
            raise none_usable(paths, failed)
        return Encoded(tuple(done), np.concatenate(vectors), (), failed)

    def pair_scores(self, first: Encoded, second: Encoded, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        parts = [
            np.einsum("ne,ne->n", first.codes[part[:, 0]], second.codes[part[:, 1]])
            for part in np.array_split(rows, max(1, len(rows) // CHUNK))
        ]
        return np.concatenate(parts).astype(np.float64)

    def probe_scores(self, gallery: Encoded, probes: Encoded) -> Iterator[tuple[NDArray[np.int64], Floats]]:
        for start in range(0, len(probes.paths), CHUNK):
            rows = np.arange(start, min(start + CHUNK, len(probes.paths)))
            yield rows, probes.codes[rows] @ gallery.codes.T

    def describe(self) -> dict[str, Any]:
        return self._embedder.describe


def none_usable(paths: Sequence[Path], failed: Failures) -> InputError:
    """The error of a side none of whose pictures gave a face."""
    reason = next(iter(failed.values()), "there is none")
    return InputError(f"none of {len(paths)} pictures could be used: {reason}")
