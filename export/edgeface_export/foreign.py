"""Reading an ONNX file that somebody else exported: what it is, or in one line why it cannot be used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import TensorProto

from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.files import require_file

__all__ = ["OPSETS", "ForeignInput", "constants_as_weights", "convert_opset", "read_foreign", "the_input"]

OPSETS = (13, 20)
"""First and last opset that is taken as it is: per-channel INT8 begins with 13, TensorRT 10.3 reads up to 20."""
CONVERTED = 18
"""Opset that older and newer graphs are brought to: that of our own exports."""
CONTROL = ("If", "Loop", "Scan")
WIDTHS: dict[int, str] = {
    TensorProto.FLOAT16: "float16",
    TensorProto.BFLOAT16: "bfloat16",
    TensorProto.DOUBLE: "double",
}
QUANTIZED = ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "ConvInteger", "MatMulInteger", "QLinearMatMul")


@dataclass(frozen=True)
class ForeignInput:
    """The one picture a graph takes."""

    name: str
    batch: int | None
    """Faces in one call, where that is fixed."""
    layout: str
    """NCHW or NHWC."""
    size: tuple[int, int]
    """Height and width."""


def read_foreign(path: Path) -> onnx.ModelProto:
    """Read an FP32 ONNX graph of plain operators, all in this one file.

    Raises:
        InputError: there is no such file.
        ArtefactError: it is no such graph; says what it is instead.
    """
    require_file(path, "ONNX file")
    try:
        proto = onnx.ModelProto.FromString(path.read_bytes())
    except DecodeError as exc:
        raise ArtefactError(f"{path} is not an ONNX file: export the network to ONNX first") from exc
    if not proto.graph.node or not proto.graph.output or not proto.opset_import:
        raise ArtefactError(f"{path} is not an ONNX file, or holds no network: export the network to ONNX first")
    if not all(isinstance(text, str) for text in _texts(proto)):  # protobuf gives bytes for what is no text
        raise ArtefactError(f"{path} is damaged: a name in it is no text: copy or export it again")
    _check_own_weights(path, proto)
    if proto.functions:
        from onnx import inliner

        proto = inliner.inline_local_functions(proto)
    _check_operators(path, proto)
    _check_types(path, proto)
    used = {node.domain for node in proto.graph.node}
    imports = [entry for entry in proto.opset_import if entry.domain in used and entry.domain in ("", "ai.onnx")]
    del proto.opset_import[:]
    proto.opset_import.extend(imports)
    try:
        onnx.checker.check_model(proto)
    except Exception as exc:  # of damaged files not only ValidationError
        line = (str(exc).strip().splitlines() or ["no reason given"])[0].strip()
        raise ArtefactError(f"{path} is no valid ONNX graph ({line[:200]}): export it again") from exc
    return proto


def constants_as_weights(proto: onnx.ModelProto) -> None:
    """Make weights of Constant nodes and of copies of weights, and take weights out of the list of inputs; in place.

    Old exporters list weights as inputs too; PyTorch's writes equal weights once and the others as Identity of it.
    What makes FP16 and INT8 looks for weights where they are used.
    """
    graph = proto.graph
    nodes = []
    weights = {tensor.name for tensor in graph.initializer}
    same: dict[str, str] = {}
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = same.get(name, name)
        tensor = _constant(node)
        if tensor is not None:
            tensor.name = node.output[0]
            graph.initializer.append(tensor)
            weights.add(tensor.name)
        elif node.op_type == "Identity" and node.input[0] in weights:
            same[node.output[0]] = node.input[0]
        else:
            nodes.append(node)
    inputs = [value for value in graph.input if value.name not in weights]
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.extend(inputs)


def convert_opset(path: Path, proto: onnx.ModelProto) -> tuple[onnx.ModelProto, int]:
    """The graph at an opset of OPSETS, and the opset it came with; converted only where it must be.

    Raises:
        ArtefactError: onnx cannot convert it.
    """
    opset = next(int(entry.version) for entry in proto.opset_import if entry.domain in ("", "ai.onnx"))
    if OPSETS[0] <= opset <= OPSETS[1]:
        return proto, opset
    from onnx import version_converter

    try:
        converted = version_converter.convert_version(proto, CONVERTED)
        onnx.checker.check_model(converted, full_check=True)
    except Exception as exc:  # the converter's own exceptions are RuntimeError and more
        line = " ".join(str(exc).split())[:160]
        raise ArtefactError(
            f"{path} is of opset {opset}, and onnx cannot convert it to {CONVERTED} ({line}): "
            f"export it again with an opset of {OPSETS[0]} to {OPSETS[1]}"
        ) from exc
    return converted, opset


def the_input(path: Path, proto: onnx.ModelProto, size: tuple[int, int] | None, layout: str | None) -> ForeignInput:
    """The graph's picture: size and layout as the graph says, else as given.

    Raises:
        ArtefactError: several inputs, none, or no colour picture of float32.
        InputError: the graph contradicts `size` or `layout`, or neither says the size.
    """
    inputs = list(proto.graph.input)
    if len(inputs) != 1:
        names = ", ".join(value.name for value in inputs)
        raise ArtefactError(f"{path} has {len(inputs)} inputs ({names}): a recogniser has one, the picture of a face")
    kind = inputs[0].type.tensor_type
    if kind.elem_type != TensorProto.FLOAT:
        found = WIDTHS.get(kind.elem_type) or TensorProto.DataType.Name(kind.elem_type).lower()
        raise ArtefactError(
            f"{path}: its input {inputs[0].name} is {found}, not float32: export it with a float32 input"
        )
    if not kind.HasField("shape") or len(kind.shape.dim) != 4:
        shape = _shape(kind) if kind.HasField("shape") else "of unknown shape"
        raise ArtefactError(
            f"{path}: its input {inputs[0].name} is {shape}, no batch of pictures (four axes): is it a recogniser?"
        )
    sides = [dim.dim_value if dim.HasField("dim_value") and dim.dim_value > 0 else None for dim in kind.shape.dim]
    own = _layout(path, sides, _shape(kind))
    if layout is not None and own is not None and own != layout:
        raise InputError(f"--layout {layout}: {path} takes {_shape(kind)}, which is {own}: leave --layout out")
    layout = own or layout or "NCHW"
    height, width = sides[2:] if layout == "NCHW" else sides[1:3]
    for told, given in zip((height, width), size or (None, None), strict=True):
        if told is not None and given is not None and told != given:
            assert size is not None
            raise InputError(
                f"--input {size[0]}x{size[1]}: {path} takes {height or '?'}x{width or '?'} (height x width): "
                "give that, or leave --input out"
            )
    height, width = height or (size or (None, None))[0], width or (size or (None, None))[1]
    if height is None or width is None:
        raise InputError(f"{path} takes {_shape(kind)} and does not say its size: give --input, such as 112x112")
    return ForeignInput(inputs[0].name, sides[0], layout, (height, width))


def _layout(path: Path, sides: list[int | None], shape: str) -> str | None:
    """Where the axis of three channels is; None where the graph leaves it open."""
    if sides[1] == 3:
        return "NCHW"
    if sides[3] == 3:
        return "NHWC"
    if sides[1] is None and (sides[2] is None or sides[2] > 4) and (sides[3] is None or sides[3] > 4):
        return "NCHW" if sides[3] is not None else None
    if sides[3] is None and sides[1] is not None and sides[1] > 4:
        return "NHWC"
    raise ArtefactError(
        f"{path} takes {shape}, no colour picture (an axis of 3): only colour recognisers can be used"
    )


def _shape(kind: onnx.TypeProto.Tensor) -> str:
    return "x".join(str(dim.dim_value) if dim.dim_value > 0 else (dim.dim_param or "?") for dim in kind.shape.dim)


def _texts(proto: onnx.ModelProto) -> Iterator[object]:
    graph = proto.graph
    for value in (*graph.input, *graph.output):
        yield value.name
        yield from (dim.dim_param for dim in value.type.tensor_type.shape.dim)
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (attribute.name for attribute in node.attribute)
    for tensor in graph.initializer:
        yield tensor.name
        yield from (entry.value for entry in tensor.external_data)
    yield from (entry.domain for entry in proto.opset_import)
    yield from (proto.producer_name, proto.producer_version)


def _check_own_weights(path: Path, proto: onnx.ModelProto) -> None:
    for tensor in _tensors(proto.graph):
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            where = next((entry.value for entry in tensor.external_data if entry.key == "location"), "another file")
            raise ArtefactError(
                f"{path} keeps its weights in {where}: put them into one file "
                "(python: onnx.save(onnx.load('model.onnx'), 'one-file.onnx'))"
            )


def _check_operators(path: Path, proto: onnx.ModelProto) -> None:
    for node in proto.graph.node:
        if node.op_type in QUANTIZED:
            raise ArtefactError(
                f"{path} is quantised already ({node.op_type}): give the FP32 model, INT8 is made of it"
            )
        if node.domain not in ("", "ai.onnx"):
            raise ArtefactError(
                f"{path} uses {node.domain}.{node.op_type}, which is no operator of ONNX's own: "
                "export it without another package's optimisations"
            )
        if node.op_type in CONTROL:
            raise ArtefactError(f"{path} has a branch or loop ({node.op_type}): export it for inference, traced")


def _check_types(path: Path, proto: onnx.ModelProto) -> None:
    for tensor in _tensors(proto.graph):
        if tensor.data_type in WIDTHS:
            raise ArtefactError(
                f"{path} holds {WIDTHS[tensor.data_type]} weights ({tensor.name}): give the FP32 model, "
                "FP16 is made of it"
            )


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    """Every weight, those in nodes and in graphs within nodes too."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)


def _constant(node: onnx.NodeProto) -> TensorProto | None:
    """The value of a Constant node; None of another node, and of a value that is no tensor of numbers."""
    if node.op_type != "Constant" or not node.attribute:
        return None
    value = onnx.helper.get_attribute_value(node.attribute[0])
    name = node.attribute[0].name
    if name == "value":
        return TensorProto.FromString(value.SerializeToString())
    kinds = {"value_float": "float32", "value_floats": "float32", "value_int": "int64", "value_ints": "int64"}
    if name not in kinds:
        return None
    import numpy as np

    return onnx.numpy_helper.from_array(np.array(value, kinds[name]))
