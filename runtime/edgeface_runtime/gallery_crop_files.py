"""The pictures of a gallery's kept crops: how they are cut, written and read (see gallery_crops.py)."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from edgeface_runtime.errors import ImageError
from edgeface_runtime.files import atomic_path
from edgeface_runtime.gallery_crops import Crop, erase_file, folder_of, said_folder
from edgeface_runtime.image import decode_image
from edgeface_runtime.manifest import Manifest

__all__ = ["crop_spec", "discard", "keep", "load"]

Pixels = npt.NDArray[np.uint8]


def crop_spec(manifest: Manifest) -> str:
    """How a bundle wants faces cut, in words to compare: crops of the same are good for another model."""
    size = f"{manifest.crop} {manifest.input.height}x{manifest.input.width}"
    if manifest.crop == "box":
        return size
    points = repr([[float(x), float(y)] for x, y in manifest.template])
    return f"{size} {hashlib.sha256(points.encode()).hexdigest()[:8]}"


def keep(gallery: Path, folder: Path, crops: Sequence[Pixels], spec: str) -> list[Crop]:
    """Write crops, all or none, durable on return; they belong to nobody until `link`.

    Args:
        gallery: the gallery's file, which is there; crops get its permissions.
        folder: made if it is missing.
        crops: (H, W, 3) uint8 BGR each.
        spec: `crop_spec` of the bundle that wanted them.

    Raises:
        InputError: the folder cannot be written.
    """
    said = said_folder(gallery, folder)
    mode = gallery.stat().st_mode & 0o777
    kept: list[Crop] = []
    try:
        for crop in crops:
            data = cv2.imencode(".png", crop)[1].tobytes()
            kept.append(Crop(said, f"{secrets.token_hex(16)}.png", hashlib.sha256(data).hexdigest(), spec))
            with atomic_path(folder_of(gallery, said) / kept[-1].file, mode) as temporary:
                temporary.write_bytes(data)
    except BaseException:
        discard(gallery, kept)
        raise
    return kept


def discard(gallery: Path, crops: Sequence[Crop]) -> None:
    """Take crops back that were kept for an enrolment that failed."""
    for crop in crops:
        with contextlib.suppress(OSError):
            erase_file(folder_of(gallery, crop.folder) / crop.file)


def load(path: Path, sha256: str) -> Pixels:
    """Read a kept crop, (H, W, 3) uint8 BGR.

    Raises:
        ImageError: it is missing, or not the file that was kept.
    """
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise ImageError(f"the kept crop {path} cannot be read: {exc.strerror or exc}") from exc
    if hashlib.sha256(data).hexdigest() != sha256:
        raise ImageError(f"the kept crop {path} has changed")
    return decode_image(data, path)
