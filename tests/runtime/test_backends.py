"""Backends: what runs is what was asked for, and what is missing is said in one line."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeface_runtime.backends import BACKENDS, driver, open_backend, parse_device
from edgeface_runtime.backends import cuda as cuda_module
from edgeface_runtime.backends import onnxruntime as ort_module
from edgeface_runtime.backends.cuda import CudaPython, PyCuda, open_cuda
from edgeface_runtime.backends.driver import Gpu, require_gpu
from edgeface_runtime.backends.tensorrt import TensorRTBackend, open_engine
from edgeface_runtime.engine import Profile, Sidecar, write_sidecar
from edgeface_runtime.errors import ArtefactError, DeviceError, EngineError, InputError, MissingExtraError
from edgeface_runtime.files import sha256_file

Tiny = tuple[Path, np.ndarray]


def no_driver() -> str:
    """Why no GPU can be used here; empty when one can."""
    try:
        require_gpu()
    except DeviceError as exc:
        return str(exc)
    return ""


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


def test_unknown_names_list_the_known(tiny_weights: Tiny) -> None:
    with pytest.raises(InputError, match="unknown backend 'magic': known are onnxruntime, tensorrt, tensorrt-rtx"):
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


@pytest.mark.parametrize("name", sorted(BACKENDS))
def test_a_missing_model_is_bad_input(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="not found"):
        open_backend(name, tmp_path / "none")


def test_a_damaged_model_is_one_line(tiny_weights: Tiny, tmp_path: Path) -> None:
    data = tiny_weights[0].read_bytes()
    for content in (b"", b"text", data[: len(data) // 2]):
        path = tmp_path / "m.onnx"
        path.write_bytes(content)
        with pytest.raises(ArtefactError, match="no ONNX model that runs here") as info:
            open_backend("onnxruntime", path)
        assert "\n" not in str(info.value)


def test_cuda_that_is_not_there_is_refused(tiny_weights: Tiny) -> None:
    import onnxruntime

    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("needs an onnxruntime without CUDA")
    with pytest.raises(DeviceError, match=r"has no CUDA: .*edgeface\[gpu\]"):
        open_backend("onnxruntime", tiny_weights[0], device="cuda")


def test_the_silent_fall_back_to_the_cpu_is_caught(tiny_weights: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime with CUDA built in, on a machine where CUDA does not start: the session has the CPU only."""
    import onnxruntime

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    session = SimpleNamespace(get_providers=lambda: ["CPUExecutionProvider"])
    monkeypatch.setattr(onnxruntime, "InferenceSession", lambda *a, **k: session)
    with pytest.raises(DeviceError, match="fell back to the CPU"):
        open_backend("onnxruntime", tiny_weights[0], device="cuda")


def test_both_onnxruntimes_are_named(tiny_weights: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ort_module.metadata, "version", lambda name: "1.31.1")
    assert set(ort_module.installed_distributions()) == {"onnxruntime", "onnxruntime-gpu"}
    with open_backend("onnxruntime", tiny_weights[0]) as backend:
        assert "onnxruntime and onnxruntime-gpu are both installed" in backend.describe()["note"]
    with pytest.raises(DeviceError, match="are both installed and overwrite each other"):
        open_backend("onnxruntime", tiny_weights[0], device="cuda")


def test_a_missing_onnxruntime_names_the_extra(tiny_weights: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'edgeface\[cpu\]'"):
        open_backend("onnxruntime", tiny_weights[0])


# --- the driver -------------------------------------------------------------------------------------------------


def test_no_driver_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver, "LIBRARY", "libcuda-is-not-here.so.1")
    with pytest.raises(
        DeviceError, match=r"^no NVIDIA driver: .* was not found: install it .*--backend onnxruntime$"
    ):
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


