"""Embedding many pictures, each once, clean or occluded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeface.data.faces import read_crop
from edgeface.evaluation.embedder import Embedder
from edgeface_calibration.occluded_set import occluded_view
from edgeface_calibration.occluders import KINDS, WORN
from edgeface_runtime.errors import InputError

__all__ = ["DEFAULT_SHARE", "Occlusion", "embed_paths"]

BATCH = 32
DEFAULT_SHARE = 0.4
"""Occ-LFW's covered share of the area, for objects; worn things have their natural size."""

View = Callable[[NDArray[np.uint8], str], NDArray[np.uint8]]


class Occlusion:
    """Covers a picture, the same way whenever it is asked: by (seed, name of the picture).

    Raises:
        InputError: unknown kind, or a share out of range.
    """

    def __init__(self, kind: str, share: float | None = None, seed: int = 0) -> None:
        if kind not in KINDS:
            raise InputError(f"unknown --occlusion {kind!r}: choose none or one of {', '.join(KINDS)}")
        if share is not None and not 0 < share <= 0.9:
            raise InputError(f"--share must be above 0 and at most 0.9, got {share}")
        self.kind, self.seed = kind, seed
        self.share = DEFAULT_SHARE if share is None and kind not in WORN and kind != "mix" else share

    @property
    def label(self) -> str:
        """In words: `random .4`, `mask`."""
        return self.kind if self.share is None else f"{self.kind} {self.share:g}".replace(" 0.", " .")

    def __call__(self, image: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
        return occluded_view(image, self.kind, self.seed, name, self.share).image


def embed_paths(
    embedder: Embedder,
    paths: Sequence[Path],
    root: Path,
    *,
    view: View | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.float32]:
    """Embed aligned pictures.

    Args:
        paths: 112x96 pictures.
        root: what the names given to `view` are relative to.
        view: covers a picture, given its name; None leaves it clean.
        progress: called with (done, total).

    Returns:
        (N, 512) float32, unit length, in the order of `paths`.

    Raises:
        ImageError: a picture cannot be read.
        InputError: a picture is no aligned crop.
    """
    found = []
    for batch in _batches(paths):
        found.append(embedder.run(np.stack([_read(path, root, view) for path in batch])))
        progress(sum(map(len, found)), len(paths))
    return np.concatenate(found) if found else np.empty((0, 512), np.float32)


def _batches(paths: Sequence[Path]) -> Iterator[Sequence[Path]]:
    for start in range(0, len(paths), BATCH):
        yield paths[start : start + BATCH]


def _read(path: Path, root: Path, view: View | None) -> NDArray[np.uint8]:
    image = read_crop(path)
    return image if view is None else view(image, path.relative_to(root).as_posix())
