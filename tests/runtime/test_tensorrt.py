"""The TensorRT runner against stand-ins for TensorRT and CUDA, and on a GPU where there is one."""

from __future__ import annotations

import contextlib
import copy
import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeface_runtime.backends import open_backend
from edgeface_runtime.backends.cuda import open_cuda
from edgeface_runtime.backends.cuda_graphs import MAX_GRAPHS
from edgeface_runtime.backends.driver import Gpu, require_gpu
from edgeface_runtime.backends.gpu_buffers import GpuOptions
from edgeface_runtime.backends.tensorrt import TensorRTBackend
from edgeface_runtime.errors import DeviceError, EngineError, InputError

Tiny = tuple[Path, np.ndarray]


@dataclass
class FakeCuda:
    """GPU memory as byte arrays; notes what is done in which order."""

    graphs: Any = None
    name: str = "fake"
    memory: dict[int, np.ndarray] = field(default_factory=dict)
    host: list[int] = field(default_factory=list)
    streams: set[int] = field(default_factory=set)
    calls: list[str] = field(default_factory=list)
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

    def allocate_host(self, size_bytes: int) -> np.ndarray:
        assert self.inside
        memory = np.zeros(size_bytes, np.uint8)
        self.host.append(memory.ctypes.data)
        return memory

    def free_host(self, memory: np.ndarray) -> None:
        self.host.remove(memory.ctypes.data)

    def new_stream(self) -> int:
        self.streams.add(7)
        return 7

    def free_stream(self, stream: int) -> None:
        self.streams.remove(stream)

    def upload(self, pointer: int, array: np.ndarray, stream: int) -> None:
        assert self.inside and array.flags.c_contiguous
        self.calls.append(f"up {'pinned' if array.ctypes.data in self.host else 'pageable'}")
        self.memory[pointer][: array.nbytes] = np.frombuffer(array.tobytes(), np.uint8)

    def download(self, array: np.ndarray, pointer: int, stream: int) -> None:
        assert self.inside
        self.calls.append(f"down {'pinned' if array.ctypes.data in self.host else 'pageable'}")
        array[...] = np.frombuffer(self.memory[pointer][: array.nbytes].tobytes(), array.dtype).reshape(array.shape)

    def synchronize(self, stream: int) -> None:
        assert stream in self.streams
        self.calls.append("wait")

    def close(self) -> None:
        self.closed = True


class FakeGraphs:
    """Captures by keeping what to do; nothing runs while it is captured."""

    def __init__(self) -> None:
        self.kept: dict[int, Callable[[], None]] = {}
        self.calls: list[str] = []
        self.capturing = False
        self.made = 0

    def capture(self, stream: int, enqueue: Callable[[], None]) -> int:
        self.capturing = True
        enqueue()
        self.capturing = False
        self.made += 1
        self.kept[self.made] = enqueue
        self.calls.append(f"capture {self.made}")
        return self.made

    def launch(self, graph: int, stream: int) -> None:
        self.calls.append(f"launch {graph}")
        self.kept[graph]()

    def free(self, graph: int) -> None:
        self.calls.append(f"free {graph}")
        del self.kept[graph]


class FakeEngine:
    """Embeds a face as its first two pixels, in half precision unless `kind` is changed."""

    num_io_tensors = 2
    kind: type[np.generic] = np.float16

    def __init__(self, cuda: FakeCuda, max_batch: int) -> None:
        self.cuda, self.max_batch = cuda, max_batch
        self.batches: list[int] = []
        self.contexts: list[FakeEngine] = []
        self.addresses: dict[str, int] = {}
        self.shape: tuple[int, ...] = ()
        self.works = True

    def create_execution_context(self) -> FakeEngine:
        """A context is an engine with a shape and addresses of its own, which counts with the first."""
        other = copy.copy(self)
        other.addresses = {}
        self.contexts.append(other)
        return other

    def get_tensor_name(self, index: int) -> str:
        return ["input", "embedding"][index]

    def get_tensor_mode(self, name: str) -> str:
        return "IN" if name == "input" else "OUT"

    def get_tensor_dtype(self, name: str) -> str:
        return "DataType.HALF" if self.kind is np.float16 else "DataType.FLOAT"

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
        if self.cuda.graphs is not None and self.cuda.graphs.capturing:
            return True
        self.cuda.calls.append("run")
        self.batches.append(self.shape[0])
        count = int(np.prod(self.shape))
        size_bytes = count * np.dtype(self.kind).itemsize
        data = self.cuda.memory[self.addresses["input"]][:size_bytes].view(self.kind).reshape(self.shape)
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


