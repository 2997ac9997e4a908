"""Names in an exported graph: nodes and tensors are called after the modules they come from.

PyTorch's exporter leaves stack traces and source paths in every node; they are stripped, so that the same weights
give the same bytes and a parser's complaint names a layer.
"""

from __future__ import annotations

import onnx

__all__ = ["clean"]

SCOPES = "pkg.torch.onnx.name_scopes"


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
