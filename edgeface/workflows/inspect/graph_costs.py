"""What an ONNX graph costs, layer by layer: parameters, multiply-adds, and the precision each layer computes in.

Shapes come from ONNX's own shape inference with a batch of one. Counted as MACs: convolutions and matrix products
with weights, as `edgeface.models.count` does; a layer whose shapes are unknown is named, never counted as zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

__all__ = ["GraphCosts", "Layer", "count_graph"]

WEIGHTS = {
    "Conv": 1,
    "ConvTranspose": 1,
    "Gemm": 1,
    "MatMul": 1,
    "QLinearConv": 3,
    "QLinearMatMul": 3,
    "ConvInteger": 1,
    "MatMulInteger": 1,
}
"""Operator that multiplies by weights -> which input they are."""
CARRIERS = ("DequantizeLinear", "Cast", "Transpose", "Identity", "Reshape")
"""Operators between a stored weight and the layer that uses it; QuantizeLinear is not: it makes the weight anew."""
NAMES = {1: "fp32", 10: "fp16", 16: "bf16", 11: "fp64", 3: "int8", 2: "int8", 22: "int4", 21: "int4"}
"""ONNX's number of a type (TensorProto.FLOAT is 1) -> ours."""
FLOAT16 = 10


@dataclass(frozen=True)
class Layer:
    """One node that multiplies by stored weights."""

    name: str
    operator: str
    weights: tuple[int, ...]
    """Shape of the weights."""
    parameters: int
    """Weights and bias."""
    macs: int | None
    """For one face; None where a shape is unknown."""
    precision: str
    """fp32, fp16, int8, ...: what it multiplies in."""


@dataclass(frozen=True)
class GraphCosts:
    """A whole graph."""

    layers: tuple[Layer, ...]
    parameters: int
    """Stored weights of all nodes; scales and zero points of quantisation and whole-number constants left out."""
    macs: int
    """Of the layers whose shapes are known."""
    uncounted: tuple[str, ...]
    """Layers whose shapes are not known."""
    precision: str
    """fp32, fp16, int8, or int8+fp16 where what is not INT8 is FP16; `none` without any weights."""


def count_graph(model: onnx.ModelProto) -> GraphCosts:
    """Count a model that was read; raises nothing on graphs ONNX can infer only in part."""
    graph = model.graph
    reader = _Reader(model)
    layers = tuple(_layer(node, reader) for node in graph.node if reader.weight_of(node) is not None)
    aside = {
        name
        for node in graph.node
        if node.op_type in ("QuantizeLinear", "DequantizeLinear")
        for name in node.input[1:]
    }
    bias = {name for node in graph.node if node.op_type == "QLinearConv" for name in node.input[8:9]}
    parameters = sum(
        math.prod(tensor.dims)
        for name, tensor in reader.stored.items()
        if name not in aside and (tensor.data_type in NAMES or name in bias)
    )
    return GraphCosts(
        layers,
        parameters,
        sum(layer.macs or 0 for layer in layers),
        tuple(layer.name for layer in layers if layer.macs is None),
        _precision(layers, reader),
    )


class _Reader:
    """Shapes and types of every tensor by its name, and where it comes from."""

    def __init__(self, model: onnx.ModelProto) -> None:
        import onnx

        one = onnx.ModelProto()
        one.CopyFrom(model)
        for value in one.graph.input:
            dims = value.type.tensor_type.shape.dim
            if dims and not dims[0].HasField("dim_value"):
                dims[0].dim_value = 1
        del one.graph.value_info[:]
        for value in one.graph.output:
            value.type.tensor_type.ClearField("shape")
        try:
            inferred = onnx.shape_inference.infer_shapes(one)
        except Exception:  # ONNX's own errors share no base; what is unknown then is said to be
            inferred = one
        self.stored = {tensor.name: tensor for tensor in inferred.graph.initializer}
        for node in inferred.graph.node:
            if node.op_type == "Constant":
                self.stored.update((node.output[0], a.t) for a in node.attribute if a.name == "value")
        self._values = {
            value.name: value.type.tensor_type
            for group in (inferred.graph.input, inferred.graph.value_info, inferred.graph.output)
            for value in group
        }
        self._makers = {name: node for node in inferred.graph.node for name in node.output}

    def shape(self, name: str) -> tuple[int, ...] | None:
        """Shape of a tensor, None where a side is unknown."""
        if name in self.stored:
            return tuple(self.stored[name].dims)
        found = self._values.get(name)
        if found is None or not found.HasField("shape"):
            return None
        sides = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in found.shape.dim)
        return None if -1 in sides else sides

    def type(self, name: str) -> int:
        """ONNX's number of a tensor's type, 0 where unknown."""
        if name in self.stored:
            return int(self.stored[name].data_type)
        found = self._values.get(name)
        return 0 if found is None else int(found.elem_type)

    def source(self, name: str) -> Iterator[str]:
        """A tensor and what it was made from, back to a stored one."""
        yield name
        while (node := self._makers.get(name)) is not None and node.op_type in CARRIERS:
            name = node.input[0]
            yield name

    def weight_of(self, node: onnx.NodeProto) -> str | None:
        """Name of the tensor a node multiplies by, None where it is no stored one."""
        at = WEIGHTS.get(node.op_type)
        if at is None or len(node.input) <= at:
            return None
        name = str(node.input[at])
        return name if any(source in self.stored for source in self.source(name)) else None


def _layer(node: onnx.NodeProto, reader: _Reader) -> Layer:
    weight = reader.weight_of(node)
    assert weight is not None
    shape = reader.shape(weight) or ()
    stored = [reader.type(name) for name in reader.source(weight)]
    quantised = next((NAMES[kind] for kind in stored if NAMES.get(kind) in ("int8", "int4")), None)
    precision = quantised or NAMES.get(reader.type(weight), "unknown")
    at = {"QLinearConv": 8}.get(node.op_type, 2)
    bias = reader.shape(node.input[at]) if len(node.input) > at and "Integer" not in node.op_type else None
    size = math.prod(shape)
    return Layer(
        node.name or str(node.output[0]),
        node.op_type,
        shape,
        size + (math.prod(bias) if bias else 0),
        _macs(node, reader, shape),
        precision,
    )


def _macs(node: onnx.NodeProto, reader: _Reader, weights: tuple[int, ...]) -> int | None:
    """Multiply-adds for one face: every output value costs what one filter holds."""
    given, made = reader.shape(node.input[0]), reader.shape(node.output[0])
    if not weights:
        return None
    if node.op_type == "ConvTranspose":
        return None if given is None else math.prod(weights) * math.prod(given[2:])
    if made is None:
        return None
    if "Conv" in node.op_type:
        return math.prod(made) * math.prod(weights[1:])
    transposed = any(a.name == "transB" and a.i for a in node.attribute)
    return math.prod(made) * (weights[-1] if transposed else weights[0 if len(weights) < 3 else -2])


def _precision(layers: tuple[Layer, ...], reader: _Reader) -> str:
    found = {layer.precision for layer in layers}
    if "int8" in found or "int4" in found:
        low = "int8" if "int8" in found else "int4"
        half = any(reader.type(name) == FLOAT16 for name in reader.stored) or "fp16" in found
        return f"{low}+fp16" if half else low
    return next((kind for kind in ("fp16", "bf16", "fp32", "fp64") if kind in found), "none")
