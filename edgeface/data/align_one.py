"""One photograph to one crop: aligned on five landmarks, or the detector's box resized without alignment.

The box form is Johnston & Ngxande 2022's: the MTCNN box of the face, 128x96, the face in it as it was held. What lies
outside the picture is black.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface.data.align_journal import Entry
from edgeface.data.template import Points
from edgeface_runtime.align import CROP_SIZE, align
from edgeface_runtime.box_crop import box_crop
from edgeface_runtime.detect import Detector, largest_central
from edgeface_runtime.errors import EdgefaceError, FaceError
from edgeface_runtime.files import write_bytes
from edgeface_runtime.image import read_image

__all__ = ["BOX_SIZE", "CROPS", "AlignSettings", "align_one", "box_crop", "fingerprint"]

BOX_SIZE = (128, 96)
"""Height and width of a box crop, pixels, where nothing else is asked for."""

CROPS = ("aligned", "box")
"""How a face may be cut out."""

MAX_SIDE = 1024
"""Largest height or width of a crop, pixels."""


@dataclass(frozen=True)
class AlignSettings:
    """What decides how the crops come out; a folder is resumed only under the settings it was begun with."""

    min_face: int = 40
    """Smallest side of a face to look for, pixels."""

    jpeg_quality: int = 95
    """JPEG quality of the crops, 1 to 100."""

    crop: str = "aligned"
    """`aligned`: five points onto the template; `box`: the detector's box, resized."""

    size: tuple[int, int] | None = None
    """Height and width of a crop, pixels; None: 128x96 for box crops, 112x96 for aligned ones."""

    template: Points | None = None
    """Where the points of an aligned face come to lie, pixels of the crop; None: as `template_for` says."""

    def __post_init__(self) -> None:
        if self.min_face < 12:
            raise ValueError(f"--min-face must be at least 12 pixels, got {self.min_face}")
        if not 1 <= self.jpeg_quality <= 100:
            raise ValueError(f"--quality must be from 1 to 100, got {self.jpeg_quality}")
        if self.crop not in CROPS:
            raise ValueError(f"--crop must be {' or '.join(CROPS)}, got {self.crop!r}")
        if self.template is not None and self.crop != "aligned":
            raise ValueError("--template goes with --crop aligned: a box crop is not aligned")
        if self.size is not None and not all(16 <= side <= MAX_SIDE for side in self.size):
            raise ValueError(f"--size must be from 16x16 to {MAX_SIDE}x{MAX_SIDE}, got {self.size[0]}x{self.size[1]}")

    @property
    def crop_size(self) -> tuple[int, int]:
        """Height and width of the crops, pixels."""
        return self.size or (CROP_SIZE if self.crop == "aligned" else BOX_SIZE)


def align_one(
    path: Path, name: str, target: Path, crop: str | None, detector: Detector, settings: AlignSettings
) -> Entry:
    """Write the crop of the largest central face of a picture to `target`/`crop`, and say what was done.

    Args:
        path: the picture.
        name: what it is called in the list.
        target: the folder of crops.
        crop: the crop's name in it; None: the picture lies in no person's folder and is skipped.
        detector: open.
        settings: see `AlignSettings`.

    Returns:
        Its entry of the list: `crop`, `box`, `landmarks` and, for box crops, `crop_landmarks` (pixels of the crop);
        or `skipped` with the reason.

    Raises:
        InputError: the crop cannot be written.
    """
    entry: Entry = {"source": name, **fingerprint(path)}
    if crop is None:
        return {**entry, "skipped": "lies in no person's folder"}
    try:
        image = read_image(path)
        faces = detector.detect(image)
        if not faces:
            raise FaceError(f"no face of {settings.min_face} pixels or more found")
        face = largest_central(faces, image.shape)
        if settings.crop == "box":
            pixels, points = box_crop(image, face.box, face.landmarks, settings.crop_size)
        else:
            pixels, points = align(image, face.landmarks, settings.crop_size, settings.template), None
    except EdgefaceError as exc:
        return {**entry, "skipped": str(exc).replace(f"{path} is", "is")}
    done, data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, settings.jpeg_quality])
    assert done
    write_bytes(target / crop, data.tobytes())
    entry |= {
        "crop": crop,
        "faces": len(faces),
        "score": round(face.score, 4),
        "box": [round(float(value), 2) for value in face.box],
        "landmarks": _rounded(face.landmarks),
    }
    return entry if points is None else {**entry, "crop_landmarks": _rounded(points)}


def fingerprint(path: Path) -> Entry:
    """Size and time of change, by which a later run tells whether a picture is still the same."""
    try:
        stat = path.stat()
    except OSError:
        return {"size_bytes": -1, "modified_ns": -1}
    return {"size_bytes": stat.st_size, "modified_ns": stat.st_mtime_ns}


def _rounded(points: NDArray[np.floating]) -> list[list[float]]:
    return [[round(float(x), 2), round(float(y), 2)] for x, y in points]
