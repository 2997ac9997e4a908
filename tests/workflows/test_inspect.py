"""What a file is: ONNX graphs counted by hand, engines of made-up machines, and files that are damaged."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from edgeface.workflows.inspect import KINDS, describe
from edgeface.workflows.inspect.engine import describe_engine
from edgeface_runtime.doctor import Host
from edgeface_runtime.doctor.host import Ran
from edgeface_runtime.engine import Profile, Sidecar, write_layer_times, write_sidecar
from edgeface_runtime.errors import ArtefactError, InputError

onnx = pytest.importorskip("onnx", reason="needs onnx: pip install 'edgeface[train]'")


def weights(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.ones(shape, dtype)


def graph(path: Path, half: bool = False, quantised: bool = False) -> Path:
    """Conv 3 -> 4 (3x3, stride 2, bias) on 8x8, depthwise 4 (3x3), Gemm 64 -> 5; the first Conv INT8 if asked for."""
    from onnx import TensorProto, helper, numpy_helper

    kind, dtype = (TensorProto.FLOAT16, np.float16) if half else (TensorProto.FLOAT, np.float32)
    stored = {
        "w1": weights(4, 3, 3, 3, dtype=dtype),
        "b1": weights(4, dtype=dtype),
        "w2": weights(4, 1, 3, 3, dtype=dtype),
        "w3": weights(5, 64, dtype=dtype),
        "shape": np.array([-1, 64], np.int64),
    }
    nodes = [
        helper.make_node("Conv", ["input", "w1", "b1"], ["x"], "first", strides=[2, 2], pads=[1] * 4),
        helper.make_node("Conv", ["x", "w2"], ["y"], "deep", group=4, pads=[1] * 4),
        helper.make_node("Reshape", ["y", "shape"], ["flat"], "flat"),
        helper.make_node("Gemm", ["flat", "w3"], ["embedding"], "head", transB=1),
    ]
    if quantised:
        stored["w1"] = weights(4, 3, 3, 3, dtype=np.int8)
        stored |= {"scale": weights(4, dtype=dtype), "zero": np.zeros(4, np.int8)}
        nodes.insert(0, helper.make_node("DequantizeLinear", ["w1", "scale", "zero"], ["real"], "dq", axis=0))
        nodes[1].input[1] = "real"
    made = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", kind, ["batch", 3, 8, 8])],
        [helper.make_tensor_value_info("embedding", kind, ["batch", 5])],
        [numpy_helper.from_array(value, name) for name, value in stored.items()],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 19)], ir_version=9, producer_name="hand")
    onnx.checker.check_model(model, full_check=True)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("half", "quantised", "precision", "first"),
    [
        (False, False, "fp32", "fp32"),
        (True, False, "fp16", "fp16"),
        (False, True, "int8", "int8"),
        (True, True, "int8+fp16", "int8"),
    ],
)
def test_a_graph_counted_by_hand(tmp_path: Path, half: bool, quantised: bool, precision: str, first: str) -> None:
    told = describe(graph(tmp_path / "g.onnx", half, quantised)).data
    layers = {layer["name"]: layer for layer in told["layers"]}
    assert (told["kind"], told["precision"], told["producer"], told["opset"]) == (
        "onnx",
        precision,
        "hand",
        {"ai.onnx": 19},
    )
    assert {name: layer["macs"] for name, layer in layers.items()} == {
        "first": 4 * 4 * 4 * 27,
        "deep": 4 * 4 * 4 * 9,
        "head": 64 * 5,
    }
    assert {name: layer["parameters"] for name, layer in layers.items()} == {"first": 112, "deep": 36, "head": 320}
    assert (told["parameters"], told["macs"], told["uncounted"]) == (112 + 36 + 320, 1728 + 576 + 320, ())
    assert [layers[name]["precision"] for name in ("first", "head")] == [first, "fp16" if half else "fp32"]
    assert told["inputs"] == [
        {"name": "input", "type": "float16" if half else "float32", "shape": ["batch", 3, 8, 8]}
    ]
    assert told["operators"]["Conv"] == 2


def test_a_layer_of_unknown_shape_is_named(tmp_path: Path) -> None:
    from onnx import TensorProto, helper, numpy_helper

    made = helper.make_graph(
        [helper.make_node("Conv", ["input", "w"], ["y"], "mystery")],
        "g",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 3, "h", "w"])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights(2, 3, 1, 1), "w")],
    )
    (tmp_path / "g.onnx").write_bytes(helper.make_model(made).SerializeToString())
    found = describe(tmp_path / "g.onnx")
    assert found.data["uncounted"] == ("mystery",) and found.data["layers"][0]["macs"] is None
    assert ("not counted", "mystery") in found.lines


@pytest.mark.parametrize("cut", [0, 1, 20, 100, 400])
def test_a_truncated_graph(tmp_path: Path, cut: int) -> None:
    path = graph(tmp_path / "g.onnx")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ArtefactError, match="is not a readable ONNX graph: damaged or truncated"):
        describe(path)


PLAN = b"a plan"
DRIVER = {
    "cuda": "12.6",
    "gpus": [{"index": 0, "name": "Orin", "compute_capability": "8.7", "free_bytes": 1, "total_bytes": 2}],
}


def engine(folder: Path, version: str = "10.3.0") -> Path:
    path = folder / "r.engine"
    path.write_bytes(PLAN)
    digest = hashlib.sha256(PLAN).hexdigest()
    write_sidecar(
        path, Sidecar("tensorrt", version, "c" * 64, digest, "fp16", Profile(1, 2, 8), "Orin", "8.7", "12.6")
    )
    return path


def orin(command: list[str], timeout_s: float) -> Ran:
    """A machine with an Orin, TensorRT 10.3.0 and pycuda."""
    if "libcuda" in command[2]:
        return Ran(0, json.dumps(DRIVER))
    if command[3:] == ["tensorrt"]:
        return Ran(0, '{"version": "10.3.0", "builder": true}')
    return Ran(0, '{"version": ""}') if command[3:] == ["pycuda.driver"] else Ran(1, err="ModuleNotFoundError: no")


def test_an_engine_that_runs_here(tmp_path: Path) -> None:
    host = Host(tmp_path, {}, orin, {"pycuda": "2026.1"})  # type: ignore[arg-type]
    found = describe_engine(engine(tmp_path), host)
    assert (found.data["runs_here"], found.data["onnx_sha256"], found.data["size_bytes"]) == (True, "c" * 64, 6)
    assert ("runs here", "yes") in found.lines and found.sheets == []
    assert any(name == "by time" and "--profile" in text for name, text in found.lines)
    other = describe_engine(engine(tmp_path, "10.2.0"), host)
    assert not other.data["runs_here"] and "built by tensorrt 10.2.0, here is tensorrt 10.3.0" in other.data["why"]


def test_an_engine_without_a_driver(tmp_path: Path) -> None:
    def bare(command: list[str], timeout_s: float) -> Ran:
        return Ran(1, err="OSError: libcuda.so.1: cannot open shared object file")

    found = describe_engine(engine(tmp_path), Host(tmp_path, {}, bare, {}))  # type: ignore[arg-type]
    assert not found.data["runs_here"] and "no driver" in found.data["why"]


def test_layers_by_time(tmp_path: Path) -> None:
    path = engine(tmp_path)
    write_layer_times(path, [(f"layer {number}", number / 10) for number in range(1, 15)])
    host = Host(tmp_path, {}, orin, {"pycuda": "2026.1"})  # type: ignore[arg-type]
    (sheet,) = describe_engine(path, host).sheets
    assert sheet.title.startswith("layers by time: 10.500 ms")
    assert sheet.rows[0] == ["layer 14", "1.4000", "13.3%"]
    assert sheet.rows[-1] == ["2 others", "0.3000", "2.9%"] and len(sheet.rows) == 13


def test_a_damaged_engine_is_refused(tmp_path: Path) -> None:
    path = engine(tmp_path)
    path.write_bytes(PLAN[:-1])
    with pytest.raises(ArtefactError, match="SHA-256 differs from its sidecar"):
        describe(path)


def test_every_kind_has_its_describer() -> None:
    import importlib

    for kind in KINDS:
        assert callable(getattr(importlib.import_module(f"edgeface.workflows.inspect.{kind}"), f"describe_{kind}"))


@pytest.mark.parametrize("suffix", [".onnx", ".npz", ".db", ".safetensors", ".tar", ".engine", ".txt"])
@pytest.mark.parametrize("content", [b"", b"garbage\n" * 99, b"\x00" * 500])
def test_garbage_of_every_kind_is_one_line(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"file{suffix}"
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        describe(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)
