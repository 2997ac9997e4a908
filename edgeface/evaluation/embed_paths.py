"""Embedding many crops, each once, clean or occluded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeface.evaluation.embedder import Embedder
from edgeface.evaluation.occlusion import DEFAULT_SHARE, Occlusion
from edgeface.evaluation.pictures import Failures, Pictures
from edgeface_runtime.errors import ImageError

__all__ = ["DEFAULT_SHARE", "Occlusion", "embed_paths"]


def embed_paths(
    embedder: Embedder,
    paths: Sequence[Path],
    root: Path,
    *,
    view: Occlusion | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.float32]:
    """Embed crops, all or none.

    Args:
        paths: crops of the embedder's size.
        root: what the names are relative to that decide how a picture is covered.
        view: covers the pictures; None leaves them clean.
        progress: called with (done, total).

    Returns:
        (N, 512) float32, unit length, in the order of `paths`.

    Raises:
        ImageError: a picture cannot be read.
        InputError: a picture is no crop of that size.
    """
    failed: Failures = {}
    found = []
    for batch in Pictures(root, embedder.size, embedder.template).batches(paths, view, failed, progress):
        found.append(embedder.run(np.stack([shot.crop for shot in batch])))
        if failed:
            break
    if failed:
        raise ImageError(next(iter(failed.values())))
    return np.concatenate(found) if found else np.empty((0, 512), np.float32)
