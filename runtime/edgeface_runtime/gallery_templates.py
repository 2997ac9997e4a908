"""Templates as they lie in a gallery: unit vectors, float32, little-endian."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeface_runtime.errors import ArtefactError, InputError

__all__ = ["by_name", "stack", "units"]

Floats = npt.NDArray[np.float32]


def units(vectors: npt.ArrayLike | Sequence[npt.ArrayLike], size: int) -> Floats:
    """(T, size) float32 rows of length 1 from rows of any length but zero.

    Raises:
        InputError: a row of another size, not finite, or zero.
    """
    try:
        rows = np.asarray(vectors, dtype=np.float32)
    except (ValueError, TypeError) as exc:  # rows of different sizes
        raise InputError(f"not an embedding: give ({size},) finite numbers, not all zero ({exc})") from exc
    if rows.ndim != 2 or rows.shape[1] != size:
        raise InputError(f"not an embedding: give ({size},) finite numbers, not all zero; got {rows.shape[1:]}")
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(rows, axis=1)
    if not (np.isfinite(lengths) & (lengths >= 1e-12)).all():
        raise InputError(f"not an embedding: give ({size},) finite numbers, not all zero; got {rows.shape[1:]}")
    return np.asarray(rows / lengths[:, None], dtype="<f4")


def stack(blobs: Sequence[object], size: int, path: Path) -> Floats:
    """(T, size) float32 of the rows of the gallery at `path`.

    Raises:
        ArtefactError: a template is cut or has changed.
    """
    rows = [blob for blob in blobs if isinstance(blob, bytes) and len(blob) == 4 * size]
    if len(rows) != len(blobs):
        raise ArtefactError(f"gallery {path} is damaged (a template is cut): restore a backup of it")
    matrix = np.frombuffer(b"".join(rows), dtype="<f4").reshape(len(rows), size)
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.sqrt(np.einsum("ij,ij->i", matrix, matrix))
    if not (np.abs(lengths - 1) < 1e-3).all():
        raise ArtefactError(f"gallery {path} is damaged (a template has changed): restore a backup of it")
    return np.asarray(matrix, np.float32)


def by_name(names: list[str], matrix: Floats) -> tuple[list[str], Floats]:
    """Names sorted, with their rows (T, E); the rows of one person stay in their order."""
    order = sorted(range(len(names)), key=names.__getitem__)
    if order == list(range(len(names))):
        return names, matrix
    return [names[row] for row in order], matrix[order]
