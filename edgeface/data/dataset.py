"""Training samples: a face, perhaps mirrored, shifted and covered, as a pure function of (seed, epoch, position)."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from edgeface.data.faces import Faces
from edgeface.data.sampler import Draw
from edgeface_calibration.occluders import occlude
from edgeface_runtime.align import CROP_SIZE, TEMPLATE

__all__ = ["Augment", "FaceDataset", "Occlusion", "is_occluded"]

HEIGHT, WIDTH = CROP_SIZE


@dataclass(frozen=True)
class Augment:
    """Changes that keep the face."""

    flip: bool = True
    """Mirror half of the faces."""
    shift_px: int = 2
    """Move by up to this many pixels each way; the border is repeated."""


@dataclass(frozen=True)
class Occlusion:
    """What covers the faces of the occluded part."""

    part: float = 2 / 3
    """Occluded share of the samples; 2/3 is the paper's 1:2 mixture of clean and occluded."""
    kinds: tuple[str, ...] = ("mix",)
    """Names of the occluder registry, drawn evenly."""
    share: tuple[float, float] | None = None
    """Covered share of the area, drawn from this range; None: sizes follow `scale`."""
    scale: tuple[float, float] | None = None
    """Size of the occluder in 1..5, drawn from this range; None: as the occluder draws it."""


def is_occluded(position: int, part: float) -> bool:
    """Whether the sample at `position` is covered: of any n in a row, n * part are, to within one."""
    return int((position + 1) * part + 1e-9) > int(position * part + 1e-9)


class FaceDataset(Dataset[tuple[NDArray[np.uint8], int]]):
    """`Draw` -> ((112, 96, 3) uint8 BGR, label). Holds no state that changes, so any process gives the same."""

    def __init__(
        self, faces: Faces, seed: int, augment: Augment | None = None, occlusion: Occlusion | None = None
    ) -> None:
        self.faces, self.seed = faces, seed
        self.augment, self.occlusion = augment or Augment(), occlusion

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, draw: Draw) -> tuple[NDArray[np.uint8], int]:
        rng = np.random.default_rng([self.seed, 12, draw.epoch, draw.position])
        image = self.faces[draw.index]
        mirror = self.augment.flip and rng.random() < 0.5
        limit = self.augment.shift_px
        right, down = (int(value) for value in rng.integers(-limit, limit + 1, 2))
        if mirror:
            image = np.ascontiguousarray(image[:, ::-1])
        if self.occlusion is not None and is_occluded(draw.position, self.occlusion.part):
            image = self._cover(image, mirror, rng, self.occlusion)
        return shifted(image, right, down), int(self.faces.labels[draw.index])

    def _cover(
        self, image: NDArray[np.uint8], mirror: bool, rng: np.random.Generator, settings: Occlusion
    ) -> NDArray[np.uint8]:
        kind = settings.kinds[int(rng.integers(len(settings.kinds)))]
        share = None if settings.share is None else float(rng.uniform(*settings.share))
        scale = None if settings.scale is None else float(rng.uniform(*settings.scale))
        landmarks = MIRRORED if mirror else TEMPLATE
        return occlude(image, kind, rng, share=share, scale=scale, landmarks=landmarks).image


MIRRORED: NDArray[np.float64] = (np.array([WIDTH - 1, 0]) + TEMPLATE * (-1, 1))[[1, 0, 2, 4, 3]]
"""The template's landmarks in a mirrored crop; left is again left in the picture."""


def shifted(image: NDArray[np.uint8], right: int, down: int) -> NDArray[np.uint8]:
    """Move a crop by whole pixels, repeating its border."""
    if not right and not down:
        return image
    around = max(abs(right), abs(down))
    large = cv2.copyMakeBorder(image, around, around, around, around, cv2.BORDER_REPLICATE)
    top, left = around - down, around - right
    return large[top : top + HEIGHT, left : left + WIDTH].astype(np.uint8, copy=False)
