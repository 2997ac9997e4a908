"""Samples for a segmenter: a face with a seeded occluder, and which of its pixels are covered.

The faces, mirrored, shifted and covered, are the recogniser's training samples; here their light and colour change
too, because pixels are told apart by colour more than people are.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from edgeface.data.dataset import Augment, FaceDataset, Occlusion
from edgeface.data.faces import Faces
from edgeface.data.sampler import Draw
from edgeface_calibration.segment_labels import difference_label

__all__ = ["SegmentDataset", "jittered", "split_people"]

Pair = tuple[NDArray[np.uint8], NDArray[np.bool_]]
"""(H, W, 3) uint8 BGR and (H, W) True where covered."""


class SegmentDataset(Dataset[Pair]):
    """`Draw` -> picture and label, a pure function of (seed, epoch, position, index).

    Args:
        faces: all faces.
        chosen: (N,) the faces to draw from; a draw's index is a place in it.
        label: exact or difference.
        jitter: see `jittered`; 0 for none.
    """

    def __init__(
        self,
        faces: Faces,
        chosen: NDArray[np.int64],
        seed: int,
        occlusion: Occlusion,
        *,
        label: str = "exact",
        augment: Augment | None = None,
        jitter: float = 0.0,
    ) -> None:
        self.base = FaceDataset(faces, seed, augment or Augment(flip=False, shift_px=0), occlusion)
        self.chosen, self.seed, self.label, self.jitter = chosen, seed, label, jitter

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, draw: Draw) -> Pair:
        sample = self.base.sample(Draw(draw.epoch, draw.position, int(self.chosen[draw.index])))
        label = sample.mask if self.label == "exact" else difference_label(sample.clean, sample.image)
        if not self.jitter:
            return sample.image, label
        rng = np.random.default_rng([self.seed, 14, draw.epoch, draw.position])
        return jittered(sample.image, rng, self.jitter), label


def jittered(image: NDArray[np.uint8], rng: np.random.Generator, amount: float) -> NDArray[np.uint8]:
    """Another light: contrast about mid-grey by a factor within 1 +- amount, brightness up to amount * 128 levels,
    each colour by a factor within 1 +- amount / 2."""
    low = 1 - amount / 2
    contrast, shift = rng.uniform(1 - amount, 1 + amount), rng.uniform(-amount, amount) * 128
    colour = rng.uniform(low, 2 - low, 3)
    levels = np.arange(256)[:, None] * colour  # one table per colour: as exact as per pixel, and faster
    table = np.clip((levels - 127.5) * contrast + 127.5 + shift, 0, 255).round().astype(np.uint8)
    return np.stack([table[:, channel][image[..., channel]] for channel in range(3)], 2)


def split_people(
    labels: NDArray[np.int64], share: float, faces: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the faces to train on, and of those of the people held out: `share` of them, at least one and never
    all; of their faces at most `faces`, drawn at random."""
    people = int(labels.max()) + 1
    rng = np.random.default_rng([seed, 15])
    count = min(people - 1, max(1, round(people * share)))
    away = np.isin(labels, rng.permutation(people)[:count])
    held = np.flatnonzero(away)
    return np.flatnonzero(~away), np.sort(rng.permutation(held)[:faces])
