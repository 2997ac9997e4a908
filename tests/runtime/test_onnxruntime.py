"""ONNX Runtime: what the graph says, on the provider that was asked for and on no other."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeface_runtime.backends import onnxruntime as ort_module
from edgeface_runtime.backends import open_backend
from edgeface_runtime.backends.driver import Gpu
from edgeface_runtime.errors import ArtefactError, DeviceError, EngineError, InputError, MissingExtraError

Tiny = tuple[Path, np.ndarray]


def faces(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, 3, 112, 96)).astype(np.float32)


def expected(batch: np.ndarray, weights: np.ndarray) -> np.ndarray:
    pooled = batch.reshape(len(batch), 3, 7, 16, 6, 16).mean(axis=(3, 5)).reshape(len(batch), 126)
    raw = pooled @ weights
    return raw / np.linalg.norm(raw, axis=1, keepdims=True)


def test_onnxruntime_computes_what_the_graph_says(tiny_weights: Tiny) -> None:
    path, weights = tiny_weights
    batch = faces(3)
    with open_backend("onnxruntime", path, threads=1) as backend:
        outputs = backend.run(batch)
        facts = backend.describe()
    np.testing.assert_allclose(outputs["embedding"], expected(batch, weights), atol=1e-5)
    np.testing.assert_allclose(outputs["covered_share"], batch.mean(axis=(1, 2, 3)) / 2 + 0.5, atol=1e-5)
    assert outputs["embedding"].dtype == np.float32
    assert (facts["backend"], facts["provider"], facts["device"]) == ("onnxruntime", "CPUExecutionProvider", "cpu")
    assert facts["threads"] == 1
    assert facts["providers"] == ["CPUExecutionProvider"]
    assert facts["nodes"] in (None, {"CPUExecutionProvider": 7})  # as many as the graph has, where it is told


def test_a_half_precision_graph_is_fed_and_answers_in_float32(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs onnx to make a tiny model")
    helper, half = onnx.helper, onnx.TensorProto.FLOAT16
    shape = ["n", 3, 2, 2]
    graph = helper.make_graph(
        [helper.make_node("Add", ["input", "input"], ["twice"])],
        "half",
        [helper.make_tensor_value_info("input", half, shape)],
        [helper.make_tensor_value_info("twice", half, shape)],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), str(tmp_path / "h.onnx")
    )
    with open_backend("onnxruntime", tmp_path / "h.onnx") as backend:
        twice = backend.run(np.full((1, 3, 2, 2), 0.25, np.float32))["twice"]
    assert twice.dtype == np.float32
    assert (twice == 0.5).all()


@pytest.mark.parametrize(
    "batch", [np.zeros((1, 1, 112, 96), np.float32), np.zeros((1, 3, 112, 96)), np.zeros((0, 3, 112, 96), np.float32)]
)
def test_a_wrong_batch_is_refused(tiny_weights: Tiny, batch: np.ndarray) -> None:
    with open_backend("onnxruntime", tiny_weights[0]) as backend, pytest.raises(InputError, match="a batch must be"):
        backend.run(batch)


def test_a_batch_of_another_size_is_an_engine_error_in_one_line(tiny_weights: Tiny) -> None:
    with open_backend("onnxruntime", tiny_weights[0]) as backend, pytest.raises(EngineError) as info:
        backend.run(np.zeros((1, 3, 32, 32), np.float32))
    assert "\n" not in str(info.value)


def test_a_closed_backend_says_so(tiny_weights: Tiny) -> None:
    backend = open_backend("onnxruntime", tiny_weights[0])
    backend.close()
    backend.close()
    with pytest.raises(InputError, match="is closed"):
        backend.run(faces(1))


def test_a_damaged_model_is_one_line(tiny_weights: Tiny, tmp_path: Path) -> None:
    data = tiny_weights[0].read_bytes()
    for content in (b"", b"text", data[: len(data) // 2]):
        path = tmp_path / "m.onnx"
        path.write_bytes(content)
        with pytest.raises(ArtefactError, match="no ONNX model that runs here") as info:
            open_backend("onnxruntime", path)
        assert "\n" not in str(info.value)


def test_a_provider_that_is_not_there_is_refused(tiny_weights: Tiny) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("needs an onnxruntime without CUDA")
    with pytest.raises(DeviceError, match=r"has no CUDA: .*edgeface\[gpu\]"):
        open_backend("onnxruntime", tiny_weights[0], device="cuda")
    with pytest.raises(DeviceError, match=r"has no TensorRT: .*edgeface\[gpu\]"):
        open_backend("onnxruntime-tensorrt", tiny_weights[0])


CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
GPU = Gpu(0, "Orin", "8.7", "12.6")


@dataclass
class GpuMachine:
    """An onnxruntime-gpu on a machine with a GPU: what sessions are asked for, and what they turn out to have."""

    path: Path
    """A model's file."""
    gets: list[str] | Exception
    """Providers of a session, or why there is none."""
    takes: dict[str, int] | None = field(default_factory=lambda: {TENSORRT: 5, CUDA: 5, CPU: 2})
    """Nodes each takes, those a session has not left out; None: an ONNX Runtime that does not tell."""
    asked: list[Any] = field(default_factory=list)
    """Providers asked for, then the other keywords."""

    def session(self, path: str, options: Any, providers: list[Any], **others: Any) -> Any:
        self.asked += [providers, others]
        if isinstance(self.gets, Exception):
            raise self.gets
        gets = self.gets
        image = SimpleNamespace(name="input", shape=["n", 3, 112, 96], type="tensor(float)")
        session = SimpleNamespace(get_providers=lambda: gets, get_inputs=lambda: [image], get_outputs=list)
        if self.takes is not None:
            parts = [
                SimpleNamespace(ep_name=name, get_nodes=lambda n=count: [None] * n)
                for name, count in self.takes.items()
                if name in gets
            ]
            session.get_provider_graph_assignment_info = lambda: parts
        return session


