"""FP32 graph -> FP16 graph, precision written into the graph itself: TensorRT networks are strongly typed.

Inputs and outputs stay float32. What comes after the last heavy layer (the norm of the embedding, the mean of the
mask) stays FP32: a sum of 512 squares leaves FP16's range at an embedding value of about 11. So does any operator not
listed in HALF_OPS. Everything else, weights included, becomes FP16, with casts only where the two meet.

Written here because the common converter (onnxconverter-common 1.16) turns the outputs to float16 when the node in
front of them is kept in FP32, and halves the scales of a Resize, which ONNX wants in FP32.

Nodes whose activations come near FP16's largest value on real faces stay FP32 (`overflowing`). How near the result is
to FP32 is judged in FP16 arithmetic: see half_arithmetic.py.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnx.version_converter
from onnx import NodeProto, TensorProto, helper, numpy_helper

from edgeface_export.graph import IR_VERSIONS
from edgeface_export.parity import load_graph
from edgeface_runtime.errors import ArtefactError
from edgeface_runtime.files import write_bytes

__all__ = ["HalfReport", "overflowing", "to_fp16"]

MAX_HALF = 65504.0
"""Largest finite FP16 value."""
HEADROOM = 2.0
"""How much larger than on the faces measured an activation may become."""
HALF_SCALES = 19
"""Opset from which scales may be FP16."""
HEAVY = frozenset({"Conv", "Gemm", "MatMul", "Sigmoid"})
"""Walking back from an output, the FP32 tail ends at the first of these."""
HALF_OPS = HEAVY | {
    "Add", "AveragePool", "BatchNormalization", "Concat", "DequantizeLinear", "Flatten", "GlobalAveragePool", "Max",
    "MaxPool", "Mul", "PRelu", "QuantizeLinear", "ReduceMean", "Relu", "Reshape", "Resize", "Squeeze", "Transpose",
    "Unsqueeze",
}  # fmt: skip
FLOAT_INPUTS = {"Resize": (1, 2)}
"""Inputs that ONNX wants in FP32 whatever the data is (region of interest, scales)."""


@dataclass(frozen=True)
class HalfReport:
    """What the conversion did."""

    path: Path
    size_bytes: int
    kept_fp32: tuple[str, ...]
    """Nodes that still compute in FP32."""
    clamped: int
    """Weights beyond +-65504, cut to it."""
    vanished: int
    """Weights that are not zero in FP32 and are in FP16 (below about 3e-8)."""
    half_weights: int
    """Scalars now stored in FP16."""


def to_fp16(source: Path, target: Path, keep: Collection[str] = ()) -> HalfReport:
    """Convert the FP32 or INT8 ONNX file `source` to FP16 at `target`, atomically.

    What is quantised stays so; scales become FP16, for which the graph is raised to opset 19.

    Args:
        keep: names of nodes that stay FP32, such as `overflowing` finds.

    Raises:
        InputError: `source` is missing or `target` cannot be written.
        ArtefactError: `source` is not a readable ONNX graph, or already holds FP16.
    """
    proto = load_graph(source)
    if any(tensor.data_type == TensorProto.FLOAT16 for tensor in proto.graph.initializer):
        raise ArtefactError(f"{source} already holds FP16 weights: convert the FP32 file")
    proto = _with_half_scales(proto)
    proto = onnx.shape_inference.infer_shapes(proto, strict_mode=True)
    halving = _Halving(proto.graph, keep)
    halving.run()
    half = onnx.shape_inference.infer_shapes(proto, strict_mode=True)
    onnx.checker.check_model(half, full_check=True)
    data = half.SerializeToString(deterministic=True)
    write_bytes(target, data)
    weights = list(halving.halved.values())
    return HalfReport(
        path=target,
        size_bytes=len(data),
        kept_fp32=tuple(node.name for node in half.graph.node if node.name in halving.kept),
        clamped=sum(int((np.abs(weight) > MAX_HALF).sum()) for weight in weights),
        vanished=sum(int(((weight != 0) & (weight.astype(np.float16) == 0)).sum()) for weight in map(_cut, weights)),
        half_weights=sum(weight.size for weight in weights),
    )


def overflowing(source: Path, peaks: Mapping[str, float]) -> dict[str, float]:
    """Nodes of an FP32 or INT8 ONNX file that would be FP16 and eat or give a value too large for it -> that value.

    Args:
        peaks: largest magnitude of every activation on real faces; those not in it count as small.

    Raises:
        ArtefactError: `source` is not a readable ONNX graph.
    """
    large = {name: peak for name, peak in peaks.items() if not peak * HEADROOM <= MAX_HALF}
    graph = load_graph(source).graph
    whole = _kept(graph)
    found = {}
    for node in graph.node:
        touched = [large[name] for name in (*node.input, *node.output) if name in large]
        if touched and node.name not in whole:
            found[node.name] = max(touched)
    return found


def _with_half_scales(proto: onnx.ModelProto) -> onnx.ModelProto:
    """At the opset in which FP16 scales came, where there are scales; the converter forgets who made the graph."""
    opset = next(entry.version for entry in proto.opset_import if entry.domain == "")
    if opset >= HALF_SCALES or all(node.op_type != "QuantizeLinear" for node in proto.graph.node):
        return proto
    raised: onnx.ModelProto = onnx.version_converter.convert_version(proto, HALF_SCALES)
    raised.ir_version = IR_VERSIONS[HALF_SCALES]
    raised.producer_name, raised.producer_version = proto.producer_name, proto.producer_version
    return raised


class _Halving:
    """One pass over a graph in topological order; `run` rewrites it in place."""

    def __init__(self, graph: onnx.GraphProto, keep: Collection[str] = ()) -> None:
        self.graph = graph
        typed = (*graph.input, *graph.output, *graph.value_info)
        self.floats = {value.name for value in typed if value.type.tensor_type.elem_type == TensorProto.FLOAT}
        self.weights = {tensor.name: tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT}
        self.kept = _kept(graph) | set(keep)
        self.half: set[str] = set()
        """Activations that are FP16."""
        self.halved: dict[str, np.ndarray] = {}
        """Weights used in FP16, as they were."""
        self.whole: set[str] = set()
        """Weights used in FP32."""
        self.cast: set[str] = set()
        self.nodes: list[NodeProto] = []

    def run(self) -> None:
        for node in self.graph.node:
            self._node(node)
        for value in self.graph.output:
            if value.name in self.half:
                self._cast_output(value.name)
        kept = [tensor for tensor in self.graph.initializer if tensor.name not in self.halved]
        kept += [self.weights[name] for name in self.halved if name in self.whole]
        halves = {f"{name}:half": _cut(weight).astype(np.float16) for name, weight in self.halved.items()}
        made = [numpy_helper.from_array(weight, name) for name, weight in halves.items()]
        tensors = [TensorProto.FromString(tensor.SerializeToString()) for tensor in (*kept, *made)]
        del self.graph.initializer[:], self.graph.node[:], self.graph.value_info[:]
        self.graph.initializer.extend(tensors)
        self.graph.node.extend(self.nodes)

    def _node(self, original: NodeProto) -> None:
        node = NodeProto.FromString(original.SerializeToString())
        half = node.name not in self.kept
        for slot, name in enumerate(original.input):
            wants_half = half and slot not in FLOAT_INPUTS.get(node.op_type, ())
            if name in self.weights:
                node.input[slot] = self._weight(name, wants_half)
            elif name in self.floats and wants_half != (name in self.half):
                node.input[slot] = self._cast(name, wants_half)
        self.nodes.append(node)
        if half:
            self.half.update(name for name in node.output if name in self.floats)

    def _weight(self, name: str, half: bool) -> str:
        if not half:
            self.whole.add(name)
            return name
        if name not in self.halved:
            self.halved[name] = numpy_helper.to_array(self.weights[name])
        return f"{name}:half"

    def _cast(self, name: str, half: bool) -> str:
        wanted = f"{name}:{'half' if half else 'float'}"
        if wanted not in self.cast:
            kind = TensorProto.FLOAT16 if half else TensorProto.FLOAT
            self.nodes.append(helper.make_node("Cast", [name], [wanted], name=f"{wanted}/Cast", to=kind))
            self.cast.add(wanted)
        return wanted

    def _cast_output(self, name: str) -> None:
        inner = f"{name}:half"
        for node in self.nodes:
            for fields in (node.input, node.output):
                for slot, value in enumerate(fields):
                    if value == name:
                        fields[slot] = inner
        self.nodes.append(helper.make_node("Cast", [inner], [name], name=f"{name}/Cast", to=TensorProto.FLOAT))


def _kept(graph: onnx.GraphProto) -> set[str]:
    """Names of the nodes that stay FP32 whatever the faces are."""
    return _tail(graph) | {node.name for node in graph.node if node.op_type not in HALF_OPS}


def _tail(graph: onnx.GraphProto) -> set[str]:
    """Names of the nodes between the last heavy layers and the outputs."""
    producer = {output: node for node in graph.node for output in node.output}
    names: set[str] = set()
    pending = [value.name for value in graph.output]
    while pending:
        node = producer.get(pending.pop())
        if node is not None and node.op_type not in HEAVY and node.name not in names:
            names.add(node.name)
            pending.extend(node.input)
    return names


def _cut(weight: np.ndarray) -> np.ndarray:
    return np.clip(weight, -MAX_HALF, MAX_HALF)
