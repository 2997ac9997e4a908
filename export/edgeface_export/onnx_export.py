"""One ONNX graph from a network: BN folded, dynamic batch, no external data, and nothing of this machine in it.

Input `input` (N, 3, H, W) float32 RGB in [-1, 1]. Outputs `embedding` (N, E) float32 of unit length, and for a
network with a mask `covered_share` (N,) float32: the mean of 1 - mask over all its values, uncalibrated. On request
also `pattern` (N, classes) float32: probabilities of the occlusion patterns, class 0 first.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from edgeface.models import FaceNet, with_patterns
from edgeface_export.fold import fold
from edgeface_export.graph import check_opset, write_graph
from edgeface_runtime.errors import InputError

__all__ = ["Exported", "export_onnx"]


@dataclass(frozen=True)
class Exported:
    """What was written."""

    path: Path
    size_bytes: int
    opset: int
    nodes: int
    outputs: tuple[str, ...]
    bn_folded: int
    bn_kept: tuple[str, ...]
    """Batch normalisations still in the graph, because folding them would not be exact."""


class Deployed(nn.Module):
    """The network as a device runs it: unit embedding, and what its mask says where there is one."""

    def __init__(self, net: FaceNet, keep_pattern: bool = False) -> None:
        super().__init__()
        self.net = net
        self.keep_pattern = keep_pattern

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, ...]:
        embedding, mask, pattern = self.net.forward_masked(x, patterns=self.keep_pattern)
        norm = torch.linalg.vector_norm(embedding, dim=1, keepdim=True)
        unit = embedding / norm.clamp_min(1e-12)
        if mask is None:
            return unit
        share = 1.0 - mask.mean(dim=tuple(range(1, mask.dim())))
        return (unit, share) if pattern is None else (unit, share, torch.softmax(pattern, dim=1))


def export_onnx(model: FaceNet, path: Path, opset: int = 18, *, keep_pattern: bool = False) -> Exported:
    """Write `model` (evaluation mode is taken, the object is not changed) to `path`, atomically.

    Args:
        keep_pattern: keep the pattern head, which is for training and dropped by default.

    Raises:
        InputError: `opset` is outside 18..20, `path` cannot be written, or there is no pattern head to keep.
    """
    check_opset(opset)
    if keep_pattern and model.pattern is None:
        raise InputError("the network has no pattern head to keep: train it with --patterns")
    folded = fold(model if keep_pattern else _without_patterns(model))
    spec = model.spec if keep_pattern else model.spec.deployed
    outputs: tuple[str, ...] = ("embedding", "covered_share") if spec.mask else ("embedding",)
    if keep_pattern:
        outputs = (*outputs, "pattern")
    proto = write_graph(
        Deployed(folded.model, keep_pattern).eval(),
        torch.zeros(2, 3, *spec.input_size),
        path,
        spec.name,
        outputs,
        opset,
        notes={
            "edgeface.arch": json.dumps(spec.to_dict(), sort_keys=True),
            "edgeface.input": "RGB, NCHW, (x - 127.5) / 127.5",
        },
    )
    return Exported(path, path.stat().st_size, opset, len(proto.graph.node), outputs, folded.folded, folded.kept)


def _without_patterns(model: FaceNet) -> FaceNet:
    return model if model.pattern is None else with_patterns(model, 0)
