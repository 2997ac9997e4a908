"""Occlusion segmentation: training and measuring the network that tells which pixels of a face are covered."""

from __future__ import annotations

from edgeface.segmentation.evaluate import SegmentResult, evaluate_segmenter
from edgeface.segmentation.predict import predict
from edgeface.segmentation.settings import SegmentSettings
from edgeface.segmentation.training import SegmentTraining, train_segmenter

__all__ = [
    "SegmentResult",
    "SegmentSettings",
    "SegmentTraining",
    "evaluate_segmenter",
    "predict",
    "train_segmenter",
]
