"""A segmenter on disk: one safetensors file with a format of its own, whose metadata rebuilds the network."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from edgeface.models.checkpoint import unreadable, write_tensors
from edgeface.models.segmenter_net import Segmenter
from edgeface.models.segmenter_spec import SegmenterSpec
from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.files import require_file

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
    accuracy: tuple[dict[str, Any], ...] = ()
    """Measured results with their protocol, as `edgeface evaluate --record` wrote them."""


def save_segmenter(path: Path, model: Segmenter, meta: SegmenterMeta) -> None:
    """Write weights (float32) and metadata to `path` atomically.

    Raises:
        InputError: it cannot be written, such as on a full disk.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "arch": json.dumps(model.spec.to_dict()),
        "meta": json.dumps(asdict(meta)),
    }
    write_tensors(path, tensors, metadata)


def load_segmenter(path: Path) -> Segmenter:
    """Rebuild the segmenter from the file alone, on the CPU, in evaluation mode.

    Raises:
        InputError: the file is missing.
        ArtefactError: it is a pickle, damaged, foreign, too new, or its tensors do not fit its architecture.
    """
    spec, _ = read_segmenter(path)
    with torch.device("meta"):
        model = Segmenter(spec)
    with safe_open(str(path), framework="pt") as stream:
        tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a dict)
    try:
        model.load_state_dict(tensors, assign=True)
    except RuntimeError as exc:
        first = str(exc).splitlines()[1].strip() if "\n" in str(exc) else str(exc)
        raise ArtefactError(f"{path}: tensors do not fit the architecture ({first})") from exc
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise ArtefactError(f"{path}: holds values that are not finite; training diverged or the file is damaged")
    return model.eval()


def read_segmenter(path: Path) -> tuple[SegmenterSpec, SegmenterMeta]:
    """Architecture and metadata without the weights; raises as `load_segmenter`."""
    require_file(path, "segmenter")
    try:
        with safe_open(str(path), framework="pt") as stream:
            metadata = stream.metadata() or {}
    except (SafetensorError, OSError) as exc:
        raise unreadable(path, exc) from exc
    if metadata.get("format") != FORMAT:
        kind = "an edgeface checkpoint, not" if metadata.get("format") == "edgeface-checkpoint" else "not"
        raise ArtefactError(f"{path} is {kind} a segmenter: make one with edgeface train --stage segmenter")
    if metadata.get("version") != str(VERSION):
        raise ArtefactError(
            f"{path} has segmenter version {metadata.get('version')}, not {VERSION}: upgrade edgeface"
        )
    try:
        spec = SegmenterSpec.from_dict(json.loads(metadata["arch"]))
        return spec, _meta(json.loads(metadata["meta"]))
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
    kept = tuple(old for old in meta.accuracy if old.get("protocol") != result.get("protocol"))
    save_segmenter(path, model, replace(meta, accuracy=(*kept, result)))


def _meta(data: dict[str, Any]) -> SegmenterMeta:
    known = {entry.name for entry in fields(SegmenterMeta)}
    values: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in data.items() if key in known
    }
    return SegmenterMeta(**values)
