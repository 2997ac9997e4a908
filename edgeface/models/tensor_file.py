"""A safetensors file of ours: tensors, and beside them what the file says of itself as text. No pickle anywhere."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.files import atomic_path, require_file

__all__ = ["load_weights", "read_header", "read_tensors", "save_network", "write_tensors"]


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write a safetensors file to `path` atomically.

    Raises:
        InputError: it cannot be written, such as on a full disk.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(stored, str(temporary), metadata=dict(metadata))
        except SafetensorError as exc:
            # Failed writes come as this type too, with the system's error only in the text.
            code = re.search(r"os error (\d+)", str(exc))
            if code is None:
                raise InputError(f"cannot write {path}: {exc}") from exc
            raise OSError(int(code[1]), os.strerror(int(code[1]))) from exc


def save_network(
    path: Path, model: nn.Module, kind: str, version: int, arch: Mapping[str, Any], meta: Mapping[str, Any]
) -> None:
    """Write a network's weights with what it is built from and what is known of it; raises as `write_tensors`."""
    metadata = {"format": kind, "version": str(version), "arch": json.dumps(arch), "meta": json.dumps(meta)}
    write_tensors(path, model.state_dict(), metadata)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors by name, on the CPU; raises SafetensorError or OSError where they cannot be read."""
    with safe_open(str(path), framework="pt") as stream:
        return {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a dict)


def read_header(path: Path, what: str) -> dict[str, str]:
    """What the file says of itself.

    Raises:
        InputError: there is no such file; it is called `what`.
        ArtefactError: it is no safetensors file, such as a pickle, or damaged.
    """
    require_file(path, what)
    try:
        with safe_open(str(path), framework="pt") as stream:
            return dict(stream.metadata() or {})
    except (SafetensorError, OSError) as exc:
        raise _unreadable(path, exc) from exc


def load_weights(path: Path, model: nn.Module, *, assign: bool = False) -> None:
    """Put the file's tensors into `model`; with `assign` they become its own, as a model on `meta` needs.

    Raises:
        ArtefactError: they do not fit it, or are not finite.
    """
    tensors = read_tensors(path)
    try:
        model.load_state_dict(tensors, assign=assign)
    except RuntimeError as exc:
        first = str(exc).splitlines()[1].strip() if "\n" in str(exc) else str(exc)
        raise ArtefactError(f"{path}: tensors do not fit the architecture ({first})") from exc
    if not all(torch.isfinite(tensor).all() for tensor in tensors.values()):
        raise ArtefactError(f"{path}: holds values that are not finite; training diverged or the file is damaged")


def _unreadable(path: Path, exc: Exception) -> ArtefactError:
    """Why a file that safetensors refused cannot be read. Asked only then: such files begin with a length, which
    may look like anything."""
    with path.open("rb") as stream:
        start = stream.read(64)
    if start.startswith(b"PK\x03\x04") and b".npy" in start:
        return ArtefactError(f"{path} is a NumPy file, such as a mask dictionary or scores: a .safetensors is needed")
    # A zip (torch.save) or a bare pickle, which begins with its protocol; what a brace follows is a header's length.
    bare = re.match(rb"\x80[\x02-\x05]", start) is not None and start[8:9] != b"{"
    if start.startswith(b"PK\x03\x04") or bare:
        return ArtefactError(
            f"{path} holds a pickle (a torch.save file), which can run code when read: "
            "edgeface reads .safetensors only"
        )
    return ArtefactError(f"{path} is not a readable safetensors file: damaged or truncated ({exc})")
