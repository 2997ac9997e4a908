"""How well covered pixels are found: IoU (Jaccard) of the covered ones, and the share of pixels told right.

Pooled values add up all pictures' pixels first; mean values average the pictures. A picture with nothing covered in
truth and nothing predicted has IoU 1 (there is nothing it got wrong), one with a pixel predicted there has 0; so IoU
of clean faces says only how many are left wholly alone, and `false_share` says how much is called covered.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeface_runtime.errors import InputError

__all__ = ["SegmentScores", "Tally", "iou", "pixel_accuracy"]


@dataclass(frozen=True)
class SegmentScores:
    """What was measured, all in 0..1 but the count."""

    iou: float
    """Pooled IoU of covered pixels; 1 if none is covered or predicted in any picture."""
    iou_mean: float
    """Mean of the pictures' IoUs."""
    pixel_accuracy: float
    """Share of all pixels told right; as pictures are of one size, pooled and mean are one."""
    covered_share: float
    """Share of pixels covered in truth."""
    false_share: float
    """Share of the pixels not covered in truth that were called covered; 0 if there are none."""
    pictures: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return asdict(self)


def iou(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Intersection over union of two (H, W) bool masks; 1 if both are empty.

    Raises:
        InputError: they differ in shape, or are not bool.
    """
    tally = Tally()
    tally.add(predicted[None], truth[None])
    return tally.scores().iou


def pixel_accuracy(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Share of pixels that agree between two (H, W) bool masks; raises as `iou`."""
    tally = Tally()
    tally.add(predicted[None], truth[None])
    return tally.scores().pixel_accuracy


class Tally:
    """Counts pictures, a few at a time."""

    def __init__(self) -> None:
        self._counts: list[NDArray[np.int64]] = []

    def add(self, predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> None:
        """Count (N, H, W) bool predictions against truths.

        Raises:
            InputError: they differ in shape, are not bool, or have no pixels.
        """
        if predicted.shape != truth.shape or predicted.ndim != 3 or predicted.dtype != bool or truth.dtype != bool:
            raise InputError(
                f"masks must be bool and of one shape, got {predicted.shape} {predicted.dtype} "
                f"and {truth.shape} {truth.dtype}"
            )
        if predicted[:1].size == 0:
            raise InputError(f"masks without pixels: {predicted.shape}")
        both, either, right, covered, total = (
            (predicted & truth).sum((1, 2)),
            (predicted | truth).sum((1, 2)),
            (predicted == truth).sum((1, 2)),
            truth.sum((1, 2)),
            np.full(len(truth), truth[0].size),
        )
        self._counts.append(np.stack([both, either, right, covered, total], 1).astype(np.int64))

    @property
    def per_picture(self) -> NDArray[np.float64]:
        """(N, 2): IoU and pixel accuracy of every picture, in the order they were added."""
        both, either, right, _, total = self._columns()
        return np.stack([_ratio(both, either), right / total], 1)

    def scores(self) -> SegmentScores:
        """Everything so far.

        Raises:
            InputError: no pictures.
        """
        if not self._counts:
            raise InputError("no pictures to measure a segmentation on")
        both, either, right, covered, total = (int(column.sum()) for column in self._columns())
        clear = total - covered
        return SegmentScores(
            iou=both / either if either else 1.0,
            iou_mean=float(self.per_picture[:, 0].mean()),
            pixel_accuracy=right / total,
            covered_share=covered / total,
            false_share=(either - covered) / clear if clear else 0.0,
            pictures=len(self.per_picture),
        )

    def _columns(self) -> NDArray[np.int64]:
        return np.concatenate(self._counts).T if self._counts else np.zeros((5, 0), np.int64)


def _ratio(both: NDArray[np.int64], either: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.where(either == 0, 1.0, both / np.maximum(either, 1))
