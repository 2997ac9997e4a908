"""FP32 graphs that keep their weights as FP16: half the file, the same arithmetic.

A cast behind each large weight makes it FP32 again; ONNX Runtime and TensorRT fold it when they load the graph. Only
the rounding of the weights (one part in 2,048 at most) is not undone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from edgeface_runtime.errors import GateError
from edgeface_runtime.files import write_bytes

__all__ = ["expand_half", "store_half"]

LEAST = 1024
"""Numbers a weight must have to be worth a cast."""
SUFFIX = ":stored"


def store_half(path: Path) -> None:
    """Rewrite the FP32 graph at `path`, atomically, with its large weights as FP16.

    Raises:
        GateError: a weight is too large for FP16.
        InputError: it cannot be written.
    """
    proto = onnx.load(str(path), load_external_data=False)
    casts: list[NodeProto] = []
    for tensor in proto.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT or np.prod(tensor.dims) < LEAST:
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        if not np.isfinite(halves).all():
            raise GateError(
                f"the weight {tensor.name} reaches {np.abs(values).max():.3g}, beyond FP16: store it as FP32"
            )
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(halves, name + SUFFIX))
        casts.append(helper.make_node("Cast", [name + SUFFIX], [name], name=f"{name}:cast", to=TensorProto.FLOAT))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    onnx.checker.check_model(proto, full_check=True)
    write_bytes(path, proto.SerializeToString(deterministic=True))


def expand_half(proto: ModelProto) -> ModelProto:
    """The same graph with such weights as FP32 again, in place: what makes other precisions reads weights."""
    found = {tensor.name: tensor for tensor in proto.graph.initializer if tensor.name.endswith(SUFFIX)}
    kept = []
    for node in proto.graph.node:
        tensor = found.get(node.input[0]) if node.op_type == "Cast" else None
        if tensor is None:
            kept.append(node)
            continue
        values = numpy_helper.to_array(tensor).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(values, node.output[0]))
    if found:
        del proto.graph.node[:]
        proto.graph.node.extend(kept)
    return proto
