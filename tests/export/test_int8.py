"""INT8 graphs: against quantisation done by hand, on both schemes, and which layers stay FP32."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeface_calibration.int8_ranges import Ranges, measure_ranges
from edgeface_export.build import BuildSettings, build_engine
from edgeface_export.graph import run_graph
from edgeface_export.int8 import SCHEMES, layers, to_int8
from edgeface_export.int8_keep import choose_fp32_layers
from edgeface_export.parity import cosines, embed_onnx, load_graph, to_input
from edgeface_runtime.errors import ArtefactError, InputError

pytest.importorskip("onnxruntime", reason="needs onnxruntime")


@pytest.fixture(scope="module")
def ranges(masked_onnx: Path, faces: np.ndarray) -> Ranges:
    return measure_ranges(masked_onnx, (to_input(faces[:3]),), "minmax")


def test_one_layer_by_hand(tmp_path: Path) -> None:
    weight = np.array([[0.5, -1.27, 0.02], [0.3, 0.1, 0.05]], np.float32).reshape(2, 3, 1, 1)
    made = helper.make_graph(
        [helper.make_node("Conv", ["input", "w"], ["out"], name="conv")],
        "one",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, 1, 1])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 2, 1, 1])],
        [numpy_helper.from_array(weight, "w")],
    )
    path = tmp_path / "one.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), path)
    to_int8(path, tmp_path / "int8.onnx", Ranges("minmax", 1, {"input": (-1.0, 0.5), "out": (-2, 2)}), "tensorrt")
    x = np.array([0.3337, -0.77, 2.0], np.float32).reshape(1, 3, 1, 1)
    # Symmetric: the wider side, 1, over 127; 2.0 is cut off. Weights: each output's own largest over 127.
    eaten = np.clip(np.round(x / (1 / 127)), -128, 127) / 127
    scale = np.abs(weight).max(axis=(1, 2, 3), keepdims=True) / 127
    wanted = ((np.round(weight / scale) * scale) * eaten).sum(axis=(1, 2, 3))
    found = run_graph(tmp_path / "int8.onnx", x, "out")
    assert found.ravel() == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_near_fp32_and_a_quarter_of_the_size(
    scheme: str, masked_onnx: Path, ranges: Ranges, faces: np.ndarray, tmp_path: Path
) -> None:
    report = to_int8(masked_onnx, tmp_path / "int8.onnx", ranges, scheme)
    names = layers(load_graph(masked_onnx))
    assert (report.quantized, report.kept_fp32) == (len(names), ())
    assert report.size_bytes < 0.4 * masked_onnx.stat().st_size
    reference, share = embed_onnx(masked_onnx, faces)
    found, covered = embed_onnx(tmp_path / "int8.onnx", faces)
    assert 0.95 < cosines(reference, found).min() < 0.999999
    assert covered == pytest.approx(share, abs=0.05)
    proto = onnx.load(tmp_path / "int8.onnx")
    assert [entry.domain for entry in proto.opset_import] == [""]
    kinds = {tensor.data_type for tensor in proto.graph.initializer}
    assert (TensorProto.UINT8 in kinds) == (scheme == "cpu") and TensorProto.INT8 in kinds
    # An INT32 bias is what TensorRT refuses.
    assert (TensorProto.INT32 in kinds) == (scheme == "cpu")


def test_the_cpu_scheme_keeps_weights_to_seven_bits(masked_onnx: Path, ranges: Ranges, tmp_path: Path) -> None:
    to_int8(masked_onnx, tmp_path / "int8.onnx", ranges, "cpu")
    graph = onnx.load(tmp_path / "int8.onnx").graph
    eights = [numpy_helper.to_array(t) for t in graph.initializer if t.data_type == TensorProto.INT8]
    largest = max(int(np.abs(values.astype(int)).max()) for values in eights if values.ndim > 1)
    assert largest <= 64


def test_the_same_ranges_give_the_same_bytes(masked_onnx: Path, ranges: Ranges, tmp_path: Path) -> None:
    for name in ("a", "b"):
        to_int8(masked_onnx, tmp_path / name, ranges)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_layers_kept_compute_in_fp32(masked_onnx: Path, ranges: Ranges, faces: np.ndarray, tmp_path: Path) -> None:
    names = layers(load_graph(masked_onnx))
    report = to_int8(masked_onnx, tmp_path / "some.onnx", ranges, keep=names[:2])
    assert report.kept_fp32 == tuple(names[:2]) and report.quantized == len(names) - 2
    every = to_int8(masked_onnx, tmp_path / "all.onnx", ranges, keep=names)
    assert every.quantized == 0
    counts = Counter(node.op_type for node in onnx.load(every.path).graph.node)
    assert counts["QuantizeLinear"] == 0
    assert np.array_equal(embed_onnx(masked_onnx, faces)[0], embed_onnx(every.path, faces)[0])


def test_the_layer_that_costs_most_is_kept(masked_onnx: Path, ranges: Ranges, faces: np.ndarray) -> None:
    proto = load_graph(masked_onnx)
    fifth = [node for node in proto.graph.node if node.op_type == "Conv"][4]
    spoilt = replace(ranges, values={**ranges.values, fifth.input[0]: (-1e-4, 1e-4)})  # nearly all is cut off
    kept = choose_fp32_layers(masked_onnx, spoilt, faces[3:], 0.95)
    assert kept == (fifth.name,)
    assert choose_fp32_layers(masked_onnx, ranges, faces[3:], 0.95) == ()


def test_tensorrt_takes_its_scheme(masked_onnx: Path, ranges: Ranges, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx: pip install 'edgeface[rtx]'")
    report = to_int8(masked_onnx, tmp_path / "int8.onnx", ranges, "tensorrt")
    built = build_engine(report.path, tmp_path / "int8.engine", "tensorrt-rtx", BuildSettings("int8", max_batch=2))
    assert built.precision == "int8" and built.layers["quantize"] >= report.quantized


def test_what_is_refused(masked_onnx: Path, ranges: Ranges, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown INT8 scheme 'gpu': choose one of cpu, tensorrt"):
        to_int8(masked_onnx, tmp_path / "x.onnx", ranges, "gpu")
    with pytest.raises(InputError, match="has no layer 'none' to keep in FP32"):
        to_int8(masked_onnx, tmp_path / "x.onnx", ranges, keep=("none",))
    with pytest.raises(ArtefactError, match="measure its ranges again"):
        to_int8(masked_onnx, tmp_path / "x.onnx", Ranges("minmax", 1, {}), "cpu")
    to_int8(masked_onnx, tmp_path / "y.onnx", ranges)
    with pytest.raises(ArtefactError, match="already is INT8"):
        to_int8(tmp_path / "y.onnx", tmp_path / "x.onnx", ranges)
    assert not (tmp_path / "x.onnx").exists()
