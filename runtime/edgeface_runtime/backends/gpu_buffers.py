"""The memory an engine works with: device buffers that stay, and page-locked host buffers to copy from and to."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeface_runtime.backends.cuda import Cuda

__all__ = ["Buffers", "GpuOptions"]


@dataclass(frozen=True)
class GpuOptions:
    """What may make a GPU faster, and is kept where measured to (`benchmarks/gpu_memory.py`)."""

    pinned: bool = True
    """Copy through page-locked host buffers, which the GPU reads and writes by itself."""
    graph: bool = False
    """Capture the kernels of a batch size once and launch them together after that. Not measured on a GPU yet."""


class Buffers:
    """One device buffer for every tensor at its largest; with `pinned` a host buffer of the same size each.

    All calls are made inside `with cuda.active():`.
    """

    def __init__(self, cuda: Cuda, pinned: bool) -> None:
        self.pointers: dict[str, int] = {}
        """Tensor -> its device buffer."""
        self._cuda, self._pinned = cuda, pinned
        self._host: dict[str, npt.NDArray[np.uint8]] = {}

    def add(self, name: str, size_bytes: int) -> int:
        """Take memory for a tensor and return the device buffer. Raises DeviceError when there is not enough."""
        self.pointers[name] = self._cuda.allocate(size_bytes)
        if self._pinned:
            self._host[name] = self._cuda.allocate_host(size_bytes)
        return self.pointers[name]

    def staged(self, name: str, values: npt.NDArray[Any], dtype: type[np.generic]) -> npt.NDArray[Any]:
        """`values` as `dtype`, C-contiguous, where they can be uploaded from; good until the next call."""
        if not self._pinned:
            return np.ascontiguousarray(values, dtype=dtype)
        place = self.landing(name, values.shape, dtype)
        np.copyto(place, values, casting="same_kind")
        return place

    def landing(self, name: str, shape: tuple[int, ...], dtype: type[np.generic]) -> npt.NDArray[Any]:
        """Where a tensor can be downloaded to; what is there is good until the next call."""
        if not self._pinned:
            return np.empty(shape, dtype)
        return self._host[name][: prod(shape) * np.dtype(dtype).itemsize].view(dtype).reshape(shape)

    def free(self) -> None:
        """Give all memory back. Freeing twice does nothing."""
        while self.pointers:
            self._cuda.free(self.pointers.popitem()[1])
        while self._host:
            self._cuda.free_host(self._host.popitem()[1])
