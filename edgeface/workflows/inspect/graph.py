"""A bare ONNX graph: inputs and outputs, operators, precision, cost, and which layers cost most."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeface.workflows.benchmark_report import Sheet
from edgeface.workflows.inspect.description import Description, Line, megabytes, millions
from edgeface_runtime.errors import ArtefactError

if TYPE_CHECKING:
    import onnx

    from edgeface.workflows.inspect.graph_costs import GraphCosts, Layer

__all__ = ["describe_graph", "load_onnx"]

LARGEST = 8
"""Layers in the table; `--json` has all."""

LONGEST = 100
"""Characters of a property that is shown; `--json` has all."""


def load_onnx(path: Path) -> onnx.ModelProto:
    """Read an ONNX file.

    Raises:
        ArtefactError: it is no ONNX graph, or truncated.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    if path.is_dir():
        raise ArtefactError(f"{path} is a folder, not an ONNX graph")
    again = "is not a readable ONNX graph: damaged or truncated: export it again"
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, ValueError, UnicodeDecodeError) as exc:
        raise ArtefactError(f"{path} {again}") from exc
    if not model.graph.node or not model.graph.output or not model.opset_import:
        raise ArtefactError(f"{path} {again}")
    return model


def describe_graph(path: Path) -> Description:
    """Read and count an ONNX file. Needs the package onnx. Raises as `load_onnx` does."""
    model = load_onnx(path)
    from edgeface.workflows.inspect.graph_costs import count_graph

    graph, costs = model.graph, count_graph(model)
    stored = {tensor.name for tensor in graph.initializer}
    operators = dict(Counter(node.op_type for node in graph.node).most_common())
    outside = sorted({entry.value for t in graph.initializer for entry in t.external_data if entry.key == "location"})
    data: dict[str, Any] = {
        "kind": "onnx",
        "size_bytes": path.stat().st_size,
        "name": graph.name,
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "ir_version": model.ir_version,
        "opset": {entry.domain or "ai.onnx": entry.version for entry in model.opset_import},
        "properties": {entry.key: entry.value for entry in model.metadata_props},
        "inputs": [_value(value) for value in graph.input if value.name not in stored],
        "outputs": [_value(value) for value in graph.output],
        "nodes": len(graph.node),
        "operators": operators,
        "external_data": outside,
        **asdict(costs),
    }
    return Description(data, _lines(path, data, costs), [_largest(costs)] if costs.layers else [])


def _value(value: onnx.ValueInfoProto) -> dict[str, Any]:
    import onnx

    tensor = value.type.tensor_type
    sides = [dim.dim_value if dim.HasField("dim_value") else dim.dim_param or "?" for dim in tensor.shape.dim]
    kind = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    return {"name": value.name, "type": {"float": "float32"}.get(kind, kind), "shape": sides}


def _lines(path: Path, data: dict[str, Any], costs: GraphCosts) -> list[Line]:
    opsets = ", ".join(
        f"{version}{'' if domain == 'ai.onnx' else ' of ' + domain}" for domain, version in data["opset"].items()
    )
    by_precision = Counter(layer.precision for layer in costs.layers)
    words = ", ".join(f"{count} layers {kind}" for kind, count in by_precision.most_common())
    lines = [
        ("ONNX graph", f"{path.name}, {megabytes(data['size_bytes'])}"),
        ("made by", f"{data['producer'] or 'unknown'}; opset {opsets}, file version {data['ir_version']}"),
        *(("input", _tensor_words(entry)) for entry in data["inputs"]),
        *(("output", _tensor_words(entry)) for entry in data["outputs"]),
        ("precision", f"{costs.precision} ({words or 'no layers with weights'})"),
        ("parameters", millions(costs.parameters)),
        ("MACs", f"{millions(costs.macs)} a face"),
        *(("not counted", name) for name in costs.uncounted[:3]),
        ("nodes", f"{data['nodes']}: {', '.join(f'{name} {n}' for name, n in data['operators'].items())}"),
        *((key, value) for key, value in data["properties"].items() if len(value) <= LONGEST),
    ]
    if data["external_data"]:
        lines.append(("weights in", ", ".join(data["external_data"])))
    return lines


def _tensor_words(entry: dict[str, Any]) -> str:
    return f"{entry['name']}: {entry['type']} ({', '.join(map(str, entry['shape']))})"


def _largest(costs: GraphCosts) -> Sheet:
    def share(part: int | None, whole: int) -> str:
        return "" if part is None or not whole else f"{part / whole:.1%}"

    def row(layer: Layer) -> list[str]:
        return [
            layer.name,
            layer.operator,
            "x".join(map(str, layer.weights)),
            layer.precision,
            f"{layer.parameters / 1e3:.1f}",
            share(layer.parameters, costs.parameters),
            "" if layer.macs is None else f"{layer.macs / 1e6:.2f}",
            share(layer.macs, costs.macs),
        ]

    largest = sorted(
        costs.layers, key=lambda layer: -max(_of(layer.parameters, costs.parameters), _of(layer.macs, costs.macs))
    )
    columns = ["layer", "operator", "weights", "in", "params K", "share", "MACs M", "share"]
    return Sheet(f"largest of {len(costs.layers)} layers with weights", columns, [row(x) for x in largest[:LARGEST]])


def _of(part: int | None, whole: int) -> float:
    return (part or 0) / whole if whole else 0.0
