"""Backends: what their names mean, the driver, and what is said where one cannot run."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeface_runtime.backends import BACKENDS, backend_kind, driver, open_backend, parse_device, runs_on_cpu
from edgeface_runtime.backends.driver import Gpu, require_gpu
from edgeface_runtime.backends.tensorrt import open_engine
from edgeface_runtime.bundle import open_bundle
from edgeface_runtime.engine import Profile, Sidecar, write_sidecar
from edgeface_runtime.errors import ArtefactError, DeviceError, EngineError, InputError, MissingExtraError
from edgeface_runtime.files import sha256_file

Tiny = tuple[Path, np.ndarray]


def test_unknown_names_list_the_known(tiny_weights: Tiny) -> None:
    with pytest.raises(InputError, match="unknown backend 'magic': known are onnxruntime, onnxruntime-t"):
        open_backend("magic", tiny_weights[0])
    with pytest.raises(InputError, match="unknown device 'gpu'"):
        open_backend("onnxruntime", tiny_weights[0], device="gpu")
    with pytest.raises(InputError, match="--threads is -1"):
        open_backend("onnxruntime", tiny_weights[0], threads=-1)
    with pytest.raises(InputError, match=r"--threads is 257: give 0 \(automatic\) to 256"):
        open_backend("onnxruntime", tiny_weights[0], threads=257)


@pytest.mark.parametrize(
    ("device", "auto", "gpu"),
    [("auto", "cpu", None), ("auto", "cuda", 0), ("cpu", "cuda", None), ("cuda", "cpu", 0), ("cuda:3", "cpu", 3)],
)
def test_device_names(device: str, auto: str, gpu: int | None) -> None:
    assert parse_device(device, auto) == gpu


@pytest.mark.parametrize(
    ("name", "file", "device", "precision", "on_cpu"),
    [
        ("onnxruntime", "onnx", "cpu", "fp32", True),
        ("onnxruntime-tensorrt", "onnx", "cuda", "fp16", False),
        ("tensorrt", "engine", "cuda", "fp16", False),
        ("tensorrt-rtx", "engine", "cuda", "fp16", False),
    ],
)
def test_what_a_name_means_before_anything_is_opened(
    name: str, file: str, device: str, precision: str, on_cpu: bool
) -> None:
    kind = backend_kind(name)
    assert (kind.file, kind.device, kind.precision) == (file, device, precision)
    assert runs_on_cpu(name, "auto") is on_cpu
    assert runs_on_cpu(name, "cpu") and not runs_on_cpu(name, "cuda:1")
    with pytest.raises(InputError, match="unknown device 'gpu'"):
        runs_on_cpu(name, "gpu")
    with pytest.raises(InputError, match="unknown backend 'magic'"):
        runs_on_cpu("magic", "cpu")


def test_only_what_computes_on_the_cpu_takes_the_int8_graph_of_cpus(tiny_bundle: Callable[..., Path]) -> None:
    models = {"fp32": "recognizer.onnx", "int8": "recognizer.onnx", "int8-cpu": "recognizer.onnx"}
    bundle = open_bundle(tiny_bundle(models=models))
    takes = {
        (name, device): bundle.variant("int8", name, device)
        for name in BACKENDS
        for device in ("auto", "cpu", "cuda")
    }
    on_cpu = {key for key, variant in takes.items() if variant == "int8-cpu"}
    assert on_cpu == {("onnxruntime", "auto"), *((name, "cpu") for name in BACKENDS)}
    assert {bundle.variant("fp32", name) for name in BACKENDS} == {"fp32"}


@pytest.mark.parametrize("name", sorted(BACKENDS))
def test_a_missing_model_is_bad_input(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="not found"):
        open_backend(name, tmp_path / "none")


# --- the driver -------------------------------------------------------------------------------------------------


def test_no_driver_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "LIBRARY", "libcuda-is-not-here.so.1")
    with pytest.raises(DeviceError, match=r"^no NVIDIA driver: .* was not found: install it .*or run on the CPU$"):
        require_gpu()


class FakeDriver:
    """libcuda as far as `require_gpu` asks it."""

    def __init__(self, init: int = 0, count: int = 1) -> None:
        self.init, self.count = init, count

    def cuInit(self, flags: int) -> int:
        return self.init

    def cuGetErrorName(self, code: int, text: Any) -> int:
        text._obj.value = {100: b"CUDA_ERROR_NO_DEVICE"}.get(code)
        return 0 if code == 100 else 1

    def cuDeviceGetCount(self, answer: Any) -> int:
        answer._obj.value = self.count
        return 0

    def cuDriverGetVersion(self, answer: Any) -> int:
        answer._obj.value = 12060
        return 0

    def cuDeviceGet(self, answer: Any, index: int) -> int:
        answer._obj.value = index
        return 0

    def cuDeviceGetName(self, text: Any, length: int, device: int) -> int:
        text.value = b"Orin"
        return 0

    def cuDeviceGetAttribute(self, answer: Any, attribute: int, device: int) -> int:
        answer._obj.value = {75: 8, 76: 7}[attribute]
        return 0


def test_the_driver_is_asked_for_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver.ctypes, "CDLL", lambda name: FakeDriver())
    assert require_gpu(0) == Gpu(0, "Orin", "8.7", "12.6")
    with pytest.raises(DeviceError, match="there is no GPU 2: the driver knows 1"):
        require_gpu(2)
    for code, said in ((100, "CUDA_ERROR_NO_DEVICE"), (34, "error 34")):
        monkeypatch.setattr(driver.ctypes, "CDLL", lambda name, code=code: FakeDriver(init=code))
        with pytest.raises(DeviceError, match=f"does not start: cuInit says {said}"):
            require_gpu()


# --- TensorRT without a GPU -------------------------------------------------------------------------------------


def test_a_real_engine_without_a_driver_is_one_line(
    tiny_weights: Tiny, tmp_path: Path, no_driver: str, build_rtx: Callable[[Path, Path], None]
) -> None:
    reason = no_driver
    if not reason:
        pytest.skip("needs a machine without an NVIDIA driver")
    build_rtx(tiny_weights[0], tmp_path / "r.engine")
    with pytest.raises(DeviceError) as info:
        open_backend("tensorrt-rtx", tmp_path / "r.engine")
    assert str(info.value) == reason
    assert "NVIDIA driver" in reason
    assert "\n" not in reason
    assert type(info.value) is DeviceError


def test_tensorrt_on_the_cpu_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.engine").write_bytes(b"plan")
    with pytest.raises(DeviceError, match="tensorrt runs on a GPU, not on the CPU"):
        open_backend("tensorrt", tmp_path / "r.engine", device="cpu")


def test_with_a_driver_the_package_and_the_sidecar_come_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "r.engine"
    path.write_bytes(b"plan")
    monkeypatch.setattr(
        "edgeface_runtime.backends.tensorrt.require_gpu", lambda index: Gpu(index, "Orin", "8.7", "12")
    )
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edgeface\[tensorrt\]'"):
        open_engine(path, "tensorrt")

    def never(*args: Any) -> Any:
        raise AssertionError("a foreign engine must not come near the deserialiser")

    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="10.3", Runtime=never))
    with pytest.raises(ArtefactError, match="has no sidecar"):
        open_engine(path, "tensorrt")
    sidecar = Sidecar("tensorrt", "10.2", "c" * 64, sha256_file(path), "fp16", Profile(), "Orin", "8.7")
    write_sidecar(path, sidecar)
    with pytest.raises(EngineError, match=r"built by tensorrt 10\.2, here is tensorrt 10\.3"):
        open_engine(path, "tensorrt")
