"""Objects pasted from pictures with transparency, not drawn: every PNG of a folder is a kind named by its stem."""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.occluders.sprite import Sprite
from edgeface_runtime.errors import ImageError, InputError

__all__ = ["load_template", "read_rgba", "template_kinds"]

_LONGEST_PX = 192


def template_kinds(folder: Path) -> dict[str, Path]:
    """The objects of a folder: stem -> PNG, sorted.

    Raises:
        InputError: no folder, or no PNG in it.
    """
    if not folder.is_dir():
        raise InputError(f"no folder of occluder templates at {folder}")
    kinds = {path.stem: path for path in sorted(folder.glob("*.png")) if not path.name.startswith(".")}
    if not kinds:
        raise InputError(f"no PNG in {folder}: occluder templates are PNG pictures with transparency")
    return kinds


@functools.lru_cache(maxsize=256)
def load_template(path: Path) -> Sprite:
    """Read one template, cropped to what is visible and reduced to 192 px at most.

    Raises:
        ImageError: unreadable, without an alpha channel, or wholly transparent.
    """
    bgr, alpha, _ = read_rgba(path, _LONGEST_PX, crop=True)
    padded = np.pad(alpha, 2)
    depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)
    y, x = np.unravel_index(int(np.argmax(depth)), depth.shape)
    return Sprite(np.pad(bgr, ((2, 2), (2, 2), (0, 0)), "edge"), padded, (float(x), float(y)))


def read_rgba(path: Path, longest_px: int, crop: bool = False) -> tuple[NDArray[np.uint8], NDArray[np.uint8], float]:
    """Colour (h, w, 3), opacity (h, w) and the factor a picture was reduced by so that no side exceeds `longest_px`.

    `crop` leaves out what is transparent all round.

    Raises:
        ImageError: unreadable, without an alpha channel, or wholly transparent.
    """
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as exc:
        raise ImageError(f"cannot read {path}: {exc.strerror or exc}") from exc
    decoded = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if decoded is None:
        raise ImageError(f"{path} is not a readable picture")
    if decoded.dtype != np.uint8 or decoded.ndim != 3 or decoded.shape[2] != 4:
        raise ImageError(f"{path} has no 8-bit alpha channel: occluder templates are RGBA PNG pictures")
    rgba = np.asarray(decoded, np.uint8)
    left, top, width, height = cv2.boundingRect(np.ascontiguousarray(rgba[..., 3]))
    if not width:
        raise ImageError(f"{path} is wholly transparent")
    if crop:
        rgba = rgba[top : top + height, left : left + width]
    height, width = rgba.shape[:2]
    reduce = min(longest_px / max(height, width), 1.0)
    alpha, bgr = np.ascontiguousarray(rgba[..., 3]), _bleed(rgba)
    if reduce < 1:
        size = (max(1, round(width * reduce)), max(1, round(height * reduce)))
        alpha = np.asarray(cv2.resize(alpha, size, interpolation=cv2.INTER_AREA), np.uint8)
        bgr = np.asarray(cv2.resize(bgr, size, interpolation=cv2.INTER_AREA), np.uint8)
    return bgr, alpha, reduce


def _bleed(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colours carried outwards over transparent pixels, whose own colour means nothing, so edges show no fringe."""
    weight = (rgba[..., 3] / 255.0).astype(np.float32)
    colour = rgba[..., :3].astype(np.float32)
    near = cv2.blur(colour * weight[..., None], (7, 7)) / (cv2.blur(weight, (7, 7)) + 1e-4)[..., None]
    filled = np.where(weight[..., None] > 0.9, colour, near)
    return np.clip(filled, 0, 255).astype(np.uint8)
