"""GPU memory and streams for the TensorRT runner: one small interface, by cuda-python or by pycuda.

Both work in the device's primary context, so that they share it with TensorRT. All calls are made inside
`with cuda.active():`.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgeface_runtime.backends.cuda_graphs import CudaPythonGraphs, Graphs
from edgeface_runtime.errors import DeviceError, EngineError, MissingExtraError

__all__ = ["Cuda", "CudaPython", "PyCuda", "open_cuda"]


class Cuda(Protocol):
    """Memory and streams of one GPU. Pointers and streams are plain integers (addresses)."""

    name: str
    graphs: Graphs | None
    """Captures CUDA graphs; None where this package cannot."""

    def active(self) -> contextlib.AbstractContextManager[None]:
        """Make this GPU the calling thread's own for a while."""

    def allocate(self, size_bytes: int) -> int:
        """GPU memory; DeviceError when there is not enough."""

    def free(self, pointer: int) -> None:
        """Give memory back."""

    def allocate_host(self, size_bytes: int) -> npt.NDArray[np.uint8]:
        """Page-locked host memory, (size_bytes,) uint8; DeviceError when there is not enough."""

    def free_host(self, memory: npt.NDArray[np.uint8]) -> None:
        """Give what `allocate_host` gave back; no array may look into it any more."""

    def new_stream(self) -> int:
        """A new stream."""

    def free_stream(self, stream: int) -> None:
        """Give a stream back."""

    def upload(self, pointer: int, array: npt.NDArray[Any], stream: int) -> None:
        """Copy a C-contiguous array to the GPU; it must live until `synchronize`."""

    def download(self, array: npt.NDArray[Any], pointer: int, stream: int) -> None:
        """Copy into a C-contiguous array; it is filled after `synchronize`."""

    def synchronize(self, stream: int) -> None:
        """Wait until all work in the stream is done."""

    def close(self) -> None:
        """Let the GPU go."""


class CudaPython:
    """By NVIDIA's cuda-python (12.6 and later, and the older `cuda.cudart` layout)."""

    name = "cuda-python"

    def __init__(self, index: int = 0, runtime: Any = None) -> None:
        self._runtime = runtime if runtime is not None else _cuda_python_runtime()
        self._index = index
        self.graphs: Graphs | None = CudaPythonGraphs(self._runtime, self._call)
        self._call("cudaSetDevice", index)

    def _call(self, function: str, *args: Any) -> Any:
        """Call a runtime function: its answer is a tuple that starts with an error code."""
        code, *values = getattr(self._runtime, function)(*args)
        if int(code) != 0:
            raise _failed(function, getattr(code, "name", f"error {int(code)}"))
        return values[0] if values else None

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """See `Cuda`."""
        before = self._call("cudaGetDevice")
        self._call("cudaSetDevice", self._index)
        try:
            yield
        finally:
            self._call("cudaSetDevice", before)

    def allocate(self, size_bytes: int) -> int:
        """See `Cuda`."""
        return int(self._call("cudaMalloc", size_bytes))

    def free(self, pointer: int) -> None:
        """See `Cuda`."""
        self._call("cudaFree", pointer)

    def allocate_host(self, size_bytes: int) -> npt.NDArray[np.uint8]:
        """See `Cuda`."""
        address = int(self._call("cudaHostAlloc", size_bytes, self._runtime.cudaHostAllocDefault))
        return np.ctypeslib.as_array((ctypes.c_uint8 * size_bytes).from_address(address))

    def free_host(self, memory: npt.NDArray[np.uint8]) -> None:
        """See `Cuda`."""
        self._call("cudaFreeHost", memory.ctypes.data)

    def new_stream(self) -> int:
        """See `Cuda`."""
        return int(self._call("cudaStreamCreate"))

    def free_stream(self, stream: int) -> None:
        """See `Cuda`."""
        self._call("cudaStreamDestroy", stream)

    def upload(self, pointer: int, array: npt.NDArray[Any], stream: int) -> None:
        """See `Cuda`."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("cudaMemcpyAsync", pointer, array.ctypes.data, array.nbytes, kind, stream)

    def download(self, array: npt.NDArray[Any], pointer: int, stream: int) -> None:
        """See `Cuda`."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("cudaMemcpyAsync", array.ctypes.data, pointer, array.nbytes, kind, stream)

    def synchronize(self, stream: int) -> None:
        """See `Cuda`."""
        self._call("cudaStreamSynchronize", stream)

    def close(self) -> None:
        """See `Cuda`."""