@pytest.fixture
def machine(tiny_weights: Tiny, monkeypatch: pytest.MonkeyPatch) -> GpuMachine:
    import onnxruntime

    made = GpuMachine(tiny_weights[0], [TENSORRT, CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", made.session)
    monkeypatch.setattr(ort_module, "require_gpu", lambda index: replace(GPU, index=index))
    return made


def test_the_silent_fall_back_to_the_cpu_is_caught(machine: GpuMachine) -> None:
    """ONNX Runtime with CUDA built in, on a machine where CUDA does not start: the session has the CPU only."""
    machine.gets = [CPU]
    with pytest.raises(DeviceError, match=r"CUDA was asked for and .* fell back to the CPU: check the driver"):
        open_backend("onnxruntime", machine.path, device="cuda")
    with pytest.raises(DeviceError, match=r"TensorRT was asked for and .* fell back to the CPU: .*libnvinfer"):
        open_backend("onnxruntime-tensorrt", machine.path)
    machine.gets = [CUDA, CPU]
    with pytest.raises(DeviceError, match="fell back to CUDAExecutionProvider, CPUExecutionProvider: install"):
        open_backend("onnxruntime-tensorrt", machine.path)
    machine.gets = [CUDA, TENSORRT, CPU]
    with pytest.raises(DeviceError, match="fell back to CUDAExecutionProvider, TensorrtExecutionProvider"):
        open_backend("onnxruntime-tensorrt", machine.path)


def test_cuda_comes_first_where_it_is_asked_for(machine: GpuMachine) -> None:
    machine.gets = [CUDA, CPU]
    with open_backend("onnxruntime", machine.path, device="cuda:1") as backend:
        facts = backend.describe()
    assert machine.asked == [[(CUDA, {"device_id": 1}), CPU], {"enable_fallback": 0}]
    assert (facts["provider"], facts["device"], facts["gpu"]) == (CUDA, "cuda:1", "Orin")
    assert (facts["providers"], facts["nodes"]) == ([CUDA, CPU], {CUDA: 5, CPU: 2})
    assert "engine_cache" not in facts


def test_tensorrt_comes_first_then_cuda_and_precision_is_the_graphs(machine: GpuMachine, own_cache: Path) -> None:
    with open_backend("onnxruntime-tensorrt", machine.path) as backend:
        facts = backend.describe()
    (first, settings), *others = machine.asked[0]
    assert (first, others) == (TENSORRT, [(CUDA, {"device_id": 0}), CPU])
    assert (settings["trt_fp16_enable"], settings["trt_int8_enable"]) == (False, False)
    assert settings["trt_engine_cache_enable"] is True
    folder = Path(settings["trt_engine_cache_path"])
    assert folder.is_dir() and folder.parent == own_cache / "onnxruntime-trt"
    assert (facts["backend"], facts["provider"], facts["device"]) == ("onnxruntime-tensorrt", TENSORRT, "cuda:0")
    assert facts["engine_cache"] == str(folder)
    assert facts["nodes"] == {TENSORRT: 5, CUDA: 5, CPU: 2}


def test_engines_of_another_model_or_machine_are_never_taken(
    machine: GpuMachine, tmp_path: Path, own_cache: Path
) -> None:
    """The provider names an engine by the graph's shape: two networks of one shape must not share a folder."""
    other = tmp_path / machine.path.name
    other.write_bytes(machine.path.read_bytes()[:-1] + b"x")
    folders = {
        ort_module.engine_folder(machine.path, "1.31", GPU),
        ort_module.engine_folder(other, "1.31", GPU),
        ort_module.engine_folder(machine.path, "1.32", GPU),
        ort_module.engine_folder(machine.path, "1.31", replace(GPU, name="Xavier")),
        ort_module.engine_folder(machine.path, "1.31", replace(GPU, driver="13.0")),
    }
    assert len(folders) == 5
    assert ort_module.engine_folder(machine.path, "1.31", GPU) in folders


def test_where_no_cache_can_be_written_engines_are_not_kept(
    machine: GpuMachine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("EDGEFACE_CACHE", str(tmp_path / "file" / "cache"))
    with open_backend("onnxruntime-tensorrt", machine.path) as backend:
        assert backend.describe()["engine_cache"] is None
    assert not {key for key in machine.asked[0][0][1] if "cache" in key}


def test_a_missing_libnvinfer_is_one_line(machine: GpuMachine) -> None:
    machine.gets = RuntimeError(
        "Please install TensorRT libraries as mentioned in the GPU requirements page,\n make sure they're in the PATH"
    )
    with pytest.raises(DeviceError) as info:
        open_backend("onnxruntime-tensorrt", machine.path)
    said = str(info.value)
    assert said.startswith("TensorRT does not start for recognizer.onnx (Please install TensorRT libraries as")
    assert said.endswith("or use --backend onnxruntime --device cuda") and "libnvinfer.so.10" in said
    assert "\n" not in said and type(info.value) is DeviceError


def test_a_provider_that_takes_nothing_is_refused(machine: GpuMachine) -> None:
    """It may come first in the session's list and yet leave every node to the others."""
    machine.takes = {CUDA: 5, CPU: 2}
    with pytest.raises(DeviceError, match=r"TensorRT takes none of the 7 nodes of recognizer.onnx, .*--device cuda$"):
        open_backend("onnxruntime-tensorrt", machine.path)
    machine.gets, machine.takes = [CUDA, CPU], {CPU: 7}
    with pytest.raises(DeviceError, match=r"CUDA takes none of the 7 nodes .*CPUExecutionProvider: .*--device cpu$"):
        open_backend("onnxruntime", machine.path, device="cuda")


def test_an_onnxruntime_that_does_not_tell_who_took_what(machine: GpuMachine) -> None:
    machine.takes = None
    with open_backend("onnxruntime-tensorrt", machine.path) as backend:
        assert backend.describe()["nodes"] is None


def test_the_tensorrt_provider_on_the_cpu_is_refused(tiny_weights: Tiny) -> None:
    with pytest.raises(DeviceError, match="onnxruntime-tensorrt runs on a GPU, not on the CPU: give --device cuda"):
        open_backend("onnxruntime-tensorrt", tiny_weights[0], device="cpu")


def test_without_a_driver_the_driver_is_what_is_missing(machine: GpuMachine, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(index: int) -> Gpu:
        raise DeviceError("no NVIDIA driver")

    monkeypatch.setattr(ort_module, "require_gpu", none)
    for name in ("onnxruntime", "onnxruntime-tensorrt"):
        with pytest.raises(DeviceError, match="no NVIDIA driver"):
            open_backend(name, machine.path, device="cuda")
    assert machine.asked == []


def test_both_onnxruntimes_are_named(tiny_weights: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = {name: version(name) for name in ("onnxruntime",)}
    assert ort_module.installed_distributions() == known
    for name in ("onnxruntime_gpu-1.31.1.dist-info", "onnxruntime_tools-1.0.dist-info", "onnxruntime"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path), str(tmp_path / "none"), str(tiny_weights[0])])
    assert ort_module.installed_distributions() == {**known, "onnxruntime-gpu": "1.31.1"}
    with open_backend("onnxruntime", tiny_weights[0]) as backend:
        assert "onnxruntime and onnxruntime-gpu are both installed" in backend.describe()["note"]
    with pytest.raises(DeviceError, match="are both installed and overwrite each other"):
        open_backend("onnxruntime", tiny_weights[0], device="cuda")


def test_a_missing_onnxruntime_names_the_extra(tiny_weights: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edgeface\[cpu\]'"):
        open_backend("onnxruntime", tiny_weights[0])


def test_nothing_is_kept_or_reported_about_the_user(tmp_path: Path) -> None:
    """ONNX Runtime's own telemetry writes a device id into the home before it sends anything."""
    pytest.importorskip("onnxruntime", reason="needs onnxruntime")
    script = (
        "import numpy as np\n"
        "from edgeface_runtime.detect import Detector\n"
        "Detector(threads=1).detect(np.zeros((120, 160, 3), np.uint8))\n"
    )
    inherited = {key: value for key, value in os.environ.items() if key != "ORT_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**inherited, "HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("", "") and list(tmp_path.rglob("*")) == []
