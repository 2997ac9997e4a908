"""An FP16 graph as ONNX Runtime's CPU kernels can really compute it: every result rounded to FP16, overflow and all.

Those kernels compute an FP16 graph in FP32 from end to end, which hides what a device does to it. Here every operator
eats FP16 values, sums in FP32, as tensor cores do, and its result is rounded to FP16 before the next one. Real FP16
kernels are a second implementation of the same: PyTorch's (1 s a face on a CPU that has no FP16) and ONNX's reference
evaluator (10 s) agree with it in the tests; this takes about as long as FP32.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from edgeface_export.parity import load_graph
from edgeface_runtime.files import write_bytes

__all__ = ["reference_embeddings", "write_rounded"]


def write_rounded(source: Path, target: Path) -> None:
    """Write the FP32 graph that computes what the FP16 ONNX file `source` does. Run it without optimisations.

    Raises:
        InputError: `source` is missing or `target` cannot be written.
        ArtefactError: `source` is not a readable ONNX graph.
    """
    proto = onnx.shape_inference.infer_shapes(load_graph(source), strict_mode=True)
    graph = proto.graph
    typed = (*graph.value_info, *graph.output)
    halves = {value.name for value in typed if value.type.tensor_type.elem_type == TensorProto.FLOAT16}
    nodes: list[NodeProto] = []
    for node in graph.node:
        nodes += _rounding(node, halves)
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT16:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    del graph.node[:], graph.value_info[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(proto, full_check=True)
    write_bytes(target, proto.SerializeToString(deterministic=True))


def _rounding(original: NodeProto, halves: set[str]) -> list[NodeProto]:
    """The node with FP32 ends, and behind each FP16 result a cast to FP16 and back."""
    node = NodeProto.FromString(original.SerializeToString())
    for attribute in node.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT16:
            attribute.i = TensorProto.FLOAT
    casts = []
    for slot, name in enumerate(node.output):
        if name in halves:
            node.output[slot] = f"{name}:whole"
            casts.append(helper.make_node("Cast", [f"{name}:whole"], [f"{name}:rounded"], to=TensorProto.FLOAT16))
            casts.append(helper.make_node("Cast", [f"{name}:rounded"], [name], to=TensorProto.FLOAT))
    return [node, *casts]


def reference_embeddings(graph: Path, batch: NDArray[np.float32]) -> NDArray[np.float32]:
    """Embeddings (N, E) of an ONNX file by ONNX's reference evaluator, in the types the graph says.

    Args:
        batch: (N, 3, H, W) float32, a few faces: one takes seconds.
    """
    with np.errstate(all="ignore"):  # overflow shows in the result
        (embedding,) = ReferenceEvaluator(str(graph)).run(["embedding"], {"input": batch})
    return np.asarray(embedding, np.float32)
