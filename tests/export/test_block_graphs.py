"""Graphs to time hold what an exported network holds: the same operators and multiply-adds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, shape_inference

from edgeface.models import FaceNet, build_spec, count
from edgeface.models.units import units
from edgeface_export.block_graphs import baseline_graph, network_graph, unit_graph
from edgeface_export.graph import open_session
from edgeface_export.graph_cost import graph_cost
from edgeface_export.onnx_export import export_onnx

NETWORKS: list[dict[str, Any]] = [
    {"arch": "iresnet18", "mask": "decoder"},
    {"arch": "iresnet18", "mask": "spatial", "head": "pool"},
    {"arch": "resnet34", "stem_stride": 2},
    {"arch": "mobilefacenet", "mask": "vector"},
]


def with_shapes(data: bytes) -> onnx.ModelProto:
    """The graph with its filled constants written out, so that shapes can be inferred from the file alone."""
    model = onnx.load_from_string(data)
    known = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    kept = []
    for node in model.graph.node:
        if node.op_type == "ConstantOfShape":
            zeros = np.zeros(known[node.input[0]], np.float32)
            model.graph.initializer.append(numpy_helper.from_array(zeros, node.output[0]))
        else:
            kept.append(node)
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return shape_inference.infer_shapes(model, strict_mode=True)


def macs(data: bytes) -> int:
    return graph_cost(with_shapes(data)).macs


@pytest.mark.parametrize("options", NETWORKS, ids=lambda options: "-".join(map(str, options.values())))
def test_macs_are_the_networks(options: dict[str, Any]) -> None:
    spec = build_spec(width=0.125, **options)
    parts = units(spec)
    assert macs(network_graph(parts, "fp32")) == count(spec).macs
    alone = 0
    for unit in parts:
        channels = 0 if unit.kind.startswith("stem") else unit.widths[0]
        alone += macs(unit_graph(unit, "fp32")) - macs(baseline_graph(unit.size, channels, "fp32"))
    assert alone == count(spec).macs


def test_operators_are_those_of_an_exported_network(tmp_path: Path) -> None:
    spec = build_spec("iresnet18", 0.125, mask="decoder")
    export_onnx(FaceNet(spec).eval(), tmp_path / "real.onnx")
    real = Counter(node.op_type for node in onnx.load(tmp_path / "real.onnx").graph.node)
    made = Counter(node.op_type for node in with_shapes(network_graph(units(spec), "fp32")).graph.node)
    del made["Identity"]  # names the outputs
    assert real - made == Counter({"Clip": 1}) and not made - real  # the norm's, of one value


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_every_unit_runs_and_takes_any_batch(precision: str) -> None:
    for unit in units(build_spec("iresnet18", 0.125, mask="decoder")):
        data = unit_graph(unit, precision)
        assert len(data) < 20_000
        session = open_session(data)
        (found,) = session.run(None, {"input": np.ones((2, 3, *unit.size), np.float32)})
        assert found.dtype == np.float32 and found.shape[0] == 2 and np.isfinite(found).all()
    types = {t.type.tensor_type.elem_type for t in onnx.load_from_string(data).graph.input}
    assert types == {onnx.TensorProto.FLOAT}


def test_fp16_graphs_compute_in_half() -> None:
    unit = units(build_spec("iresnet18", 0.125))[1]
    model = shape_inference.infer_shapes(onnx.load_from_string(unit_graph(unit, "fp16")))
    kinds = {value.name: value.type.tensor_type.elem_type for value in model.graph.value_info}
    convs = [node.output[0] for node in model.graph.node if node.op_type == "Conv"]
    assert len(convs) == 4 and {kinds[name] for name in convs} == {onnx.TensorProto.FLOAT16}
