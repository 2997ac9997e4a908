"""Engines: really parsed and built by TensorRT-RTX, which needs no GPU for that; every refusal is one line."""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeface.models import FaceNet, iresnet50, with_mask
from edgeface_calibration.int8_ranges import measure_ranges
from edgeface_export import trt_module
from edgeface_export.build import BuildSettings, build_engine, prepare_build
from edgeface_export.int8 import layers, to_int8
from edgeface_export.onnx_export import export_onnx
from edgeface_export.parity import load_graph, to_input
from edgeface_export.precision import to_fp16
from edgeface_runtime.engine import read_sidecar, sidecar_path
from edgeface_runtime.errors import (
    ArtefactError,
    DeviceError,
    EdgefaceError,
    EngineError,
    InputError,
    MissingExtraError,
)
from edgeface_runtime.files import sha256_file

RTX = "tensorrt-rtx"


@pytest.fixture(scope="module")
def rtx() -> Any:
    return pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx: pip install 'edgeface[rtx]'")


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(index: int = 0) -> None:
        raise DeviceError("no NVIDIA driver: libcuda.so.1 was not found: install it")

    monkeypatch.setattr(trt_module, "require_gpu", missing)


@pytest.fixture
def broken(masked_half: Path, tmp_path: Path) -> Callable[[Callable[[onnx.ModelProto], None]], Path]:
    """A copy of the half graph with something done to it."""

    def make(change: Callable[[onnx.ModelProto], None]) -> Path:
        model = onnx.load(str(masked_half))
        change(model)
        path = tmp_path / "broken.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return make


def refused(kind: type[EdgefaceError], onnx_path: Path, **options: Any) -> str:
    """Build, expect a refusal of that kind, leave nothing behind; the message."""
    out = onnx_path.with_name("refused.engine")
    with pytest.raises(kind) as caught:
        build_engine(onnx_path, out, RTX, BuildSettings(**options))
    assert not out.exists() and not sidecar_path(out).exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_half_engine_and_its_sidecar(rtx: Any, no_gpu: None, masked_half: Path, tmp_path: Path) -> None:
    out = tmp_path / "engines" / "face.engine"
    seen: list[tuple[str, int, int]] = []
    wanted = BuildSettings(min_batch=2, opt_batch=4, max_batch=32, workspace_mib=256, builder_level=1)
    built = build_engine(masked_half, out, RTX, wanted, progress=lambda *step: seen.append(step))
    assert out.stat().st_size > 1_000_000
    assert built.engine_sha256 == sha256_file(out) and built.onnx_sha256 == sha256_file(masked_half)
    assert (built.profile.min_batch, built.profile.opt_batch, built.profile.max_batch) == (2, 4, 32)
    assert (built.gpu, built.compute_capability, built.driver) == (None, None, None)
    assert built.precision == "fp16" and built.tensorrt_version == rtx.__version__
    assert built.layers["fp16"] > 40 > 15 > built.layers["fp32"] > 0
    data = json.loads(sidecar_path(out).read_text())
    assert data["note"] == "built without a GPU" and data["layers"] == dict(built.layers)
    assert "not read back" in data["layers_note"] and (data["workspace_mib"], data["builder_level"]) == (256, 1)
    assert (data["version_compatible"], data["hardware_compatibility"]) == (False, "none")
    assert (data["timing_cache"], data["fp32_layers"]) == (None, [])
    assert read_sidecar(out).engine_sha256 == built.engine_sha256
    assert seen and all(0 < done <= total for _, done, total in seen)
    assert sorted(path.name for path in out.parent.iterdir()) == ["face.engine", "face.engine.json"]


def test_sidecars_from_before_compatibility_are_read(
    rtx: Any, no_gpu: None, masked_half: Path, tmp_path: Path
) -> None:
    out = tmp_path / "old.engine"
    build_engine(masked_half, out, RTX)
    data = json.loads(sidecar_path(out).read_text())
    del data["version_compatible"], data["hardware_compatibility"], data["sidecar_sha256"]
    sidecar_path(out).write_text(json.dumps(data))
    found = read_sidecar(out)
    assert (found.version_compatible, found.hardware_compatibility) == (False, "none")
    sidecar_path(out).write_text(json.dumps(data | {"version_compatible": "yes"}))
    with pytest.raises(ArtefactError, match="version_compatible is not of type bool"):
        read_sidecar(out)


