"""Engines of TensorRT or TensorRT-RTX: strongly typed plans with one dynamic batch axis.

The order matters: driver, package, sidecar, hash, and only then the plan is deserialised (see engine_check.py).
Batches larger than the profile's largest are split; nothing is padded. Buffers and stream are made once and stay;
GpuOptions says what more there is to make copies and launches cheaper.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeface_runtime.backends import check_batch, parse_device
from edgeface_runtime.backends.cuda import Cuda, open_cuda
from edgeface_runtime.backends.cuda_graphs import Replays
from edgeface_runtime.backends.driver import Gpu, require_gpu
from edgeface_runtime.backends.gpu_buffers import Buffers, GpuOptions
from edgeface_runtime.closing import Closing
from edgeface_runtime.engine import BUILD_AGAIN, FLAVOURS
from edgeface_runtime.engine_check import CheckedEngine, Here, build_command, checked_engine
from edgeface_runtime.errors import EXTRAS, DeviceError, EngineError, InputError, MissingExtraError
from edgeface_runtime.files import require_file

__all__ = ["Found", "TensorRTBackend", "look_here", "open_engine", "run_engine"]

DTYPES: dict[str, type[np.generic]] = {"FLOAT": np.float32, "HALF": np.float16, "INT32": np.int32, "INT64": np.int64}


@dataclass(frozen=True)
class Found:
    """What there is to run an engine with."""

    here: Here
    gpu: Gpu
    trt: Any
    """The module tensorrt or tensorrt_rtx."""


def look_here(flavour: str, device: str = "auto") -> Found:
    """Ask for the driver, the GPU and the package, in this order.

    Args:
        flavour: tensorrt or tensorrt-rtx.
        device: auto (GPU 0), cuda or cuda:N.

    Raises:
        DeviceError: no driver or GPU, or the CPU was asked for.
        MissingExtraError: TensorRT is not installed.
    """
    index = parse_device(device, auto="cuda")
    if index is None:
        raise DeviceError(f"{flavour} runs on a GPU, not on the CPU: give --device cuda, or --backend onnxruntime")
    gpu = require_gpu(index)
    try:
        trt = importlib.import_module(FLAVOURS[flavour])
    except (ImportError, OSError) as exc:
        raise MissingExtraError(flavour, EXTRAS[FLAVOURS[flavour]]) from exc
    return Found(Here(flavour, str(trt.__version__), gpu), gpu, trt)


def open_engine(path: Path, flavour: str, device: str = "auto", onnx_sha256: str | None = None) -> TensorRTBackend:
    """Open an engine for running.

    Args:
        path: the engine; its sidecar lies beside it.
        flavour: tensorrt or tensorrt-rtx.
        device: auto (GPU 0), cuda or cuda:N.
        onnx_sha256: of the model that should run; None where any will do.

    Raises:
        InputError: there is no such engine.
        DeviceError: no driver or GPU, or the CPU was asked for.
        MissingExtraError: TensorRT, or pycuda and cuda-python, are not installed.
        ArtefactError, EngineError: damaged, stale or foreign; see `checked_engine`.
    """
    require_file(path, "engine")
    found = look_here(flavour, device)
    checked = checked_engine(path, found.here, onnx_sha256)
    return run_engine(
        checked, found, f"build it again with {build_command('BUNDLE', flavour, checked.sidecar.precision)}"
    )


def run_engine(checked: CheckedEngine, found: Found, again: str = BUILD_AGAIN) -> TensorRTBackend:
    """Deserialise an engine that was checked; `again` ends the refusals of TensorRT itself.

    Raises:
        MissingExtraError: neither pycuda nor cuda-python is installed.
        DeviceError, EngineError: TensorRT or the GPU fails.
    """
    cuda = open_cuda(found.gpu.index, EXTRAS[FLAVOURS[found.here.flavour]])
    return TensorRTBackend(
        checked.path,
        found.here.flavour,
        found.trt,
        cuda,
        found.gpu,
        plan=checked.plan,
        host_code=checked.sidecar.version_compatible,
        again=again,
    )


class TensorRTBackend(Closing):
    """One deserialised engine with its context, buffers and stream. Use `open_engine`, which checks before.

    Args:
        path: the engine.
        flavour: tensorrt or tensorrt-rtx.
        trt: that module.
        cuda: memory and streams; closed with the backend.
        gpu: what it runs on.
        plan: the engine's content, as it was checked; None reads `path`.
        host_code: the plan carries its own runtime (version compatible), which TensorRT must be allowed to run.
        again: what mends a plan that TensorRT refuses, for messages.
        options: what more to use of the GPU. CUDA graphs need cuda-python: with pycuda they are off, and `describe`
            says so.
    """

    def __init__(
        self,
        path: Path,
        flavour: str,
        trt: Any,
        cuda: Cuda,
        gpu: Gpu,
        *,
        plan: bytes | None = None,
        host_code: bool = False,
        again: str = BUILD_AGAIN,
        options: GpuOptions | None = None,
    ) -> None:
        self.name = flavour
        self.device = f"cuda:{gpu.index}"
        self._path, self._trt, self._cuda, self._gpu = path, trt, cuda, gpu
        self._lock = threading.Lock()
        self._options = options or GpuOptions()
        self._buffers = Buffers(cuda, self._options.pinned)
        self._replays: Replays | None = None
        self._stream: int | None = None
        self._context: Any = None
        self._engine: Any = None
        self._open = True
        self._again = again
        try:
            with cuda.active():
                self._load(path.read_bytes() if plan is None else plan, host_code)
        except BaseException:
            self.close()
            raise

    def _load(self, plan: bytes, host_code: bool) -> None:
        trt = self._trt
        self._logger = _logger(trt)
        self._runtime = trt.Runtime(self._logger)
        if host_code:
            self._runtime.engine_host_code_allowed = True
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise EngineError(f"engine {self._path} cannot be loaded ({self._logger.last}): {self._again}")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise EngineError(
                f"engine {self._path} gets no context ({self._logger.last}): build with less --max-batch"
            )
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        inputs = [n for n in names if self._engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        if len(inputs) != 1:
            raise EngineError(f"engine {self._path} has {len(inputs)} inputs, a recogniser has 1: {self._again}")
        self._input = inputs[0]
        self._outputs = [n for n in names if n not in inputs]
        self._dtypes = {n: self._dtype(n) for n in names}
        shapes = [tuple(s) for s in self._engine.get_tensor_profile_shape(self._input, 0)]
        self._min_batch, self._max_batch = int(shapes[0][0]), int(shapes[2][0])
        self._sample = tuple(int(n) for n in shapes[2][1:])
        if not self._context.set_input_shape(self._input, (self._max_batch, *self._sample)):
            raise EngineError(f"engine {self._path} refuses its own profile ({self._logger.last}): {self._again}")
        self._stream = self._cuda.new_stream()
        self._rest: dict[str, tuple[int, ...]] = {}
        for name in names:
            shape = tuple(int(n) for n in self._context.get_tensor_shape(name))
            self._rest[name] = shape[1:]
            size_bytes = int(np.prod(shape)) * np.dtype(self._dtypes[name]).itemsize
            self._context.set_tensor_address(name, self._buffers.add(name, size_bytes))
        if self._options.graph and self._cuda.graphs is not None:
            self._replays = Replays(self._cuda.graphs, self._stream, self._prepared, self._cuda.synchronize)

    def _dtype(self, name: str) -> type[np.generic]:
        kind = str(self._engine.get_tensor_dtype(name)).rsplit(".", 1)[-1]
        if kind not in DTYPES:
            raise EngineError(
                f"engine {self._path} has a tensor {name} of type {kind}: build it from FP32 or FP16 ends"
            )
        return DTYPES[kind]

    def close(self) -> None:
        """Give all GPU memory back. Closing twice does nothing."""
        with self._lock:
            if not self._open:
                return
            self._open = False
            with self._cuda.active():
                # In this order: graphs use their contexts, a context the engine, the engine the runtime.
                if self._replays is not None:
                    self._replays.free()
                self._context = self._engine = self._runtime = None
                self._buffers.free()
                if self._stream is not None:
                    self._cuda.free_stream(self._stream)
                    self._stream = None
            self._cuda.close()

    def run(self, batch: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        """See `Backend.run`. A batch above the profile's largest is run in pieces."""
        check_batch(batch)
        if batch.shape[1:] != self._sample:
            raise InputError(f"engine {self._path.name} takes faces of shape {self._sample}, not {batch.shape[1:]}")
        with self._lock:
            if not self._open:
                raise InputError(f"the backend of {self._path.name} is closed: open it again")
            with self._cuda.active():
                step = self._max_batch
                parts = [self._run(batch[i : i + step]) for i in range(0, len(batch), step)]
        return {name: np.concatenate([part[name] for part in parts]) for name in self._outputs}

    def _run(self, batch: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        assert self._stream is not None
        if len(batch) < self._min_batch:
            raise EngineError(
                f"engine {self._path.name} takes {self._min_batch} faces or more at a time, not {len(batch)}: "
                f"{self._again}"
            )
        feed = self._buffers.staged(self._input, batch, self._dtypes[self._input])
        answers = {
            name: self._buffers.landing(name, (len(batch), *self._rest[name]), self._dtypes[name])
            for name in self._outputs
        }
        self._cuda.upload(self._buffers.pointers[self._input], feed, self._stream)
        if self._replays is None:
            self._shape(self._context, len(batch))
            self._enqueue(self._context)
        else:
            self._replays.run(len(batch))
        for name, answer in answers.items():
            self._cuda.download(answer, self._buffers.pointers[name], self._stream)
        self._cuda.synchronize(self._stream)
        return {name: np.array(answer, dtype=np.float32) for name, answer in answers.items()}

    def _shape(self, context: Any, batch: int) -> None:
        shape = (batch, *self._sample)
        if not context.set_input_shape(self._input, shape):
            raise EngineError(f"engine {self._path.name} refuses the shape {shape} ({self._logger.last})")

    def _enqueue(self, context: Any) -> None:
        if not context.execute_async_v3(self._stream):
            raise EngineError(f"engine {self._path.name} failed ({self._logger.last}): {self._again}")

    def _prepared(self, batch: int) -> Callable[[], None]:
        """What enqueues a batch size in a context of its own."""
        context = self._engine.create_execution_context()
        if context is None:
            raise EngineError(
                f"engine {self._path.name} gets no context for a graph ({self._logger.last}): run it without"
            )
        for name, pointer in self._buffers.pointers.items():
            context.set_tensor_address(name, pointer)
        self._shape(context, batch)
        return lambda: self._enqueue(context)

    def profiled(self) -> tuple[Any, Any, tuple[int, ...]]:
        """For timing layers: the TensorRT module, the execution context, and the shape of the smallest batch."""
        return self._trt, self._context, (self._min_batch, *self._sample)

    def describe(self) -> dict[str, Any]:
        """See `Backend.describe`."""
        return {
            "backend": self.name,
            "provider": self._trt.__name__,
            "device": self.device,
            "version": str(self._trt.__version__),
            "threads": None,
            "gpu": self._gpu.name,
            "compute_capability": self._gpu.compute_capability,
            "memory": self._cuda.name,
            "pinned": self._options.pinned,
            "graph": self._graph_words(),
            "max_batch": self._max_batch,
        }

    def _graph_words(self) -> str:
        if self._replays is not None:
            return "on"
        return f"off: {self._cuda.name} has no CUDA graphs" if self._options.graph else "off"


def _logger(trt: Any) -> Any:
    """A logger that keeps the last error, to be named in ours, instead of printing."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last = "no reason given"

        def log(self, severity: Any, msg: str) -> None:
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.last = " ".join(msg.split())[:200]

    return Logger()
