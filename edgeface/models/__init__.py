"""Networks: what they are (spec), what they cost (count), how they are built and stored."""

from __future__ import annotations

from edgeface.models.checkpoint import Checkpoint, CheckpointMeta, load_checkpoint, save_checkpoint
from edgeface.models.count import Counts, count
from edgeface.models.extend import add_mask, with_patterns
from edgeface.models.iresnet import FaceNet, Output
from edgeface.models.spec import ArchSpec, MaskSpec, StageSpec, pattern_classes
from edgeface.models.variants import ARCHS, build_spec, iresnet18, iresnet50, mobilefacenet, resnet34, with_mask

__all__ = [
    "ARCHS",
    "ArchSpec",
    "Checkpoint",
    "CheckpointMeta",
    "Counts",
    "FaceNet",
    "MaskSpec",
    "Output",
    "StageSpec",
    "add_mask",
    "build_spec",
    "count",
    "iresnet18",
    "iresnet50",
    "load_checkpoint",
    "mobilefacenet",
    "pattern_classes",
    "resnet34",
    "save_checkpoint",
    "with_mask",
    "with_patterns",
]
