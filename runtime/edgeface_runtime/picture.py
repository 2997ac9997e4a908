"""A picture as recognition takes it: a path, the bytes of a file, or pixels that are read already."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeface_runtime.errors import ImageError
from edgeface_runtime.image import decode_image, read_image

__all__ = ["Picture", "Pixels", "pixels_of", "source_of"]

Pixels = npt.NDArray[np.uint8]
Picture = str | Path | bytes | npt.NDArray[Any]
"""A picture: its path, the bytes of a JPEG, PNG, BMP or WebP file, or (H, W, 3) uint8 BGR (Any: OpenCV does not type
what it returns any closer)."""


def pixels_of(picture: Picture) -> Pixels:
    """(H, W, 3) uint8 BGR; raises ImageError where it cannot be read or is of another shape."""
    if isinstance(picture, bytes):
        return decode_image(picture, "the picture")
    if not isinstance(picture, np.ndarray):
        return read_image(Path(picture))
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8 or picture.size == 0:
        raise ImageError(f"a picture must be (H, W, 3) uint8 BGR, not {picture.shape} {picture.dtype}")
    pixels: Pixels = picture
    return pixels


def source_of(picture: Picture) -> str:
    """Its path, empty for bytes and pixels."""
    return "" if isinstance(picture, np.ndarray | bytes) else str(picture)
