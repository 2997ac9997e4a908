"""What runs a network: ONNX Runtime, TensorRT or TensorRT-RTX, each a small class used as a context manager.

A backend runs where it was asked to or says why not; it never falls back on its own (see allow_cpu.py). BACKENDS is
where a backend's name gets its meaning: what it opens, and its device and precision where none was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from edgeface_runtime.errors import InputError

__all__ = [
    "BACKENDS",
    "Backend",
    "Kind",
    "backend_kind",
    "check_batch",
    "check_threads",
    "open_backend",
    "parse_device",
    "runs_on_cpu",
]

MAX_THREADS = 256
"""ONNX Runtime starts every thread it is told to: with thousands, loading a network takes minutes."""


class Backend(Protocol):
    """One loaded network. Safe to share between threads."""

    name: str
    """Key in BACKENDS."""
    device: str
    """Where it really runs: cpu or cuda:N."""

    def __enter__(self) -> Backend:
        """The backend itself."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""

    def close(self) -> None:
        """Give memory back. Closing twice does nothing."""

    def run(self, batch: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        """Run the network.

        Args:
            batch: (N, 3, H, W) float32, N >= 1; (N, C, h, w) for the head of a dictionary model.

        Returns:
            Output name -> float32 array whose first axis is N.

        Raises:
            InputError: a batch of another shape or dtype.
            EngineError: the network failed.
        """

    def describe(self) -> dict[str, Any]:
        """What really runs: backend, provider, device, version, threads."""


def _onnxruntime(path: Path, device: str, threads: int) -> Backend:
    from edgeface_runtime.backends.onnxruntime import OnnxRuntimeBackend

    return OnnxRuntimeBackend(path, device, threads)


def _onnxruntime_tensorrt(path: Path, device: str, threads: int) -> Backend:
    from edgeface_runtime.backends.onnxruntime import OnnxRuntimeBackend

    return OnnxRuntimeBackend(path, device, threads, name="onnxruntime-tensorrt")


def _tensorrt(path: Path, device: str, threads: int) -> Backend:
    from edgeface_runtime.backends.tensorrt import open_engine

    return open_engine(path, "tensorrt", device)


def _tensorrt_rtx(path: Path, device: str, threads: int) -> Backend:
    from edgeface_runtime.backends.tensorrt import open_engine

    return open_engine(path, "tensorrt-rtx", device)


@dataclass(frozen=True)
class Kind:
    """What can be said of a backend before it is opened."""

    open: Callable[[Path, str, int], Backend]
    """Path, device and threads -> the backend."""
    file: Literal["onnx", "engine"]
    """What it opens: the model itself, or an engine built from it."""
    device: Literal["cpu", "cuda"]
    """What `auto` means."""
    precision: Literal["fp32", "fp16"]
    """What `auto` means."""


BACKENDS: dict[str, Kind] = {
    "onnxruntime": Kind(_onnxruntime, "onnx", "cpu", "fp32"),
    "onnxruntime-tensorrt": Kind(_onnxruntime_tensorrt, "onnx", "cuda", "fp16"),
    "tensorrt": Kind(_tensorrt, "engine", "cuda", "fp16"),
    "tensorrt-rtx": Kind(_tensorrt_rtx, "engine", "cuda", "fp16"),
}


def backend_kind(name: str) -> Kind:
    """What a backend of that name is.

    Raises:
        InputError: unknown; the known ones are listed.
    """
    if name not in BACKENDS:
        raise InputError(f"unknown backend {name!r}: known are {', '.join(BACKENDS)}")
    return BACKENDS[name]


def runs_on_cpu(backend: str, device: str) -> bool:
    """Whether that backend on that device computes on the CPU, where INT8 has a graph of its own.

    Raises:
        InputError: an unknown backend or device.
    """
    return parse_device(device, backend_kind(backend).device) is None


def open_backend(name: str, model_path: Path | str, device: str = "auto", threads: int = 0) -> Backend:
    """Load a network.

    Args:
        name: key in BACKENDS.
        model_path: an ONNX file; for tensorrt and tensorrt-rtx an engine with its sidecar beside it.
        device: cpu, cuda or cuda:N. `auto` is the CPU for onnxruntime and GPU 0 for the others.
        threads: CPU threads within one operator, at most 256; 0 leaves it to the backend.

    Raises:
        InputError: unknown backend, a device no one knows, too many threads, or no such file.
        MissingExtraError: the backend's package is not installed.
        ArtefactError: the file is damaged or foreign.
        DeviceError: not the device that was asked for.
    """
    kind = backend_kind(name)
    check_threads(threads)
    return kind.open(Path(model_path), device, threads)


def parse_device(device: str, auto: str) -> int | None:
    """GPU number of a device's name, None for the CPU.

    Raises:
        InputError: not auto, cpu, cuda or cuda:N.
    """
    match = re.fullmatch(r"cpu|cuda(?::(\d{1,3}))?", auto if device == "auto" else device)
    if match is None:
        raise InputError(f"unknown device {device!r}: give auto, cpu, cuda or cuda:N")
    return None if match[0] == "cpu" else int(match[1] or 0)


def check_threads(threads: int) -> None:
    """Raise InputError unless `threads` is 0 (automatic) to 256."""
    if not 0 <= threads <= MAX_THREADS:
        raise InputError(f"--threads is {threads}: give 0 (automatic) to {MAX_THREADS}")


def check_batch(batch: npt.NDArray[np.float32], channels: int = 3) -> None:
    """Raise InputError unless `batch` is (N, channels, H, W) float32 with N >= 1."""
    if batch.ndim != 4 or batch.shape[1] != channels or batch.shape[0] < 1 or batch.dtype != np.float32:
        raise InputError(
            f"a batch must be (N, {channels}, H, W) float32 with N >= 1, not {batch.shape} {batch.dtype}"
        )
