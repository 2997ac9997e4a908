"""A segmenter on disk: one safetensors file with a format of its own, whose metadata rebuilds the network."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from edgeface.models.plain import known_arguments
from edgeface.models.segmenter_net import Segmenter
from edgeface.models.segmenter_spec import SegmenterSpec
from edgeface.models.tensor_file import load_weights, read_header, save_network
from edgeface_calibration.record import Results, with_result
from edgeface_runtime.errors import ArtefactError, InputError

__all__ = [
    "SegmenterMeta",
    "is_segmenter",
    "load_segmenter",
    "read_segmenter",
    "record_segmentation",
    "save_segmenter",
]

FORMAT = "edgeface-segmenter"
VERSION = 1


@dataclass(frozen=True)
class SegmenterMeta:
    """What a segmenter says of itself beside its weights."""

    data: str = ""
    """What it was trained on, in words."""
    seed: int = 0
    occluders: tuple[str, ...] = ()
    """Kinds that covered the faces."""
    labels: str = ""
    """exact (the occluder's own mask) or difference (|covered - clean|, opened and closed)."""
    epochs: int = 0
    faces_seen: int = 0
    iou: float | None = None
    """Pooled IoU of covered pixels on the people held out of the training."""
    pixel_accuracy: float | None = None
    """Share of pixels told right, on the same faces."""
    held_out: str = ""
    """Those faces, in words."""
    licence: str = ""
    """Licence of the weights, as far as the data's terms allow one."""
    history: tuple[str, ...] = ()
    """One line per step that made it, oldest first."""
    accuracy: Results = ()
    """Measured results with their protocol, as `edgeface evaluate --record` wrote them."""


def save_segmenter(path: Path, model: Segmenter, meta: SegmenterMeta) -> None:
    """Write weights (float32) and metadata to `path` atomically; raises as `write_tensors`."""
    save_network(path, model, FORMAT, VERSION, model.spec.to_dict(), asdict(meta))


def load_segmenter(path: Path) -> Segmenter:
    """Rebuild the segmenter from the file alone, on the CPU, in evaluation mode.

    Raises:
        InputError: the file is missing.
        ArtefactError: it is a pickle, damaged, foreign, too new, or its tensors do not fit its architecture.
    """
    spec, _ = read_segmenter(path)
    with torch.device("meta"):
        model = Segmenter(spec)
    load_weights(path, model, assign=True)
    return model.eval()


def read_segmenter(path: Path) -> tuple[SegmenterSpec, SegmenterMeta]:
    """Architecture and metadata without the weights; raises as `load_segmenter`."""
    header = read_header(path, "segmenter")
    if header.get("format") != FORMAT:
        kind = "an edgeface checkpoint, not" if header.get("format") == "edgeface-checkpoint" else "not"
        raise ArtefactError(f"{path} is {kind} a segmenter: make one with edgeface train --stage segmenter")
    if header.get("version") != str(VERSION):
        raise ArtefactError(f"{path} has segmenter version {header.get('version')}, not {VERSION}: upgrade edgeface")
    try:
        spec = SegmenterSpec.from_dict(json.loads(header["arch"]))
        return spec, SegmenterMeta(**known_arguments(SegmenterMeta, json.loads(header["meta"])))
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise ArtefactError(f"{path}: damaged segmenter metadata ({exc})") from exc


def is_segmenter(path: Path) -> bool:
    """Whether a file is a segmenter this version reads."""
    try:
        read_segmenter(path)
    except InputError:
        return False
    return True


def record_segmentation(path: Path, result: dict[str, Any]) -> None:
    """Add a measured result to the segmenter's metadata; one of the same protocol is replaced."""
    model, (_, meta) = load_segmenter(path), read_segmenter(path)
    save_segmenter(path, model, replace(meta, accuracy=with_result(meta.accuracy, result)))