def build_rtx(onnx_path: Path, out: Path) -> None:
    """A real engine and sidecar by TensorRT-RTX, which needs no GPU to build."""
    trt = pytest.importorskip("tensorrt_rtx", reason="needs tensorrt_rtx: pip install 'edgeface[rtx]'")
    builder = trt.Builder(trt.Logger(trt.Logger.ERROR))
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, trt.Logger(trt.Logger.ERROR))
    assert parser.parse(onnx_path.read_bytes())
    config = builder.create_builder_config()
    profile = builder.create_optimization_profile()
    profile.set_shape("input", (1, 3, 112, 96), (2, 3, 112, 96), (4, 3, 112, 96))
    config.add_optimization_profile(profile)
    out.write_bytes(bytes(builder.build_serialized_network(network, config)))
    write_sidecar(
        out,
        Sidecar(
            flavour="tensorrt-rtx",
            tensorrt_version=trt.__version__,
            onnx_sha256=sha256_file(onnx_path),
            engine_sha256=sha256_file(out),
            precision="fp32",
            profile=Profile(1, 2, 4),
        ),
    )


def test_a_real_engine_without_a_driver_is_one_line(tiny_weights: Tiny, tmp_path: Path) -> None:
    reason = no_driver()
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


# --- the TensorRT runner against a stand-in for TensorRT and CUDA -----------------------------------------------


@dataclass
class FakeCuda:
    """GPU memory as byte arrays."""

    name: str = "fake"
    memory: dict[int, np.ndarray] = field(default_factory=dict)
    streams: set[int] = field(default_factory=set)
    inside: int = 0
    closed: bool = False

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        self.inside += 1
        yield
        self.inside -= 1

    def allocate(self, size_bytes: int) -> int:
        assert self.inside
        pointer = 1000 + len(self.memory)
        self.memory[pointer] = np.zeros(size_bytes, np.uint8)
        return pointer

    def free(self, pointer: int) -> None:
        del self.memory[pointer]

    def new_stream(self) -> int:
        self.streams.add(7)
        return 7

    def free_stream(self, stream: int) -> None:
        self.streams.remove(stream)

    def upload(self, pointer: int, array: np.ndarray, stream: int) -> None:
        assert self.inside and array.flags.c_contiguous
        self.memory[pointer][: array.nbytes] = np.frombuffer(array.tobytes(), np.uint8)

    def download(self, array: np.ndarray, pointer: int, stream: int) -> None:
        assert self.inside
        array[...] = np.frombuffer(self.memory[pointer][: array.nbytes].tobytes(), array.dtype).reshape(array.shape)

    def synchronize(self, stream: int) -> None:
        assert stream in self.streams

    def close(self) -> None:
        self.closed = True


class FakeEngine:
    """Embeds a face as its first two pixels, in half precision."""

    num_io_tensors = 2

    def __init__(self, cuda: FakeCuda, max_batch: int) -> None:
        self.cuda, self.max_batch = cuda, max_batch
        self.batches: list[int] = []
        self.addresses: dict[str, int] = {}
        self.shape: tuple[int, ...] = ()
        self.works = True

    def create_execution_context(self) -> FakeEngine:
        return self

    def get_tensor_name(self, index: int) -> str:
        return ["input", "embedding"][index]

    def get_tensor_mode(self, name: str) -> str:
        return "IN" if name == "input" else "OUT"

    def get_tensor_dtype(self, name: str) -> str:
        return "DataType.HALF"

    def get_tensor_profile_shape(self, name: str, index: int) -> list[tuple[int, ...]]:
        return [(1, 3, 4, 4), (1, 3, 4, 4), (self.max_batch, 3, 4, 4)]

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = tuple(shape)
        return shape[0] <= self.max_batch

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shape if name == "input" else (self.shape[0], 2)

    def set_tensor_address(self, name: str, pointer: int) -> None:
        self.addresses[name] = pointer

    def execute_async_v3(self, stream: int) -> bool:
        self.batches.append(self.shape[0])
        count = int(np.prod(self.shape))
        data = self.cuda.memory[self.addresses["input"]][: 2 * count].view(np.float16).reshape(self.shape)
        answer = data.reshape(len(data), -1)[:, :2].copy().view(np.uint8).ravel()
        self.cuda.memory[self.addresses["embedding"]][: answer.size] = answer
        return self.works


def fake_trt(engine: FakeEngine | None) -> Any:
    class Logger:
        Severity = SimpleNamespace(ERROR=1, INTERNAL_ERROR=0)

    class Runtime:
        def __init__(self, logger: Any) -> None:
            self.logger = logger

        def deserialize_cuda_engine(self, data: bytes) -> Any:
            if engine is None:
                self.logger.log(1, "Magic tag does\n not match")
            return engine

    mode = SimpleNamespace(INPUT="IN")
    return SimpleNamespace(ILogger=Logger, Runtime=Runtime, TensorIOMode=mode, __version__="10", __name__="tensorrt")