PAGEABLE = GpuOptions(pinned=False)


def expected(batch: np.ndarray, kind: type[np.generic] = np.float16) -> np.ndarray:
    return batch.reshape(len(batch), -1)[:, :2].astype(kind).astype(np.float32)


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, 3, 4, 4)).astype(np.float32)


@pytest.mark.parametrize("kind", [np.float16, np.float32])
@pytest.mark.parametrize(("options", "memory"), [(GpuOptions(), "pinned"), (PAGEABLE, "pageable")])
def test_one_batch_is_copied_run_copied_and_waited_for(
    plan: Path, options: GpuOptions, memory: str, kind: type[np.generic]
) -> None:
    cuda = FakeCuda()
    engine = FakeEngine(cuda, max_batch=4)
    engine.kind = kind
    with TensorRTBackend(plan, "tensorrt", fake_trt(engine), cuda, GPU, options=options) as backend:
        assert len(cuda.host) == (2 if options.pinned else 0)
        first = backend.run(noise(3))["embedding"]
        assert cuda.calls == [f"up {memory}", "run", f"down {memory}", "wait"]
        kept = first.copy()
        second = backend.run(noise(3, seed=1))["embedding"]
        assert len(cuda.host) == (2 if options.pinned else 0) and len(cuda.memory) == 2, "made once and used again"
        pieces = backend.run(noise(10, seed=2))["embedding"]  # 4, 4 and 2 through the same buffers
        facts = backend.describe()
    np.testing.assert_array_equal(pieces, expected(noise(10, seed=2), kind))
    np.testing.assert_array_equal(second, expected(noise(3, seed=1), kind))
    np.testing.assert_array_equal(first, kept, err_msg="an answer must not lie in a buffer that is used again")
    np.testing.assert_array_equal(kept, expected(noise(3), kind))
    assert (facts["pinned"], facts["graph"]) == (options.pinned, "off")
    assert (cuda.memory, cuda.host, cuda.streams, cuda.closed) == ({}, [], set(), True)


@pytest.mark.parametrize("pinned", [True, False])
def test_a_batch_size_is_captured_once_and_launched_after_that(plan: Path, pinned: bool) -> None:
    graphs = FakeGraphs()
    cuda = FakeCuda(graphs)
    engine = FakeEngine(cuda, max_batch=4)
    options = GpuOptions(pinned, graph=True)
    with TensorRTBackend(plan, "tensorrt", fake_trt(engine), cuda, GPU, options=options) as backend:
        for seed, count in enumerate((2, 2, 3, 2, 10)):
            found = backend.run(noise(count, seed))["embedding"]
            np.testing.assert_array_equal(found, expected(noise(count, seed)))
        assert backend.describe()["graph"] == "on"
    # 10 is 4, 4 and 2.
    assert graphs.calls[:-3] == [
        *("capture 1", "launch 1", "capture 2", "launch 1"),
        *("capture 3", "launch 3", "launch 1"),
    ]
    assert sorted(graphs.calls[-3:]) == ["free 1", "free 2", "free 3"]
    assert engine.batches == [2, 2, 3, 2, 4, 4, 2], "every batch runs once, captured or not"
    assert len(engine.contexts) == 4, "a graph has a context of its own"
    assert (graphs.kept, cuda.memory, cuda.host, cuda.streams) == ({}, {}, [], set())


def test_the_batch_sizes_used_last_are_kept(plan: Path) -> None:
    graphs = FakeGraphs()
    cuda = FakeCuda(graphs)
    engine = FakeEngine(cuda, max_batch=8)
    options = GpuOptions(graph=True)
    with TensorRTBackend(plan, "tensorrt", fake_trt(engine), cuda, GPU, options=options) as backend:
        for count in (1, 2, 3, 4, 1, 5, 1, 2):
            backend.run(noise(count))
            assert len(graphs.kept) <= MAX_GRAPHS == 4
    assert graphs.calls[:10] == [
        *("capture 1", "capture 2", "capture 3", "capture 4", "launch 1"),
        *("free 2", "capture 5", "launch 1", "free 3", "capture 6"),
    ]
    assert graphs.kept == {}


