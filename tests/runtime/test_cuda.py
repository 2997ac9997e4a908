"""Memory, streams and graphs of a GPU: cuda-python and pycuda are called as they are documented."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeface_runtime.backends import cuda as cuda_module
from edgeface_runtime.backends.cuda import CudaPython, PyCuda, open_cuda
from edgeface_runtime.backends.cuda_graphs import CudaPythonGraphs
from edgeface_runtime.errors import DeviceError, EngineError, MissingExtraError


class FakeCudart:
    """cuda.bindings.runtime: every answer is a tuple that starts with an error code."""

    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    cudaHostAllocDefault = 0

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.code = 0
        self.fails = ""
        """The one function that fails; empty: all, when `code` says so."""
        self.locked = np.zeros(64, np.uint8)

    def __getattr__(self, name: str) -> Any:
        answers = {
            "cudaMalloc": 4096,
            "cudaStreamCreate": 77,
            "cudaGetDevice": 0,
            "cudaStreamEndCapture": 500,
            "cudaGraphInstantiate": 600,
            "cudaHostAlloc": self.locked.ctypes.data,
        }

        def call(*args: Any) -> tuple[Any, ...]:
            self.calls.append((name, *args))
            code = self.code if self.fails in ("", name) else 0
            return (code, answers[name] if code == 0 else None) if name in answers else (code,)

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


def test_host_memory_is_locked_and_let_go() -> None:
    runtime = FakeCudart()
    cuda = CudaPython(0, runtime)
    memory = cuda.allocate_host(48)
    assert (memory.shape, memory.dtype) == ((48,), np.uint8)
    memory[:4] = (1, 2, 3, 4)
    assert runtime.locked[:5].tolist() == [1, 2, 3, 4, 0], "it is that memory and no copy"
    cuda.free_host(memory)
    address = runtime.locked.ctypes.data
    assert runtime.calls[1:] == [("cudaHostAlloc", 48, 0), ("cudaFreeHost", address)]
    runtime.code = 2
    with pytest.raises(DeviceError, match=r"the host has not enough memory to lock \(cudaHostAlloc: error 2\)"):
        cuda.allocate_host(48)


def graphs_of(runtime: FakeCudart) -> Any:
    graphs = CudaPython(0, runtime).graphs
    assert graphs is not None
    runtime.calls.clear()
    return graphs


def test_a_graph_is_captured_launched_and_freed() -> None:
    runtime = FakeCudart()
    graphs = graphs_of(runtime)
    graph = graphs.capture(77, lambda: runtime.calls.append(("work",)))
    graphs.launch(graph, 77)
    graphs.free(graph)
    assert runtime.calls == [
        ("cudaStreamBeginCapture", 77, 1),
        ("work",),
        ("cudaStreamEndCapture", 77),
        ("cudaGraphInstantiate", 500, 0),
        ("cudaGraphDestroy", 500),
        ("cudaGraphLaunch", 600, 77),
        ("cudaGraphExecDestroy", 600),
    ]


def test_a_capture_that_fails_leaves_the_stream_usable_and_nothing_behind() -> None:
    def broken() -> None:
        raise EngineError("the engine failed")

    runtime = FakeCudart()
    graphs = graphs_of(runtime)
    with pytest.raises(EngineError, match=r"^the engine failed$"):
        graphs.capture(77, broken)
    assert [call[0] for call in runtime.calls] == [
        *("cudaStreamBeginCapture", "cudaStreamEndCapture", "cudaGraphDestroy")
    ]
    for function in ("cudaStreamEndCapture", "cudaGraphInstantiate"):
        runtime = FakeCudart()
        graphs = graphs_of(runtime)
        runtime.code, runtime.fails = 900, function
        with pytest.raises(EngineError, match=f"{function} says error 900"):
            graphs.capture(77, lambda: None)
        assert (("cudaGraphDestroy", 500) in runtime.calls) == (function == "cudaGraphInstantiate")


def test_the_real_cuda_python_takes_these_calls(no_driver: str) -> None:
    """Without a driver every call fails, but only after its arguments were taken."""
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="needs cuda-python: pip install 'edgeface[rtx]'")
    if not no_driver:
        pytest.skip("needs a machine without an NVIDIA driver")
    with pytest.raises(EngineError, match="cudaSetDevice says cudaErrorInsufficientDriver"):
        CudaPython(0, runtime)
    cuda = object.__new__(CudaPython)
    cuda._runtime = runtime
    graphs = CudaPythonGraphs(runtime, cuda._call)
    with pytest.raises(DeviceError, match="cudaHostAlloc: cudaErrorInsufficientDriver"):
        cuda.allocate_host(16)
    uses: list[Callable[[], Any]] = [
        lambda: cuda.free_host(np.zeros(16, np.uint8)),
        lambda: graphs.capture(1, lambda: None),
        lambda: graphs.launch(1, 1),
        lambda: graphs.free(1),
        lambda: cuda._call("cudaStreamEndCapture", 1),
        lambda: cuda._call("cudaGraphInstantiate", 1, 0),
        lambda: cuda._call("cudaGraphDestroy", 1),
    ]
    for use in uses:
        with pytest.raises(EngineError, match="says cudaErrorInsufficientDriver"):
            use()


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
        self.pagelocked_empty = lambda size, dtype: self.locked(size)
        self.memcpy_htod_async = lambda dest, src, stream: calls.append(f"up {dest} {stream.handle}")
        self.memcpy_dtoh_async = lambda dest, src, stream: calls.append(f"down {src} {stream.handle}")

    def init(self) -> None:
        self.calls.append("init")

    def locked(self, size: int) -> Any:
        self.calls.append(f"lock {size}")
        return SimpleNamespace(base=SimpleNamespace(free=lambda: self.calls.append("unlock")))


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
        cuda.free_host(cuda.allocate_host(16))
    cuda.close()
    assert fake.calls == [
        *("init", "push", "up 4096 77", "down 4096 77", "synchronize", "free", "lock 16", "unlock", "pop", "detach")
    ]
    assert cuda.graphs is None

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


@pytest.mark.gpu
@pytest.mark.parametrize("pinned", [False, True])
def test_memory_goes_to_the_gpu_and_back(no_driver: str, pinned: bool) -> None:
    if no_driver:
        pytest.skip(f"needs an NVIDIA GPU: {no_driver}")
    try:
        cuda = open_cuda()
    except MissingExtraError as exc:
        pytest.skip(f"needs {exc}")
    with cuda.active():
        held = [cuda.allocate_host(4000) if pinned else np.empty(4000, np.uint8) for _ in range(2)]
        sent, back = (memory.view(np.float32) for memory in held)
        sent[:] = np.arange(1000)
        pointer, stream = cuda.allocate(sent.nbytes), cuda.new_stream()
        cuda.upload(pointer, sent, stream)
        cuda.download(back, pointer, stream)
        cuda.synchronize(stream)
        np.testing.assert_array_equal(back, np.arange(1000))
        cuda.free(pointer)
        cuda.free_stream(stream)
        if pinned:
            for memory in held:
                cuda.free_host(memory)
    cuda.close()