GPU = Gpu(0, "Orin", "8.7", "12.6")


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "r.engine"
    path.write_bytes(b"plan")
    return path


def test_a_large_batch_is_split_and_nothing_is_padded(plan: Path) -> None:
    cuda = FakeCuda()
    engine = FakeEngine(cuda, max_batch=4)
    batch = np.random.default_rng(0).uniform(-1, 1, (10, 3, 4, 4)).astype(np.float32)
    with TensorRTBackend(plan, "tensorrt", fake_trt(engine), cuda, GPU) as backend:
        found = backend.run(batch)["embedding"]
        assert engine.batches == [4, 4, 2]
        assert {p: m.size for p, m in cuda.memory.items()} == {1000: 4 * 48 * 2, 1001: 4 * 2 * 2}
        assert backend.describe()["memory"] == "fake"
        assert (backend.device, backend.describe()["max_batch"]) == ("cuda:0", 4)
        with pytest.raises(InputError, match="takes faces of shape"):
            backend.run(np.zeros((1, 3, 8, 8), np.float32))
    np.testing.assert_array_equal(found, batch.reshape(10, -1)[:, :2].astype(np.float16).astype(np.float32))
    assert found.dtype == np.float32
    assert (cuda.memory, cuda.streams, cuda.closed, cuda.inside) == ({}, set(), True, 0)
    backend.close()
    with pytest.raises(InputError, match="is closed"):
        backend.run(batch)


def test_failures_of_an_engine_are_one_line_and_give_memory_back(plan: Path) -> None:
    cuda = FakeCuda()
    with pytest.raises(EngineError, match=r"cannot be loaded \(Magic tag does not match\): build it again"):
        TensorRTBackend(plan, "tensorrt", fake_trt(None), cuda, GPU)
    assert cuda.closed
    cuda = FakeCuda()
    engine = FakeEngine(cuda, 4)
    engine.works = False
    with (
        TensorRTBackend(plan, "tensorrt", fake_trt(engine), cuda, GPU) as backend,
        pytest.raises(EngineError, match="failed"),
    ):
        backend.run(np.zeros((1, 3, 4, 4), np.float32))
    assert cuda.memory == {}


# --- memory and streams -----------------------------------------------------------------------------------------


class FakeCudart:
    """cuda.bindings.runtime: every answer is a tuple that starts with an error code."""

    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.code = 0

    def __getattr__(self, name: str) -> Any:
        answers = {"cudaMalloc": 4096, "cudaStreamCreate": 77, "cudaGetDevice": 0}

        def call(*args: Any) -> tuple[Any, ...]:
            self.calls.append((name, *args))
            return (self.code, answers[name]) if name in answers else (self.code,)

        return call


def test_cuda_python_is_called_as_documented() -> None:
    runtime = FakeCudart()
    cuda = CudaPython(1, runtime)
    array = np.arange(4, dtype=np.float32)
    with cuda.active():
        pointer, stream = cuda.allocate(16), cuda.new_stream()
        cuda.upload(pointer, array, stream)
        cuda.download(array, pointer, stream)
        cuda.synchronize(stream)
        cuda.free(pointer)
        cuda.free_stream(stream)
    address = array.ctypes.data
    assert runtime.calls == [
        ("cudaSetDevice", 1),
        ("cudaGetDevice",),
        ("cudaSetDevice", 1),
        ("cudaMalloc", 16),
        ("cudaStreamCreate",),
        ("cudaMemcpyAsync", 4096, address, 16, 1, 77),
        ("cudaMemcpyAsync", address, 4096, 16, 2, 77),
        ("cudaStreamSynchronize", 77),
        ("cudaFree", 4096),
        ("cudaStreamDestroy", 77),
        ("cudaSetDevice", 0),
    ]
    runtime.code = 700
    with pytest.raises(EngineError, match="cudaStreamSynchronize says error 700"):
        cuda.synchronize(stream)


def test_too_little_memory_is_said() -> None:
    class Code(int):
        name = "cudaErrorMemoryAllocation"

    runtime = FakeCudart()
    cuda = CudaPython(0, runtime)
    runtime.code = Code(2)
    with pytest.raises(DeviceError, match=r"not enough free memory .*--max-batch"):
        cuda.allocate(1 << 60)