def test_what_cannot_be_captured_is_said(plan: Path) -> None:
    class Refusing(FakeGraphs):
        def capture(self, stream: int, enqueue: Callable[[], None]) -> int:
            raise EngineError("the GPU failed: cudaStreamEndCapture says cudaErrorStreamCaptureUnsupported")

    cuda = FakeCuda(Refusing())
    engine = FakeEngine(cuda, 4)
    options = GpuOptions(graph=True)
    with (
        TensorRTBackend(plan, "tensorrt", fake_trt(engine), cuda, GPU, options=options) as backend,
        pytest.raises(EngineError, match=r"cannot be captured as a CUDA graph \(.*Unsupported\): run it without"),
    ):
        backend.run(noise(1))
    assert (cuda.memory, cuda.host, cuda.streams) == ({}, [], set())


def test_without_graphs_in_the_package_they_are_off_and_it_is_said(plan: Path) -> None:
    cuda = FakeCuda(name="pycuda")
    engine = FakeEngine(cuda, 4)
    options = GpuOptions(graph=True)
    with TensorRTBackend(plan, "tensorrt", fake_trt(engine), cuda, GPU, options=options) as backend:
        np.testing.assert_array_equal(backend.run(noise(2))["embedding"], expected(noise(2)))
        assert backend.describe()["graph"] == "off: pycuda has no CUDA graphs"


def test_memory_that_runs_out_half_way_is_given_back(plan: Path) -> None:
    class Small(FakeCuda):
        def allocate_host(self, size_bytes: int) -> np.ndarray:
            if self.host:
                raise DeviceError("the host has not enough memory to lock")
            return super().allocate_host(size_bytes)

    cuda = Small()
    with pytest.raises(DeviceError, match="not enough memory to lock"):
        TensorRTBackend(plan, "tensorrt", fake_trt(FakeEngine(cuda, 4)), cuda, GPU)
    assert (cuda.memory, cuda.host, cuda.streams, cuda.closed) == ({}, [], set(), True)


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


# --- on a GPU ---------------------------------------------------------------------------------------------------


@pytest.fixture
def rtx_engine(tiny_weights: Tiny, tmp_path: Path, no_driver: str, build_rtx: Callable[[Path, Path], None]) -> Path:
    if no_driver:
        pytest.skip(f"needs an NVIDIA GPU: {no_driver}")
    if not any(importlib.util.find_spec(name) for name in ("cuda", "pycuda")):
        pytest.skip("needs cuda-python or pycuda: pip install 'edgeface[rtx]'")
    capability = tuple(int(n) for n in require_gpu().compute_capability.split("."))
    if capability not in {(8, 0), (8, 6), (8, 9)} and capability[0] < 12:
        pytest.skip(f"TensorRT-RTX does not support compute capability {capability[0]}.{capability[1]}")
    build_rtx(tiny_weights[0], tmp_path / "r.engine")
    return tmp_path / "r.engine"


def faces(count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, 3, 112, 96)).astype(np.float32)


@pytest.mark.gpu
def test_a_real_engine_equals_onnxruntime_on_a_gpu(tiny_weights: Tiny, rtx_engine: Path) -> None:
    batch = faces(10)
    with open_backend("tensorrt-rtx", rtx_engine) as backend, open_backend("onnxruntime", tiny_weights[0]) as cpu:
        outputs = backend.run(batch)
        assert backend.describe()["provider"] == "tensorrt_rtx"
        np.testing.assert_allclose(outputs["embedding"], cpu.run(batch)["embedding"], atol=5e-3)


@pytest.mark.gpu
@pytest.mark.parametrize("options", [GpuOptions(), GpuOptions(False, True), GpuOptions(True, True)])
def test_pinned_memory_and_graphs_change_no_result_on_a_gpu(rtx_engine: Path, options: GpuOptions) -> None:
    import tensorrt_rtx

    def opened(chosen: GpuOptions) -> TensorRTBackend:
        cuda = open_cuda(extra="rtx")
        return TensorRTBackend(rtx_engine, "tensorrt-rtx", tensorrt_rtx, cuda, require_gpu(), options=chosen)

    with opened(PAGEABLE) as plain, opened(options) as other:
        for count in (1, 1, 4, 1, 10, 3, 10):
            wanted, found = plain.run(faces(count)), other.run(faces(count))
            assert wanted.keys() == found.keys()
            for name, values in wanted.items():
                np.testing.assert_array_equal(found[name], values)
