"""Reading pictures: every way a file can be bad is one `ImageError` line, and nothing half-decoded comes through."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface_runtime.errors import ImageError, InputError
from edgeface_runtime.image_header import read_header

__all__ = ["IMAGE_SUFFIXES", "MAX_PIXELS", "decode_image", "list_images", "read_image"]

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})
"""Suffixes, in small letters, of the files that `list_images` takes for pictures."""

MAX_PIXELS = 64_000_000
"""Larger pictures are refused before they are decoded."""


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read a JPEG, PNG, BMP or WebP picture, whatever its suffix says.

    Grey pictures become BGR, an alpha channel is dropped, 16 bits a channel become 8, and the orientation in the
    EXIF data is applied.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        ImageError: the file is missing, a folder, unreadable, empty, no picture, truncated, damaged, or larger than
            64 megapixels.
    """
    return decode_image(_read_bytes(path), path)


def decode_image(data: bytes, name: object) -> NDArray[np.uint8]:
    """Decode the bytes of a picture as `read_image` does; `name` is what messages call it.

    Returns:
        (H, W, 3) uint8 BGR.

    Raises:
        ImageError: no picture, truncated, damaged, or larger than 64 megapixels.
    """
    header = read_header(data)
    if header is None:
        raise ImageError(f"{name} is not a JPEG, PNG, BMP or WebP picture")
    if header.width * header.height > MAX_PIXELS:
        raise ImageError(
            f"{name} has {header.width}x{header.height} pixels, more than {MAX_PIXELS // 1_000_000} megapixels: "
            "make it smaller"
        )
    if header.fault:
        raise ImageError(f"{name} is a {header.fault} {header.format}: copy or export it again")
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as exc:
        raise ImageError(f"{name} is a damaged {header.format}: copy or export it again") from exc
    if image is None:
        raise ImageError(f"{name} is a damaged {header.format}: copy or export it again")
    return np.asarray(image, dtype=np.uint8)


def list_images(folder: Path, recursive: bool = False) -> list[Path]:
    """The pictures of a folder by their suffix, sorted; hidden files and folders are left out.

    Args:
        folder: where to look.
        recursive: look into its folders too.

    Raises:
        InputError: the folder is missing, no folder, or cannot be read.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder" if folder.exists() else f"folder not found: {folder}")
    try:
        found = folder.rglob("*") if recursive else folder.iterdir()
        return sorted(path for path in found if _is_picture(path, folder))
    except OSError as exc:
        raise InputError(f"cannot read folder {folder}: {exc.strerror or exc}") from exc


def _is_picture(path: Path, folder: Path) -> bool:
    hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
    return path.suffix.lower() in IMAGE_SUFFIXES and not hidden and path.is_file()


def _read_bytes(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise ImageError(f"{path} is a folder, not a picture")
        if not path.exists():
            raise ImageError(f"picture not found: {path}")
        if not path.is_file():
            raise ImageError(f"{path} is not a regular file")
        data = path.read_bytes()
    except OSError as exc:
        raise ImageError(f"cannot read {path}: {exc.strerror or exc}") from exc
    if not data:
        raise ImageError(f"{path} is empty")
    return data
