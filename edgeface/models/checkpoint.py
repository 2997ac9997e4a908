"""The checkpoint: one safetensors file whose metadata rebuilds the network, pruned or not. No pickle anywhere."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from edgeface.models.iresnet import FaceNet
from edgeface.models.spec import ArchSpec
from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.files import atomic_path, require_file

__all__ = [
    "Checkpoint",
    "CheckpointMeta",
    "load_checkpoint",
    "read_meta",
    "record_accuracy",
    "save_checkpoint",
    "unreadable",
    "write_tensors",
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
    accuracy: tuple[dict[str, Any], ...] = field(default=())
    """Measured results with their protocol, as `edgeface evaluate --record` wrote them."""

    def step(self, line: str, **changes: Any) -> CheckpointMeta:
        """A copy with `line` added to its history; earlier accuracies no longer hold and are dropped."""
        return replace(self, history=(*self.history, line), accuracy=(), **changes)


@dataclass(frozen=True)
class Checkpoint:
    """A network in evaluation mode and what is known of it."""

    model: FaceNet
    meta: CheckpointMeta


def save_checkpoint(path: Path, model: FaceNet, meta: CheckpointMeta) -> None:
    """Write weights (float32) and metadata to `path` atomically; raises as `write_tensors`."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in model.state_dict().items()}
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "arch": json.dumps(model.spec.to_dict()),
        "meta": json.dumps(asdict(meta)),
    }
    write_tensors(path, tensors, metadata)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file to `path` atomically; tensors are contiguous and on the CPU.

    Raises:
        InputError: it cannot be written, such as on a full disk.
    """
    with atomic_path(path) as temporary:
        try:
            save_file(dict(tensors), str(temporary), metadata=dict(metadata))
        except SafetensorError as exc:
            # Failed writes come as this type too, with the system's error only in the text.
            code = re.search(r"os error (\d+)", str(exc))
            if code is None:
                raise InputError(f"cannot write {path}: {exc}") from exc
            raise OSError(int(code[1]), os.strerror(int(code[1]))) from exc


def load_checkpoint(path: Path) -> Checkpoint:
    """Rebuild the network from the file alone, on the CPU, in evaluation mode.

    Raises:
        InputError: the file is missing.
        ArtefactError: it is a pickle, damaged, foreign, too new, or its tensors do not fit its architecture.
    """
    spec, meta = _read_header(path)
    model = FaceNet(spec)
    with safe_open(str(path), framework="pt") as stream:
        tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a dict)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as exc:
        first = str(exc).splitlines()[1].strip() if "\n" in str(exc) else str(exc)
        raise ArtefactError(f"{path}: tensors do not fit the architecture ({first})") from exc
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise ArtefactError(f"{path}: holds values that are not finite; training diverged or the file is damaged")
    return Checkpoint(model.eval(), meta)


def read_meta(path: Path) -> tuple[ArchSpec, CheckpointMeta]:
    """Architecture and metadata without reading the weights; raises as `load_checkpoint`."""
    return _read_header(path)


def is_checkpoint(path: Path) -> bool:
    """Whether a file is a checkpoint this version reads."""
    try:
        _read_header(path)
    except InputError:
        return False
    return True


def record_accuracy(path: Path, result: dict[str, Any]) -> None:
    """Add a measured result to the checkpoint's metadata; one of the same protocol is replaced."""
    checkpoint = load_checkpoint(path)
    kept = tuple(old for old in checkpoint.meta.accuracy if old.get("protocol") != result.get("protocol"))
    save_checkpoint(path, checkpoint.model, replace(checkpoint.meta, accuracy=(*kept, result)))


def _read_header(path: Path) -> tuple[ArchSpec, CheckpointMeta]:
    require_file(path, "checkpoint")
    try:
        with safe_open(str(path), framework="pt") as stream:
            metadata = stream.metadata() or {}
    except (SafetensorError, OSError) as exc:
        raise unreadable(path, exc) from exc
    if metadata.get("format") != FORMAT:
        kind = metadata.get("format", "").removeprefix("edgeface-")
        other = f": it is a {kind}" if kind and kind != metadata.get("format") else ""
        raise ArtefactError(f"{path} is a safetensors file but not an edgeface checkpoint{other}")
    if metadata.get("version") != str(VERSION):
        raise ArtefactError(
            f"{path} has checkpoint version {metadata.get('version')}, not {VERSION}: upgrade edgeface"
        )
    try:
        spec = ArchSpec.from_dict(json.loads(metadata["arch"]))
        data = json.loads(metadata["meta"])
        known = {entry.name for entry in fields(CheckpointMeta)}
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in data.items() if key in known
        }
        meta = CheckpointMeta(**values)
    except (KeyError, TypeError, ValueError) as exc:
        raise ArtefactError(f"{path}: damaged checkpoint metadata ({exc})") from exc
    return spec, meta


def unreadable(path: Path, exc: Exception) -> ArtefactError:
    """Why a file that safetensors refused cannot be read. Asked only then: such files begin with a length, which
    may look like anything."""
    with path.open("rb") as stream:
        start = stream.read(64)
    if start.startswith(b"PK\x03\x04") and b".npy" in start:
        return ArtefactError(f"{path} is a NumPy file, such as a mask dictionary or scores: a .safetensors is needed")
    if start.startswith(b"PK\x03\x04") or start[:1] == b"\x80":  # a zip (torch.save) or a bare pickle
        return ArtefactError(
            f"{path} holds a pickle (a torch.save file), which can run code when read: "
            "edgeface reads .safetensors only"
        )
    return ArtefactError(f"{path} is not a readable safetensors file: damaged or truncated ({exc})")