def test_float_engine(rtx: Any, masked_onnx: Path, tmp_path: Path) -> None:
    built = build_engine(masked_onnx, tmp_path / "f.engine", RTX, BuildSettings("fp32", max_batch=1))
    assert set(built.layers) == {"fp32"} and built.precision == "fp32"


@pytest.mark.slow
def test_masked_iresnet50_at_half_width(rtx: Any, make_net: Callable[..., FaceNet], tmp_path: Path) -> None:
    full, half = tmp_path / "full.onnx", tmp_path / "half.onnx"
    export_onnx(make_net(with_mask(iresnet50(0.5), 0.5)), full)
    to_fp16(full, half)
    built = build_engine(half, tmp_path / "iresnet50.engine", RTX)
    assert built.layers["fp16"] > 100 and (tmp_path / "iresnet50.engine").stat().st_size > 10_000_000


def test_a_float_graph_is_no_half_engine(rtx: Any, masked_onnx: Path) -> None:
    message = refused(EngineError, masked_onnx, precision="fp16")
    assert "is an fp32 graph" in message and "fp16 was asked for: export it with --precision fp16" in message
    assert refused(EngineError, masked_onnx, precision="int8").endswith(
        "int8 was asked for: export it with --precision int8"
    )


def test_a_half_graph_is_no_float_engine(rtx: Any, masked_half: Path) -> None:
    assert "is an fp16 graph" in refused(EngineError, masked_half, precision="fp32")


def test_mixed_types_name_the_layer(rtx: Any, broken: Callable[..., Path]) -> None:
    def mix(model: onnx.ModelProto) -> None:
        next(node for node in model.graph.node if node.name == "stem.0/Conv").input[0] = "input"

    message = refused(EngineError, broken(mix))
    assert "node stem.0/Conv (Conv)" in message and "must be of same type" in message


def test_an_unknown_operator_names_the_node(rtx: Any, broken: Callable[..., Path]) -> None:
    def rename(model: onnx.ModelProto) -> None:
        next(node for node in model.graph.node if node.op_type == "Sigmoid").op_type = "Bogus"

    assert "node decoder/Sigmoid (Bogus)" in refused(EngineError, broken(rename))


def test_int32_bias_is_refused_with_its_reason(rtx: Any, tmp_path: Path) -> None:
    """What ONNX Runtime's quantiser writes by default."""
    nodes = [
        helper.make_node("DequantizeLinear", ["bias", "scale"], ["b"], name="bias_dq"),
        helper.make_node("Conv", ["input", "w", "b"], ["embedding"], name="conv"),
    ]
    weights = [
        numpy_helper.from_array(np.zeros(4, np.int32), "bias"),
        numpy_helper.from_array(np.float32(0.1), "scale"),
        numpy_helper.from_array(np.zeros((4, 3, 1, 1), np.float32), "w"),
    ]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", channels, 112, 96])
        for name, channels in (("input", 3), ("embedding", 4))
    ]
    graph = helper.make_graph(nodes, "int32", ends[:1], ends[1:], weights)
    path = tmp_path / "int32.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8), str(path))
    message = refused(EngineError, path, precision="int8")
    assert "node bias_dq (DequantizeLinear)" in message and "Int32" in message


