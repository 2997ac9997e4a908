"""A foreign graph in the house's form: `input` (batch, 3, H, W) -> `embedding` (batch, E), rows of unit length.

Its operators stay as they are. Around them come a Transpose where it takes NHWC, and the norm where it has none; what
leads to other outputs goes.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgeface_export.foreign import ForeignInput
from edgeface_runtime.errors import ArtefactError

__all__ = ["to_house"]

INPUT, OUTPUT = "input", "embedding"
IR_VERSIONS = {13: 7, 14: 7, 15: 8, 16: 8, 17: 8, 18: 8, 19: 9, 20: 9}
"""Opset -> the lowest ONNX file version that carries it."""


def to_house(
    proto: onnx.ModelProto, given: ForeignInput, output: str, embedding_size: int, normalised: bool
) -> onnx.ModelProto:
    """A new graph in the house's form.

    Args:
        proto: of plain operators, weights as initializers.
        given: its input.
        output: which of its outputs is the embedding.
        embedding_size: values of it.
        normalised: it already is of unit length.

    Raises:
        ArtefactError: its types cannot be inferred.
    """
    made = onnx.ModelProto.FromString(proto.SerializeToString())
    graph = made.graph
    _keep_only(graph, output)
    if given.batch is not None:
        _free_batch(graph, given.batch)
    names = _new_names(graph, given, output, normalised)
    _rename(graph, names)
    opset = next(int(entry.version) for entry in made.opset_import)
    if given.layout == "NHWC":
        turn = helper.make_node("Transpose", [INPUT], [names[given.name]], name="input/Transpose", perm=[0, 2, 3, 1])
        graph.node.insert(0, turn)
    if not normalised:
        _normalise(graph, names[output], opset)
    _strip(made)
    del graph.input[:], graph.output[:], graph.value_info[:]
    shape: list[str | int | None] = ["batch", 3, *given.size]
    graph.input.append(helper.make_tensor_value_info(INPUT, TensorProto.FLOAT, shape))
    graph.output.append(helper.make_tensor_value_info(OUTPUT, TensorProto.FLOAT, ["batch", embedding_size]))
    made.ir_version = IR_VERSIONS[opset]
    try:
        onnx.shape_inference.infer_shapes(made, strict_mode=True)
        onnx.checker.check_model(made, full_check=True)
    except Exception as exc:  # onnx has several, without a common base
        line = " ".join(str(exc).split())[:200]
        raise ArtefactError(f"the graph's shapes contradict each other ({line}): export it again") from exc
    return made


def _keep_only(graph: onnx.GraphProto, output: str) -> None:
    """Drop nodes and weights that do not lead to `output`."""
    wanted = {output}
    nodes = []
    for node in reversed(graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            nodes.append(node)
    weights = [tensor for tensor in graph.initializer if tensor.name in wanted]
    del graph.node[:], graph.initializer[:], graph.sparse_initializer[:], graph.quantization_annotation[:]
    graph.node.extend(reversed(nodes))
    graph.initializer.extend(weights)


def _free_batch(graph: onnx.GraphProto, batch: int) -> None:
    """Have every Reshape to a fixed shape that begins with the batch take it from what it reshapes."""
    weights = {tensor.name: tensor for tensor in graph.initializer}
    for number, node in enumerate(graph.node):
        if node.op_type != "Reshape" or node.input[1] not in weights or node.input[0] in weights:
            continue
        if any(attribute.name == "allowzero" and attribute.i for attribute in node.attribute):
            continue
        shape = numpy_helper.to_array(weights[node.input[1]]).copy()
        if shape.ndim == 1 and len(shape) and shape[0] == batch:
            shape[0] = 0  # as in the data
            node.input[1] = f"{node.input[1]}:free_{number}"
            graph.initializer.append(numpy_helper.from_array(shape, node.input[1]))


def _new_names(graph: onnx.GraphProto, given: ForeignInput, output: str, normalised: bool) -> dict[str, str]:
    """Old name of every tensor -> new one: the house's names are kept free for what they mean."""
    tensors = [given.name, *(name for node in graph.node for name in (*node.input, *node.output) if name)]
    names = {name: name for name in tensors}
    for name in (INPUT, OUTPUT):
        if name in names:
            names[name] = f"{name}:inner"
    names[given.name] = INPUT if given.layout == "NCHW" else "input:NHWC"
    names[output] = OUTPUT if normalised else "embedding:raw"
    return names


def _rename(graph: onnx.GraphProto, names: dict[str, str]) -> None:
    used: set[str] = set()
    for number, node in enumerate(graph.node):
        if not node.name or node.name in used:
            node.name = f"{node.op_type}:{number}"
        used.add(node.name)
        for fields in (node.input, node.output):
            for index, name in enumerate(fields):
                fields[index] = names.get(name, name)
    for tensor in graph.initializer:
        tensor.name = names.get(tensor.name, tensor.name)


def _normalise(graph: onnx.GraphProto, raw: str, opset: int) -> None:
    """raw / max(|raw|, 1e-12), as our own exports do."""
    smallest = numpy_helper.from_array(np.array(1e-12, "float32"), "embedding:smallest")
    graph.initializer.append(smallest)
    if opset >= 18:
        graph.initializer.append(numpy_helper.from_array(np.array([1], "int64"), "embedding:axes"))
        norm = helper.make_node("ReduceL2", [raw, "embedding:axes"], ["embedding:norm"], keepdims=1)
    else:
        norm = helper.make_node("ReduceL2", [raw], ["embedding:norm"], axes=[1], keepdims=1)
    clamp = helper.make_node("Max", ["embedding:norm", smallest.name], ["embedding:clamped"])
    divide = helper.make_node("Div", [raw, "embedding:clamped"], [OUTPUT])
    for node in (norm, clamp, divide):
        node.name = f"embedding/{node.op_type}"
    graph.node.extend((norm, clamp, divide))


def _strip(proto: onnx.ModelProto) -> None:
    """No traces of the machine that exported it: they stand in the way of equal bytes for equal weights."""
    graph = proto.graph
    for holder in (proto, graph, *graph.node, *graph.initializer):
        holder.ClearField("doc_string")
        holder.ClearField("metadata_props")
