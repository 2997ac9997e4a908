"""Occlusion segmentation: the networks by name, what they cost, how they are stored."""

from __future__ import annotations

from edgeface.models.segmenter_count import count_segmenter
from edgeface.models.segmenter_file import (
    SegmenterMeta,
    is_segmenter,
    load_segmenter,
    read_segmenter,
    record_segmentation,
    save_segmenter,
)
from edgeface.models.segmenter_net import Segmenter
from edgeface.models.segmenter_spec import SEGMENTERS, SegmenterSpec, build_segmenter_spec
from edgeface_runtime.align import CROP_SIZE

__all__ = [
    "SEGMENTERS",
    "Segmenter",
    "SegmenterMeta",
    "SegmenterSpec",
    "build_segmenter",
    "build_segmenter_spec",
    "count_segmenter",
    "is_segmenter",
    "load_segmenter",
    "read_segmenter",
    "record_segmentation",
    "save_segmenter",
]


def build_segmenter(arch: str, input_size: tuple[int, int] = CROP_SIZE, width: float = 1.0) -> Segmenter:
    """A new segmenter, in training mode; its first weights come from torch's generator.

    Raises:
        InputError: as `build_segmenter_spec`.
    """
    return Segmenter(build_segmenter_spec(arch, input_size, width))