class PyCuda:
    """By pycuda, which knows no CUDA graphs."""

    name = "pycuda"
    graphs: Graphs | None = None

    def __init__(self, index: int = 0, driver: Any = None) -> None:
        self._driver = driver if driver is not None else importlib.import_module("pycuda.driver")
        self._held: dict[int, Any] = {}
        with self._mapped("cuInit"):
            self._driver.init()
            self._context = self._driver.Device(index).retain_primary_context()

    @contextlib.contextmanager
    def _mapped(self, function: str) -> Iterator[None]:
        try:
            yield
        except self._driver.Error as exc:
            raise _failed(function, " ".join(str(exc).split())) from exc

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """See `Cuda`."""
        self._context.push()
        try:
            yield
        finally:
            self._driver.Context.pop()

    def allocate(self, size_bytes: int) -> int:
        """See `Cuda`."""
        with self._mapped("mem_alloc"):
            memory = self._driver.mem_alloc(size_bytes)
        self._held[int(memory)] = memory
        return int(memory)

    def free(self, pointer: int) -> None:
        """See `Cuda`."""
        with self._mapped("free"):
            self._held.pop(pointer).free()

    def allocate_host(self, size_bytes: int) -> npt.NDArray[np.uint8]:
        """See `Cuda`."""
        with self._mapped("pagelocked_empty"):
            memory: npt.NDArray[np.uint8] = self._driver.pagelocked_empty(size_bytes, np.uint8)
        return memory

    def free_host(self, memory: npt.NDArray[np.uint8]) -> None:
        """See `Cuda`."""
        with self._mapped("free"):
            memory.base.free()  # type: ignore[union-attr]

    def new_stream(self) -> int:
        """See `Cuda`."""
        with self._mapped("Stream"):
            stream = self._driver.Stream()
        self._held[int(stream.handle)] = stream
        return int(stream.handle)

    def free_stream(self, stream: int) -> None:
        """See `Cuda`."""
        del self._held[stream]

    def upload(self, pointer: int, array: npt.NDArray[Any], stream: int) -> None:
        """See `Cuda`."""
        with self._mapped("memcpy_htod_async"):
            self._driver.memcpy_htod_async(pointer, array, self._held[stream])

    def download(self, array: npt.NDArray[Any], pointer: int, stream: int) -> None:
        """See `Cuda`."""
        with self._mapped("memcpy_dtoh_async"):
            self._driver.memcpy_dtoh_async(array, pointer, self._held[stream])

    def synchronize(self, stream: int) -> None:
        """See `Cuda`."""
        with self._mapped("synchronize"):
            self._held[stream].synchronize()

    def close(self) -> None:
        """See `Cuda`."""
        self._held.clear()
        self._context.detach()


def _failed(function: str, why: str) -> DeviceError:
    if function in ("cudaHostAlloc", "pagelocked_empty"):
        return DeviceError(f"the host has not enough memory to lock ({function}: {why}): use a smaller --max-batch")
    if "memory" in why.lower() and "alloc" in f"{function} {why}".lower():
        return DeviceError(
            f"the GPU has not enough free memory ({function}: {why}): build with a smaller --max-batch"
        )
    return EngineError(f"the GPU failed: {function} says {why}")


def _cuda_python_runtime() -> Any:
    try:
        return importlib.import_module("cuda.bindings.runtime")
    except ImportError:
        return importlib.import_module("cuda.cudart")


def open_cuda(index: int = 0, extra: str = "tensorrt") -> Cuda:
    """Open a GPU by cuda-python or pycuda, whichever is installed (cuda-python first: it has wheels).

    Look for the driver before (`require_gpu`). `extra` is the extra that a missing package is asked for with.

    Raises:
        MissingExtraError: neither is installed.
        DeviceError: the GPU cannot be opened.
    """
    makers: tuple[type[CudaPython] | type[PyCuda], ...] = (CudaPython, PyCuda)
    for maker in makers:
        with contextlib.suppress(ImportError):
            return maker(index)
    raise MissingExtraError("cuda-python (or pycuda)", extra)
