"""A GPU that is asked for and not there is an error; with permission it is the CPU, and that is said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeface_runtime import open_model
from edgeface_runtime.backends import allow_cpu, open_backend
from edgeface_runtime.backends.allow_cpu import Placed, place
from edgeface_runtime.backends.driver import Gpu
from edgeface_runtime.errors import DeviceError, InputError
from edgeface_runtime.manifest import read_manifest, write_manifest
from edgeface_runtime.recognizer import Recognizer

MakeBundle = Callable[..., Path]
ON_GPU = [("tensorrt", "auto"), ("tensorrt-rtx", "cuda:0"), ("onnxruntime-tensorrt", "auto"), ("onnxruntime", "cuda")]
GPU = Gpu(0, "Orin", "8.7", "12.6")


def no_gpu(index: int = 0) -> Gpu:
    raise DeviceError(f"no NVIDIA driver for GPU {index}")


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allow_cpu, "require_gpu", no_gpu)


@pytest.mark.parametrize(("backend", "device"), ON_GPU)
def test_without_permission_nothing_is_looked_for(backend: str, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allow_cpu, "require_gpu", lambda index: pytest.fail("looked for a GPU"))
    assert place(backend, device) == Placed(backend, device)
    assert place(backend, device).facts() == {"fallback": None}


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize(("backend", "device"), ON_GPU)
def test_with_permission_and_no_gpu_it_is_the_cpu_and_says_why(backend: str, device: str) -> None:
    placed = place(backend, device, allow_cpu=True)
    assert (placed.backend, placed.device) == ("onnxruntime", "cpu")
    asked = f"{backend} on {'cuda' if device == 'auto' else device}"
    assert placed.facts() == {"fallback": "no NVIDIA driver for GPU 0", "asked": asked}


@pytest.mark.usefixtures("without_gpu")
def test_what_was_asked_for_on_the_cpu_is_no_fallback() -> None:
    for backend, device in (("onnxruntime", "auto"), ("onnxruntime", "cpu")):
        assert place(backend, device, allow_cpu=True) == Placed(backend, device)
    with pytest.raises(DeviceError, match="tensorrt runs on a GPU, not on the CPU: give --device cuda"):
        place("tensorrt", "cpu", allow_cpu=True)
    with pytest.raises(InputError, match="unknown backend 'magic'"):
        place("magic", "auto", allow_cpu=True)
    with pytest.raises(InputError, match="unknown device 'gpu'"):
        place("tensorrt", "gpu", allow_cpu=True)


def test_a_gpu_that_is_there_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    import onnxruntime

    monkeypatch.setattr(allow_cpu, "require_gpu", lambda index: GPU)
    for backend in ("tensorrt", "tensorrt-rtx"):
        assert place(backend, "cuda", allow_cpu=True) == Placed(backend, "cuda")
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CPUExecutionProvider"])
    for backend, word in (("onnxruntime", "CUDA"), ("onnxruntime-tensorrt", "TensorRT")):
        assert f"has no {word}" in str(place(backend, "cuda", allow_cpu=True).fallback)
    both = ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: both)
    for backend in ("onnxruntime", "onnxruntime-tensorrt"):
        assert place(backend, "cuda", allow_cpu=True) == Placed(backend, "cuda")


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize(("backend", "device"), ON_GPU)
def test_a_bundle_opened_by_permission_tells_it(tiny_bundle: MakeBundle, backend: str, device: str) -> None:
    folder = tiny_bundle()
    crops = np.zeros((1, 112, 96, 3), np.uint8)
    with Recognizer.from_bundle(folder, backend, device=device, threads=1, allow_cpu=True) as recognizer:
        facts, found = recognizer.describe(), recognizer.embed(crops).vectors
    with Recognizer.from_bundle(folder, threads=1) as plain:
        np.testing.assert_array_equal(found, plain.embed(crops).vectors)
        assert plain.describe()["fallback"] is None and "asked" not in plain.describe()
    assert (facts["backend"], facts["provider"], facts["device"]) == ("onnxruntime", "CPUExecutionProvider", "cpu")
    assert (facts["precision"], facts["fallback"]) == ("fp32", "no NVIDIA driver for GPU 0")
    assert facts["asked"].startswith(backend)


@pytest.mark.parametrize(("backend", "device"), ON_GPU)
def test_without_permission_it_is_an_error_of_the_device(
    tiny_bundle: MakeBundle, backend: str, device: str, no_driver: str
) -> None:
    if not no_driver:
        pytest.skip("needs a machine without an NVIDIA driver")
    with pytest.raises(DeviceError) as info:
        Recognizer.from_bundle(tiny_bundle(), backend, "fp32", device)
    assert info.value.exit_code == 3 and "\n" not in str(info.value)


@pytest.mark.usefixtures("without_gpu")
def test_int8_is_then_the_graph_of_cpus(tiny_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, str]] = []

    def note(name: str, path: Path, device: str, threads: int) -> Any:
        opened.append((name, path.name))
        return open_backend(name, path.with_name("recognizer.onnx"), device, threads)

    folder = tiny_bundle()
    for precision in ("int8", "int8-cpu"):
        (folder / f"{precision}.onnx").write_bytes(precision.encode())
    models = {"fp32": "recognizer.onnx", "int8": "int8.onnx", "int8-cpu": "int8-cpu.onnx"}
    write_manifest(folder, replace(read_manifest(folder), models=models))
    monkeypatch.setattr(open_model, "open_backend", note)
    for backend, device in ON_GPU:
        with Recognizer.from_bundle(folder, backend, "int8", device, allow_cpu=True) as recognizer:
            assert recognizer.describe()["precision"] == "int8"
    assert opened == [("onnxruntime", "int8-cpu.onnx")] * len(ON_GPU)
    with pytest.raises(InputError, match="has no fp16 model"):  # a precision that was asked for is not exchanged
        Recognizer.from_bundle(folder, "tensorrt", "fp16", allow_cpu=True)
