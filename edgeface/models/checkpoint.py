"""The checkpoint: one safetensors file whose metadata rebuilds the network, pruned or not. No pickle anywhere."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edgeface.models.iresnet import FaceNet
from edgeface.models.plain import known_arguments
from edgeface.models.spec import ArchSpec
from edgeface.models.tensor_file import load_weights, read_header, save_network
from edgeface_calibration.record import Results, with_result
from edgeface_runtime.errors import ArtefactError, InputError

__all__ = [
    "Checkpoint",
    "CheckpointMeta",
    "load_checkpoint",
    "read_meta",
    "record_accuracy",
    "save_checkpoint",
]

FORMAT = "edgeface-checkpoint"
VERSION = 1


@dataclass(frozen=True)
class CheckpointMeta:
    """What a checkpoint says of itself beside its weights."""

    stage: str = "untrained"
    """untrained, clean, pruned or occluded: the last thing done to it."""
    ratio_requested: float = 0.0
    """Share of convolution filters asked to be removed."""
    ratio_achieved: float = 0.0
    """Share really removed, after rounding widths."""
    loss: str = ""
    seed: int = 0
    data: str = ""
    """What it was trained on, in words."""
    licence: str = ""
    """Licence of the weights, as far as the data's terms allow one."""
    epochs: int = 0
    faces_seen: int = 0
    history: tuple[str, ...] = ()
    """One line per step that made it, oldest first."""
    accuracy: Results = ()
    """Measured results with their protocol, as `edgeface evaluate --record` wrote them."""

    def step(self, line: str, **changes: Any) -> CheckpointMeta:
        """A copy with `line` added to its history; earlier accuracies no longer hold and are dropped."""
        return replace(self, history=(*self.history, line), accuracy=(), **changes)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> CheckpointMeta:
        """What `asdict` gave, read back from JSON; what this version does not know is left out."""
        return CheckpointMeta(**known_arguments(CheckpointMeta, data))


@dataclass(frozen=True)
class Checkpoint:
    """A network in evaluation mode and what is known of it."""

    model: FaceNet
    meta: CheckpointMeta


def save_checkpoint(path: Path, model: FaceNet, meta: CheckpointMeta) -> None:
    """Write weights (float32) and metadata to `path` atomically; raises as `write_tensors`."""
    save_network(path, model, FORMAT, VERSION, model.spec.to_dict(), asdict(meta))


def load_checkpoint(path: Path) -> Checkpoint:
    """Rebuild the network from the file alone, on the CPU, in evaluation mode.

    Raises:
        InputError: the file is missing.
        ArtefactError: it is a pickle, damaged, foreign, too new, or its tensors do not fit its architecture.
    """
    spec, meta = read_meta(path)
    model = FaceNet(spec)
    load_weights(path, model)
    return Checkpoint(model.eval(), meta)


def read_meta(path: Path) -> tuple[ArchSpec, CheckpointMeta]:
    """Architecture and metadata without reading the weights; raises as `load_checkpoint`."""
    header = read_header(path, "checkpoint")
    if header.get("format") != FORMAT:
        kind = header.get("format", "").removeprefix("edgeface-")
        other = f": it is a {kind}" if kind and kind != header.get("format") else ""
        raise ArtefactError(f"{path} is a safetensors file but not an edgeface checkpoint{other}")
    if header.get("version") != str(VERSION):
        raise ArtefactError(f"{path} has checkpoint version {header.get('version')}, not {VERSION}: upgrade edgeface")
    try:
        return ArchSpec.from_dict(json.loads(header["arch"])), CheckpointMeta.from_dict(json.loads(header["meta"]))
    except (KeyError, TypeError, ValueError) as exc:
        raise ArtefactError(f"{path}: damaged checkpoint metadata ({exc})") from exc


def is_checkpoint(path: Path) -> bool:
    """Whether a file is a checkpoint this version reads."""
    try:
        read_meta(path)
    except InputError:
        return False
    return True


def record_accuracy(path: Path, result: dict[str, Any]) -> None:
    """Add a measured result to the checkpoint's metadata; one of the same protocol is replaced."""
    checkpoint = load_checkpoint(path)
    accuracy = with_result(checkpoint.meta.accuracy, result)
    save_checkpoint(path, checkpoint.model, replace(checkpoint.meta, accuracy=accuracy))
