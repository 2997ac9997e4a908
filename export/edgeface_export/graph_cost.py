"""Parameters and multiply-adds of any ONNX graph, counted from its shapes, as `edgeface.models.count` counts ours.

Parameters are float weights of more than one value; statistics of a batch normalisation are none. MACs are those of
convolutions and matrix products for one face.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import onnx
from onnx import TensorProto

from edgeface_runtime.errors import ArtefactError

__all__ = ["GraphCost", "graph_cost"]


Shape = tuple[int, ...]


@dataclass(frozen=True)
class GraphCost:
    """For one face."""

    parameters: int
    macs: int


def graph_cost(proto: onnx.ModelProto) -> GraphCost:
    """Count a graph with one input, (batch, ...).

    Raises:
        ArtefactError: the shape of a layer cannot be inferred.
    """
    single = onnx.ModelProto.FromString(proto.SerializeToString())
    for value in (*single.graph.input, *single.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    graph = onnx.shape_inference.infer_shapes(single, data_prop=True).graph
    shapes = {value.name: _shape(value) for value in (*graph.value_info, *graph.input, *graph.output)}
    shapes |= {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    macs = sum(_macs(node, shapes) for node in graph.node)
    statistics = {name for node in graph.node if node.op_type == "BatchNormalization" for name in node.input[3:5]}
    sizes = [
        math.prod(tensor.dims)
        for tensor in graph.initializer
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in statistics
    ]
    return GraphCost(sum(size for size in sizes if size > 1), macs)


def _macs(node: onnx.NodeProto, shapes: dict[str, Shape]) -> int:
    def shape(name: str) -> Shape:
        found = shapes.get(name, ())
        if not found or min(found) < 1:
            raise ArtefactError(f"the shape of {name} at {node.name} ({node.op_type}) cannot be inferred")
        return found

    if node.op_type == "Conv":
        return math.prod(shape(node.output[0])) * math.prod(shape(node.input[1])[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(shape(node.input[0])) * math.prod(shape(node.input[1])[1:])
    if node.op_type == "Gemm":
        turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
        return math.prod(shape(node.output[0])) * shape(node.input[0])[0 if turned else 1]
    if node.op_type == "MatMul":
        return math.prod(shape(node.output[0])) * shape(node.input[0])[-1]
    return 0


def _shape(value: onnx.ValueInfoProto) -> Shape:
    return tuple(int(dim.dim_value) for dim in value.type.tensor_type.shape.dim)
