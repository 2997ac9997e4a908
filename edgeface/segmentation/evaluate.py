"""Measuring a segmenter: faces covered as `edgeface evaluate --occlusion` covers them, truth from the occluder."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeface.data.folders import scan
from edgeface.evaluation.occlusion import Occlusion
from edgeface.evaluation.pictures import Failures, Pictures
from edgeface.models.segmenter import load_segmenter
from edgeface.segmentation.predict import predict
from edgeface.training.device import choose_device
from edgeface_calibration.segment_metrics import SegmentScores, Tally
from edgeface_runtime.errors import InputError

__all__ = ["SegmentResult", "evaluate_segmenter"]


@dataclass(frozen=True)
class SegmentResult:
    """How well a segmenter found what covers the faces of one set."""

    protocol: str
    """In words: the set, what covers it, the seed."""
    occlusion: str
    share: float | None
    """Covered share of the area asked for; None: natural size."""
    seed: int
    scores: SegmentScores
    failed: Failures
    """Pictures left out, and why."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return {
            "protocol": self.protocol,
            "occlusion": self.occlusion,
            "share": self.share,
            "seed": self.seed,
            **self.scores.to_dict(),
            "failed": {str(path): reason for path, reason in self.failed.items()},
        }

    def record(self) -> dict[str, Any]:
        """What the segmenter keeps of it."""
        kept = ("protocol", "iou", "iou_mean", "pixel_accuracy", "false_share", "pictures")
        return {key: value for key, value in self.to_dict().items() if key in kept}


def evaluate_segmenter(
    path: Path,
    images: Path,
    occlusion: str,
    share: float | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
    *,
    limit: int | None = None,
    device: str = "auto",
) -> SegmentResult:
    """Measure a segmenter on faces of people it has not seen.

    Args:
        path: a segmenter (.safetensors).
        images: identity folders of crops of its input size; box crops with their `landmarks.json`.
        occlusion: a kind of occluder, or none: then only `false_share` and `pixel_accuracy` say something.
        share: covered share of the area; None: .4 for objects, natural size for what is worn.
        seed: of the occluders.
        progress: called with (done, total) pictures.
        limit: at most this many pictures, drawn at random (seeded); None: all.
        device: auto, cpu or cuda.

    Raises:
        InputError: bad images, unknown kind, a share out of range, or no picture that can be read.
        ArtefactError: a damaged segmenter.
        DeviceError: CUDA was asked for and there is none.
    """
    cover = None if occlusion == "none" else Occlusion(occlusion, share, seed)
    if cover is None and share is not None:
        raise InputError("--share says how much --occlusion covers: give both")
    if limit is not None and limit < 1:
        raise InputError(f"a limit of pictures must be at least 1, got {limit}")
    model = load_segmenter(path).to(choose_device(device))
    folder = scan(images)
    paths = [picture for picture, _ in folder.samples]
    if limit is not None and limit < len(paths):
        paths = [paths[place] for place in np.sort(np.random.default_rng(seed).permutation(len(paths))[:limit])]
    tally, failed = Tally(), {entry.path: entry.reason for entry in folder.skipped}
    with Pictures(folder.root, model.input_size) as pictures:
        for batch in pictures.batches(paths, cover, failed, progress):
            clear = np.zeros(model.input_size, bool)
            truth = np.stack([clear if shot.covered is None else shot.covered for shot in batch])
            tally.add(predict(model, np.stack([shot.crop for shot in batch])) > 0.5, truth)
    label = "clean" if cover is None else cover.label
    count = "" if limit is None else f", {len(paths)} pictures"
    return SegmentResult(
        protocol=f"segmentation of {images.resolve().name}{count}, {label}, seed {seed}",
        occlusion=occlusion,
        share=None if cover is None else cover.share,
        seed=seed,
        scores=tally.scores(),
        failed=failed,
    )
