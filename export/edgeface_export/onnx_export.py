"""One ONNX graph from a network: BN folded, dynamic batch, no external data, and nothing of this machine in it.

Input `input` (N, 3, H, W) float32 RGB in [-1, 1]. Outputs `embedding` (N, E) float32 of unit length, and for a
network with a mask `covered_share` (N,) float32: the mean of 1 - mask over all its values, uncalibrated. On request
also `pattern` (N, classes) float32: probabilities of the occlusion patterns, class 0 first.

PyTorch's exporter leaves stack traces and source paths in every node; they are stripped, and nodes and tensors are
renamed after the modules they come from, so that the same weights give the same bytes and a parser's complaint names
a layer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

import edgeface
from edgeface.models import FaceNet, with_patterns
from edgeface_export.exporter import quiet, stoppable
from edgeface_export.fold import fold
from edgeface_runtime.errors import InputError
from edgeface_runtime.files import write_bytes

__all__ = ["Exported", "clean", "export_onnx"]

IR_VERSIONS = {18: 8, 19: 9, 20: 9}
"""Opset -> the lowest ONNX file version that carries it; newer ones are refused by older readers for no gain.
Not 17: the exporter writes 18 at least and its conversion down fails, leaving 18 with a warning."""

SCOPES = "pkg.torch.onnx.name_scopes"


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
    if opset not in IR_VERSIONS:
        raise InputError(f"--opset must be {min(IR_VERSIONS)} to {max(IR_VERSIONS)}, got {opset}")
    if keep_pattern and model.pattern is None:
        raise InputError("the network has no pattern head to keep: train it with --patterns")
    folded = fold(model if keep_pattern else _without_patterns(model))
    spec = model.spec if keep_pattern else model.spec.deployed
    outputs: tuple[str, ...] = ("embedding", "covered_share") if spec.mask else ("embedding",)
    if keep_pattern:
        outputs = (*outputs, "pattern")
    height, width = spec.input_size
    with quiet(), stoppable():
        program = torch.onnx.export(
            Deployed(folded.model, keep_pattern).eval(),
            (torch.zeros(2, 3, height, width),),
            dynamo=True,
            opset_version=opset,
            input_names=["input"],
            output_names=list(outputs),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
    assert program is not None
    proto = clean(program.model_proto)
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", opset)]
    proto.ir_version = IR_VERSIONS[opset]
    proto.producer_name, proto.producer_version = "edgeface", edgeface.__version__
    proto.graph.name = spec.name
    onnx.helper.set_model_props(
        proto,
        {
            "edgeface.arch": json.dumps(spec.to_dict(), sort_keys=True),
            "edgeface.input": "RGB, NCHW, (x - 127.5) / 127.5",
        },
    )
    onnx.checker.check_model(proto, full_check=True)
    data = proto.SerializeToString(deterministic=True)
    write_bytes(path, data)
    return Exported(path, len(data), opset, len(proto.graph.node), outputs, folded.folded, folded.kept)


def _without_patterns(model: FaceNet) -> FaceNet:
    return model if model.pattern is None else with_patterns(model, 0)


def clean(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Name nodes and tensors after modules, and drop doc strings, traces and the exporter's notes; in place."""
    _rename(proto.graph)
    graph = proto.graph
    for holder in (proto, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        holder.ClearField("metadata_props")
        holder.ClearField("doc_string")
    del graph.value_info[:]
    inferred = onnx.shape_inference.infer_shapes(proto, strict_mode=True)
    proto.CopyFrom(inferred)
    return proto


def _rename(graph: onnx.GraphProto) -> None:
    fixed = {value.name for value in (*graph.input, *graph.output)}
    names: dict[str, str] = {}
    used: set[str] = set(fixed)
    for node in graph.node:
        notes = {entry.key: entry.value for entry in node.metadata_props}
        scopes = [scope for scope in _list(notes.get(SCOPES, "")) if scope == "net" or scope.startswith("net.")]
        scope = scopes[-1].removeprefix("net.") if scopes else "output"
        node.name = _unique(f"{scope}/{node.op_type}", used)
        for output in node.output:
            if output and output not in fixed:
                names[output] = _unique(f"{node.name}:out", used)
    for number, tensor in enumerate(graph.initializer):
        wanted = tensor.name[4:] if tensor.name.startswith("net.") else f"constant_{number}"
        names[tensor.name] = _unique(wanted, used)
        tensor.name = names[tensor.name]
    for node in graph.node:
        for fields in (node.input, node.output):
            for index, name in enumerate(fields):
                fields[index] = names.get(name, name)


def _list(text: str) -> list[str]:
    """The exporter writes Python lists of names; take the quoted parts."""
    return text.split("'")[1::2]


def _unique(name: str, used: set[str]) -> str:
    candidate, number = name, 1
    while candidate in used:
        number += 1
        candidate = f"{name}_{number}"
    used.add(candidate)
    return candidate
