"""A dictionary model's features in a gallery: 2 bytes a number on the disk, and the templates remade from them."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeface_runtime.errors import ArtefactError, InputError

__all__ = ["Halves", "MaskedTemplates", "pack", "unpack"]

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Shape = tuple[int, int, int]
Templates = tuple[list[str], Floats]


def pack(features: npt.ArrayLike, shape: Shape) -> bytes:
    """Features (C, h, w) as they lie in the file: little-endian float16, C * h * w * 2 bytes.

    Raises:
        InputError: of another shape, or beyond float16.
    """
    values = np.asarray(features)
    with np.errstate(over="ignore"):
        half = values.astype("<f2")
    if values.shape != shape or not np.isfinite(half).all():
        raise InputError(f"not a face's features: give {shape} numbers within +-65504; got {values.shape}")
    return half.tobytes()


def unpack(blobs: Sequence[object], shape: Shape, path: Path) -> Halves:
    """(N, C, h, w) float16 of the rows of the gallery at `path`.

    Raises:
        ArtefactError: a row is cut, holds what is no number, or was enrolled without features.
    """
    size_bytes = 2 * math.prod(shape)
    rows = [blob for blob in blobs if isinstance(blob, bytes) and len(blob) == size_bytes]
    if len(rows) != len(blobs):
        mend = "enrol them again" if None in blobs else "restore a backup of it"
        what = "templates without features" if None in blobs else "features are cut"
        raise ArtefactError(f"gallery {path} is damaged ({what}): {mend}")
    half = np.frombuffer(b"".join(rows), "<f2").reshape(len(rows), *shape)
    if not np.isfinite(half).all():
        raise ArtefactError(f"gallery {path} is damaged (features have changed): restore a backup of it")
    return np.asarray(half, np.float16)


class MaskedTemplates:
    """Templates remade for the FDMs used last, counted in bytes. Not safe to share between threads by itself."""

    def __init__(self) -> None:
        self._state: tuple[int, int] | None = None
        self._kept: OrderedDict[bytes, Templates] = OrderedDict()
        self.size_bytes = 0
        """Of all that is kept: matrices, names and keys."""

    def follow(self, state: tuple[int, int]) -> None:
        """Forget everything unless the gallery is as it was."""
        if state != self._state:
            self.clear()
            self._state = state

    def clear(self) -> None:
        """Forget everything."""
        self._kept.clear()
        self.size_bytes = 0

    def get(self, key: bytes) -> Templates | None:
        """What was kept under `key`, which is now the one used last."""
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: bytes, templates: Templates, keep_bytes: int) -> None:
        """Keep it, if it fits into `keep_bytes` at all; those not used for longest make room."""
        size_bytes = _size(key, templates)
        if size_bytes > keep_bytes:
            return
        self._kept[key] = templates
        self.size_bytes += size_bytes
        while self.size_bytes > keep_bytes:
            self.size_bytes -= _size(*self._kept.popitem(last=False))


def _size(key: bytes, templates: Templates) -> int:
    return len(key) + templates[1].nbytes + sum(len(name.encode()) for name in templates[0])