def test_files_that_are_no_graphs(rtx: Any, masked_half: Path, tmp_path: Path) -> None:
    content = masked_half.read_bytes()
    for name, data in (
        ("cut", content[:-3]),
        ("half", content[: len(content) // 2]),
        ("text", b"hello\n"),
        ("nil", b""),
    ):
        path = tmp_path / f"{name}.onnx"
        path.write_bytes(data)
        assert "ONNX graph" in refused(ArtefactError, path)
    assert "not found" in refused(InputError, tmp_path / "missing.onnx")


def test_a_fixed_batch_is_refused(rtx: Any, broken: Callable[..., Path]) -> None:
    def fix(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1

    assert "free batch" in refused(ArtefactError, broken(fix))


def test_too_little_workspace_is_said(rtx: Any, masked_onnx: Path) -> None:
    message = refused(EngineError, masked_onnx, precision="fp32", workspace_mib=1, max_batch=4)
    assert "could not build" in message and "memory was short" in message
    assert "--workspace (now 1 MiB)" in message and "--max-batch (now 4)" in message and "--builder-level" in message


def test_preparing_writes_nothing(rtx: Any, no_gpu: None, masked_half: Path, tmp_path: Path) -> None:
    before = sorted(masked_half.parent.iterdir())
    plan = prepare_build(masked_half, RTX, BuildSettings(workspace_mib=64)).plan
    assert (plan.flavour, plan.precision, plan.workspace_mib, plan.engine_sha256) == (RTX, "fp16", 64, "")
    assert plan.onnx_sha256 == sha256_file(masked_half) and plan.layers["fp16"] > 40
    assert sorted(masked_half.parent.iterdir()) == before


def test_quantised_layers_are_told_from_kept_ones(
    rtx: Any, no_gpu: None, masked_onnx: Path, faces: np.ndarray, tmp_path: Path
) -> None:
    names = layers(load_graph(masked_onnx))
    to_int8(
        masked_onnx,
        tmp_path / "q.onnx",
        measure_ranges(masked_onnx, (to_input(faces[:2]),), "minmax"),
        keep=names[:2],
    )
    types = prepare_build(tmp_path / "q.onnx", RTX, BuildSettings("int8")).types
    assert set(types.computing) == set(names) and types.fp32 == tuple(names[:2])
    to_fp16(tmp_path / "q.onnx", tmp_path / "qh.onnx")
    built = build_engine(tmp_path / "qh.onnx", tmp_path / "qh.engine", RTX, BuildSettings("int8+fp16", max_batch=2))
    assert built.precision == "int8+fp16" and built.fp32_layers == ()
    assert built.layers["quantize"] == len(names) - 2 and built.layers["fp16"] > 40
    assert "is an int8+fp16 graph" in refused(EngineError, tmp_path / "qh.onnx", precision="int8")


def test_stopping_a_build_leaves_the_old_engine(rtx: Any, masked_half: Path, tmp_path: Path) -> None:
    def stop(*step: object) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "old.engine"
    out.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        build_engine(masked_half, out, RTX, progress=stop)
    assert out.read_bytes() == b"old" and [path.name for path in tmp_path.iterdir()] == ["old.engine"]


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_hits_tensorrts_own_calls_stops_the_build(
    rtx: Any, no_gpu: None, masked_half: Path, tmp_path: Path, kind: signal.Signals
) -> None:
    def raise_it(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {each: signal.signal(each, raise_it) for each in (signal.SIGINT, signal.SIGTERM)}
    sent: list[str] = []

    def progress(phase: str, done: int, total: int) -> None:
        if not sent:
            sent.append(phase)
            os.kill(os.getpid(), kind)

    try:
        with pytest.raises(KeyboardInterrupt):
            build_engine(masked_half, tmp_path / "x.engine", RTX, progress=progress)
        assert sent and signal.getsignal(kind) is raise_it
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
    assert list(tmp_path.iterdir()) == []


def test_backends_that_are_not_there(masked_half: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="choose one of tensorrt, tensorrt-rtx"):
        build_engine(masked_half, tmp_path / "x", "openvino")
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingExtraError, match=r"edgeface\[tensorrt\]"):
        build_engine(masked_half, tmp_path / "x", "tensorrt")

    def stub(name: str) -> None:
        raise ImportError("libnvinfer.so.10: cannot open shared object file\nmore")

    monkeypatch.setattr(importlib, "import_module", stub)
    with pytest.raises(EngineError, match=r"does not load: libnvinfer\.so\.10: cannot open shared object file$"):
        build_engine(masked_half, tmp_path / "x", "tensorrt")


def test_tensorrt_wants_its_gpu(
    rtx: Any, no_gpu: None, masked_half: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", rtx)
    with pytest.raises(DeviceError, match=r"none here \(no NVIDIA driver\)") as caught:
        build_engine(masked_half, tmp_path / "x.engine", "tensorrt")
    assert caught.value.exit_code == 3


def test_building_needs_neither_torch_nor_onnx() -> None:
    code = (
        "import sys, edgeface_export; edgeface_export.build_engine; "
        "sys.exit(bool({'torch', 'onnx', 'tensorrt', 'tensorrt_rtx', 'onnxruntime'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
