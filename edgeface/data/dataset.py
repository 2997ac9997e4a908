"""Training samples: a face, perhaps mirrored, shifted and covered, as a pure function of (seed, epoch, position)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from edgeface.data.background import Background, replace_background
from edgeface.data.faces import Faces
from edgeface.data.landmarks import mirrored
from edgeface.data.sampler import Draw
from edgeface_calibration.occluders import occlude
from edgeface_calibration.patterns import pattern_label
from edgeface_runtime.align import template_for

__all__ = ["Augment", "Background", "FaceDataset", "Occlusion", "Sample", "is_occluded", "shifted"]


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


class Sample(NamedTuple):
    """One training sample with all that is known of it."""

    image: NDArray[np.uint8]
    """(H, W, 3) uint8 BGR."""
    label: int
    clean: NDArray[np.uint8]
    """(H, W, 3) uint8 BGR: the same without the occluder."""
    mask: NDArray[np.bool_]
    """(H, W) True where covered."""


def is_occluded(position: int, part: float) -> bool:
    """Whether the sample at `position` is covered: of any n in a row, n * part are, to within one."""
    return int((position + 1) * part + 1e-9) > int(position * part + 1e-9)


class FaceDataset(Dataset[tuple[Any, ...]]):
    """`Draw` -> ((H, W, 3) uint8 BGR, label), and with `patterns` (K) the occlusion pattern's label too.

    Holds no state that changes, so any process gives the same.
    """

    def __init__(
        self,
        faces: Faces,
        seed: int,
        augment: Augment | None = None,
        occlusion: Occlusion | None = None,
        *,
        patterns: int = 0,
        background: Background | None = None,
    ) -> None:
        self.faces, self.seed = faces, seed
        self.augment, self.occlusion = augment or Augment(), occlusion
        self.patterns, self.background = patterns, background

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, draw: Draw) -> tuple[Any, ...]:
        sample = self.sample(draw)
        if not self.patterns:
            return sample.image, sample.label
        return sample.image, sample.label, pattern_label(sample.mask, self.patterns)

    def sample(self, draw: Draw) -> Sample:
        """The sample with its clean picture and the mask of what covers it."""
        rng = np.random.default_rng([self.seed, 12, draw.epoch, draw.position])
        image = self.faces[draw.index]
        mirror = self.augment.flip and rng.random() < 0.5
        limit = self.augment.shift_px
        right, down = (int(value) for value in rng.integers(-limit, limit + 1, 2))
        if mirror:
            image = np.ascontiguousarray(image[:, ::-1])
        if self.background is not None:
            image = self._replaced(image, draw, mirror, self.background)
        clean, mask = image, np.zeros(self.faces.size, bool)
        if self.occlusion is not None and is_occluded(draw.position, self.occlusion.part):
            image, mask = self._cover(image, self._landmarks(draw.index, mirror), rng, self.occlusion)
        label = int(self.faces.labels[draw.index])
        after = shifted(image, right, down)
        return Sample(
            after,
            label,
            after if clean is image else shifted(clean, right, down),
            mask if clean is image else shifted(mask.view(np.uint8), right, down).view(np.bool_),
        )

    def _cover(
        self,
        image: NDArray[np.uint8],
        landmarks: NDArray[np.float64],
        rng: np.random.Generator,
        settings: Occlusion,
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        kind = settings.kinds[int(rng.integers(len(settings.kinds)))]
        share = None if settings.share is None else float(rng.uniform(*settings.share))
        scale = None if settings.scale is None else float(rng.uniform(*settings.scale))
        covered = occlude(image, kind, rng, share=share, scale=scale, landmarks=landmarks)
        return covered.image, covered.mask

    def _replaced(
        self, image: NDArray[np.uint8], draw: Draw, mirror: bool, settings: Background
    ) -> NDArray[np.uint8]:
        """Its own random numbers: with and without it a sample is mirrored, shifted and covered alike."""
        rng = np.random.default_rng([self.seed, 13, draw.epoch, draw.position])
        if rng.random() >= settings.part:
            return image

        def other() -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
            index = int(rng.integers(len(self.faces)))
            return self.faces[index], self._landmarks(index, False)

        return replace_background(image, self._landmarks(draw.index, mirror), rng, other)

    def _landmarks(self, index: int, mirror: bool) -> NDArray[np.float64]:
        own = self.faces.landmarks
        points = template_for(self.faces.size) if own is None else own.points[index]
        return mirrored(points, self.faces.size[1]) if mirror else points


def shifted(image: NDArray[np.uint8], right: int, down: int) -> NDArray[np.uint8]:
    """Move a picture by whole pixels, repeating its border."""
    if not right and not down:
        return image
    height, width = image.shape[:2]
    around = max(abs(right), abs(down))
    large = cv2.copyMakeBorder(image, around, around, around, around, cv2.BORDER_REPLICATE)
    top, left = around - down, around - right
    return large[top : top + height, left : left + width].astype(np.uint8, copy=False)