class FakePycuda:
    """pycuda.driver as far as the runner asks it."""

    Error = RuntimeError

    def __init__(self) -> None:
        self.calls: list[str] = []
        calls = self.calls

        class Context:
            def push(self) -> None:
                calls.append("push")

            def detach(self) -> None:
                calls.append("detach")

            @staticmethod
            def pop() -> None:
                calls.append("pop")

        class Memory:
            def __int__(self) -> int:
                return 4096

            def free(self) -> None:
                calls.append("free")

        class Stream:
            handle = 77

            def synchronize(self) -> None:
                calls.append("synchronize")

        self.Context, self.Stream = Context, Stream
        self.Device = lambda index: SimpleNamespace(retain_primary_context=Context)
        self.mem_alloc = lambda size: Memory()
        self.memcpy_htod_async = lambda dest, src, stream: calls.append(f"up {dest} {stream.handle}")
        self.memcpy_dtoh_async = lambda dest, src, stream: calls.append(f"down {src} {stream.handle}")

    def init(self) -> None:
        self.calls.append("init")


def test_pycuda_is_called_as_documented() -> None:
    fake = FakePycuda()
    cuda = PyCuda(0, fake)
    array = np.arange(4, dtype=np.float32)
    with cuda.active():
        pointer, stream = cuda.allocate(16), cuda.new_stream()
        cuda.upload(pointer, array, stream)
        cuda.download(array, pointer, stream)
        cuda.synchronize(stream)
        cuda.free(pointer)
        cuda.free_stream(stream)
    cuda.close()
    assert fake.calls == ["init", "push", "up 4096 77", "down 4096 77", "synchronize", "free", "pop", "detach"]

    def broken(size: int) -> None:
        raise RuntimeError("cuMemAlloc failed: out of memory")

    fake.mem_alloc = broken
    with pytest.raises(DeviceError, match="not enough free memory"):
        cuda.allocate(16)


def test_neither_installed_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(cuda_module.importlib, "import_module", missing)
    with pytest.raises(MissingExtraError, match=r"cuda-python \(or pycuda\) is not installed: .*edgeface\[rtx\]"):
        open_cuda(0, "rtx")


# --- on a GPU ---------------------------------------------------------------------------------------------------


@pytest.mark.gpu
def test_a_real_engine_equals_onnxruntime_on_a_gpu(tiny_weights: Tiny, tmp_path: Path) -> None:
    if reason := no_driver():
        pytest.skip(f"needs an NVIDIA GPU: {reason}")
    if not any(importlib.util.find_spec(name) for name in ("cuda", "pycuda")):
        pytest.skip("needs cuda-python or pycuda: pip install 'edgeface[rtx]'")
    capability = tuple(int(n) for n in require_gpu().compute_capability.split("."))
    if capability not in {(8, 0), (8, 6), (8, 9)} and capability[0] < 12:
        pytest.skip(f"TensorRT-RTX does not support compute capability {capability[0]}.{capability[1]}")
    path, weights = tiny_weights
    build_rtx(path, tmp_path / "r.engine")
    batch = faces(10)
    with open_backend("tensorrt-rtx", tmp_path / "r.engine") as backend:
        outputs = backend.run(batch)
        assert backend.describe()["provider"] == "tensorrt_rtx"
    np.testing.assert_allclose(outputs["embedding"], expected(batch, weights), atol=5e-3)


@pytest.mark.gpu
def test_memory_goes_to_the_gpu_and_back() -> None:
    if reason := no_driver():
        pytest.skip(f"needs an NVIDIA GPU: {reason}")
    try:
        cuda = open_cuda()
    except MissingExtraError as exc:
        pytest.skip(f"needs {exc}")
    sent = np.arange(1000, dtype=np.float32)
    back = np.empty_like(sent)
    with cuda.active():
        pointer, stream = cuda.allocate(sent.nbytes), cuda.new_stream()
        cuda.upload(pointer, sent, stream)
        cuda.download(back, pointer, stream)
        cuda.synchronize(stream)
        cuda.free(pointer)
        cuda.free_stream(stream)
    cuda.close()
    np.testing.assert_array_equal(sent, back)
