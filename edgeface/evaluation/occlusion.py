"""What covers the pictures of a test: the same occluder over the same picture, whenever it is asked for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.occluders import KINDS, OBJECTS, Occluded, occlude, sample_seed
from edgeface_runtime.align import TEMPLATE
from edgeface_runtime.errors import InputError

__all__ = ["DEFAULT_SHARE", "Occlusion"]

DEFAULT_SHARE = 0.4
"""Occ-LFW's covered share of the area, for objects; what is fitted to the face has its natural size."""


class Occlusion:
    """Covers a picture, the same way whenever it is asked: by (seed, name of the picture).

    Raises:
        InputError: unknown kind, or a share out of range.
    """

    def __init__(self, kind: str, share: float | None = None, seed: int = 0) -> None:
        if kind not in KINDS:
            raise InputError(f"unknown --occlusion {kind!r}: choose none or one of {', '.join(KINDS)}")
        if share is not None and not 0 < share <= 0.9:
            raise InputError(f"--share must be above 0 and at most 0.9, got {share}")
        self.kind, self.seed = kind, seed
        self.fitted = kind not in OBJECTS and kind != "random"
        """Whether it lies where the face's landmarks are."""
        self.share = DEFAULT_SHARE if share is None and not self.fitted else share

    @property
    def label(self) -> str:
        """In words: `random .4`, `mask`."""
        return self.kind if self.share is None else f"{self.kind} {self.share:g}".replace(" 0.", " .")

    def cover(self, image: NDArray[np.uint8], name: str, landmarks: NDArray[np.floating] = TEMPLATE) -> Occluded:
        """A face (H, W, 3) uint8 BGR covered, with the mask of what covers it.

        Args:
            name: of the picture, relative to its set, with forward slashes.
            landmarks: (5, 2) pixels in `image`; what is worn is fitted to them.

        Raises:
            InputError: see `occlude`.
        """
        rng = np.random.default_rng(sample_seed(self.seed, name))
        return occlude(image, self.kind, rng, share=self.share, landmarks=landmarks)
