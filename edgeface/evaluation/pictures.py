"""The pictures of a test as the network takes them: crops of its size, read from crops or cut out of photographs.

A folder of crops may have a `landmarks.json` in its root (`{"person/file.jpg": [[x, y] * 5]}`, pixels of the crop).
Box crops, which are not aligned, need it for what is fitted to the face. Without the file crops are taken for
aligned: their landmarks are those of the alignment template, that of a bundle, else ours, stretched to their size.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeface.data.align_command import align_command
from edgeface.data.align_template import check_template
from edgeface.data.landmarks import AGAIN
from edgeface.data.template import Points as Template
from edgeface.evaluation.occlusion import Occlusion
from edgeface_calibration.landmarks import LANDMARKS_NAME
from edgeface_runtime.align import CROP_SIZE, align, similarity, template_for
from edgeface_runtime.closing import Closing
from edgeface_runtime.detect import Detector, largest_central
from edgeface_runtime.errors import FaceError, ImageError, InputError
from edgeface_runtime.image import read_image

__all__ = ["BATCH", "Batch", "Failures", "Pictures", "Shot", "read_landmarks"]

BATCH = 32

Points = NDArray[np.float64]
Failures = dict[Path, str]
"""Picture -> why it gave nothing."""


@dataclass(frozen=True)
class Shot:
    """One face, ready for the network."""

    path: Path
    crop: NDArray[np.uint8]
    """(H, W, 3) uint8 BGR, covered where the test covers it."""
    landmarks: Points | None
    """(5, 2) pixels of the crop, where they are known."""
    covered: NDArray[np.bool_] | None
    """(H, W) what an occluder of the test hides; None where the test covers nothing."""


Batch = list[Shot]


def read_landmarks(folder: Path) -> dict[str, Points] | None:
    """The landmarks of a folder of crops, by name; None where it has no `landmarks.json`.

    Raises:
        InputError: the file is damaged, or holds something else than five points a picture.
    """
    path = folder / LANDMARKS_NAME
    if not path.is_file():
        return None
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        found = {str(name): np.array(points, np.float64) for name, points in data.items()}
    except (OSError, ValueError, TypeError, AttributeError) as exc:
        raise InputError(f"{path} is damaged: {AGAIN}") from exc
    for name, points in found.items():
        if points.shape != (5, 2) or not np.isfinite(points).all():
            raise InputError(f"{path} has no five points for {name}: {AGAIN}")
    return found


def _advice(size: tuple[int, int], template: Template | None, may_align: bool) -> str:
    """What makes crops of a network's size."""
    if size == CROP_SIZE:
        more = ", or give --align" if may_align else ""
        return f"run `{align_command(size, template=template)}` first{more}"
    return f"make them of the photographs with {align_command(size, 'PHOTOS CROPS', template)}"


class Pictures(Closing):
    """One folder's pictures. A context manager.

    Args:
        root: what names are relative to.
        size: (height, width) of the network's input.
        template: five points (x, y), pixels, onto which its faces are aligned; None: not said.
        detect: pictures are photographs: find the largest central face and align it; else they are crops already.
            None: they are, and the user has no --align to say otherwise.
        min_face: smallest face to look for, pixels.

    Raises:
        InputError: a damaged `landmarks.json`, or photographs for a network of unaligned crops.
    """

    def __init__(
        self,
        root: Path,
        size: tuple[int, int] = CROP_SIZE,
        template: Template | None = None,
        *,
        detect: bool | None = None,
        min_face: int = 40,
    ) -> None:
        if detect and template is None and size != CROP_SIZE:
            raise InputError(
                f"--align makes aligned crops of 112x96, this network takes {size[0]}x{size[1]}: "
                "cut the faces out with edgeface data align --crop box first"
            )
        self.root, self.size = root, size
        self._given = template
        self.template: Points = template_for(size) if template is None else np.array(template)
        self._may_align = detect is not None
        self._landmarks = None if detect else read_landmarks(root)
        self._detector = Detector(min_face=min_face) if detect else None
        self._min_face = min_face
        self._found: dict[Path, Points | str] = {}

    def close(self) -> None:
        """Let the detector go."""
        if self._detector is not None:
            self._detector.close()

    @property
    def how(self) -> dict[str, Any]:
        """How a picture becomes what the network takes, in plain data."""
        how = {"size": list(self.size), "align": self._detector is not None, "min_face": self._min_face}
        usual = np.allclose(self.template, template_for(self.size), atol=1e-3)
        return how if usual else {**how, "template": self.template.tolist()}

    @property
    def without_face(self) -> frozenset[Path]:
        """Photographs that were read and show no face."""
        return frozenset(path for path, found in self._found.items() if isinstance(found, str))

    def name(self, path: Path) -> str:
        """A picture's name: its path relative to the root, with forward slashes."""
        return path.relative_to(self.root).as_posix()

    def read(self, path: Path, occlusion: Occlusion | None = None) -> Shot:
        """One picture.

        Raises:
            ImageError: it cannot be read.
            FaceError: no face is found, or its landmarks are not known and the occluder needs them.
            InputError: it is a crop of another size.
        """
        crop, points = self._cut(path) if self._detector else self._take(path)
        if occlusion is None:
            return Shot(path, crop, points, None)
        if not occlusion.fitted:
            result = occlusion.cover(crop, self.name(path))
        elif points is None:
            raise FaceError(
                f"{path} has no landmarks in {LANDMARKS_NAME}, to which --occlusion {occlusion.kind} is fitted"
            )
        elif (points < 0).any() or (points >= self.size[::-1]).any():
            raise FaceError(f"{path} has a landmark outside the crop: --occlusion {occlusion.kind} is fitted to them")
        else:
            result = occlusion.cover(crop, self.name(path), points)
        return Shot(path, result.image, points, result.mask)

    def batches(
        self,
        paths: Sequence[Path],
        occlusion: Occlusion | None,
        failed: Failures,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> Iterator[Batch]:
        """Pictures in order, at most BATCH at a time. Those that cannot be read or show no face go into `failed`.

        Raises:
            InputError: a picture is a crop of another size.
        """
        pending = iter(paths)
        done = 0
        while part := list(islice(pending, BATCH)):
            batch = []
            for path in part:
                try:
                    batch.append(self.read(path, occlusion))
                except (ImageError, FaceError) as exc:
                    failed[path] = str(exc)
            if batch:
                yield batch
            done += len(part)
            progress(done, len(paths))

    def _take(self, path: Path) -> tuple[NDArray[np.uint8], Points | None]:
        crop = read_image(path)
        if crop.shape[:2] != self.size:
            raise InputError(
                f"{path} is {crop.shape[1]}x{crop.shape[0]}, not a crop of {self.size[1]} wide, {self.size[0]} high: "
                + _advice(self.size, self._given, self._may_align)
            )
        if self._given is not None:
            check_template(path, self.size, self._given)
        if self._landmarks is not None:
            return crop, self._landmarks.get(self.name(path))
        return crop, self.template

    def _cut(self, path: Path) -> tuple[NDArray[np.uint8], Points]:
        image = read_image(path)
        points = self._found.get(path)
        if points is None:
            points = self._find(image)
            self._found[path] = points
        if isinstance(points, str):
            raise FaceError(points)
        turn = similarity(points, self.template)
        return align(image, points, self.size, self.template), points @ turn[:, :2].T + turn[:, 2]

    def _find(self, image: NDArray[np.uint8]) -> Points | str:
        assert self._detector is not None
        faces = self._detector.detect(image)
        if not faces:
            return f"no face of {self._min_face} pixels or more found"
        return largest_central(faces, image.shape).landmarks.astype(np.float64)
