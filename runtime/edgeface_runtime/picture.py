"""A picture as recognition takes it: a path, the bytes of a file, or pixels that are read already."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeface_runtime.errors import ImageError
from edgeface_runtime.image import decode_image, read_image

__all__ = ["Picture", "Pixels", "pixels_of", "source_of"]

Pixels = npt.NDArray[np.uint8]
Picture = str | Path | bytes | bytearray | memoryview | npt.NDArray[Any]
"""A picture: its path, the bytes of a JPEG, PNG, BMP or WebP file, or (H, W, 3) uint8 BGR (Any: OpenCV does not type
what it returns any closer)."""


def pixels_of(picture: Picture) -> Pixels:
    """(H, W, 3) uint8 BGR; raises ImageError where it cannot be read or is of another shape."""
    if isinstance(picture, bytes | bytearray | memoryview):
        return decode_image(bytes(picture), "the picture")
    if isinstance(picture, str | os.PathLike):
        return read_image(Path(picture))
    if not isinstance(picture, np.ndarray):
        raise ImageError(
            "a picture is a path, the bytes of a file, or (H, W, 3) uint8 BGR pixels (numpy), "
            f"not {type(picture).__name__}: give several one by one"
        )
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or picture.size == 0:
        raise ImageError(f"a picture must be (H, W, 3) uint8 BGR, not {picture.shape} {picture.dtype}")
    pixels: Pixels = picture
    return pixels


def source_of(picture: Picture) -> str:
    """Its path, empty for bytes and pixels."""
    return str(picture) if isinstance(picture, str | os.PathLike) else ""
