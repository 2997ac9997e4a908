"""Networks by ONNX Runtime, on the CPU or by CUDA.

ONNX Runtime falls back to the CPU with a line on stderr when CUDA does not start: so what it really uses is checked.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeface_runtime.backends import check_batch, parse_device
from edgeface_runtime.closing import Closing
from edgeface_runtime.errors import ArtefactError, DeviceError, EngineError, InputError, MissingExtraError
from edgeface_runtime.files import require_file

__all__ = ["OnnxRuntimeBackend", "installed_distributions"]

DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")
CLASH = (
    "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: "
    "pip uninstall both, then install one of 'edgeface[cpu]' and 'edgeface[gpu]'"
)


def installed_distributions() -> dict[str, str]:
    """Which of ONNX Runtime's two exclusive packages are installed: name -> version. Both is one too many."""
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


class OnnxRuntimeBackend(Closing):
    """One ONNX file in an inference session.

    Raises:
        InputError: there is no such file.
        MissingExtraError: ONNX Runtime is not installed.
        ArtefactError: the file is no ONNX model that runs here.
        DeviceError: CUDA was asked for and is not what runs.
    """

    name = "onnxruntime"

    def __init__(self, path: Path, device: str = "auto", threads: int = 0) -> None:
        require_file(path, "ONNX model")
        gpu = parse_device(device, auto="cpu")
        self.device = "cpu" if gpu is None else f"cuda:{gpu}"
        try:
            import onnxruntime as ort
        except ImportError as exc:
            raise MissingExtraError("onnxruntime", "cpu" if gpu is None else "gpu") from exc
        self.clash = len(installed_distributions()) > 1
        self._path = path
        self._threads = threads
        self._version = str(ort.__version__)
        self._session: Any = self._open(ort, gpu)
        feed = self._session.get_inputs()[0]
        self._input = str(feed.name)
        channels = feed.shape[1] if len(feed.shape) == 4 else 3
        self._channels = channels if isinstance(channels, int) else 3
        self._input_dtype = np.float16 if feed.type == "tensor(float16)" else np.float32
        self._outputs = [str(output.name) for output in self._session.get_outputs()]
        self.provider = str(self._session.get_providers()[0])

    def _open(self, ort: Any, gpu: int | None) -> Any:
        providers: list[Any] = ["CPUExecutionProvider"]
        if gpu is not None:
            if self.clash:
                raise DeviceError(CLASH)
            if "CUDAExecutionProvider" not in ort.get_available_providers():
                raise DeviceError(
                    f"this onnxruntime {self._version} has no CUDA: pip uninstall onnxruntime, "
                    "then pip install 'edgeface[gpu]'"
                )
            providers = [("CUDAExecutionProvider", {"device_id": gpu}), *providers]
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            session = ort.InferenceSession(str(self._path), options, providers=providers)
        except Exception as exc:
            # ONNX Runtime's own classes share no base of their own.
            if gpu is not None and "CUDA" in str(exc):
                raise DeviceError(f"CUDA does not start for {self._path.name}: {_one_line(exc)}") from exc
            raise ArtefactError(
                f"{self._path} is no ONNX model that runs here ({_one_line(exc)}): export it again"
            ) from exc
        if gpu is not None and "CUDAExecutionProvider" not in session.get_providers():
            raise DeviceError(
                "CUDA was asked for and ONNX Runtime fell back to the CPU: check the driver and the CUDA and cuDNN "
                "libraries onnxruntime-gpu needs, or give --device cpu"
            )
        return session

    def close(self) -> None:
        """Drop the session. Closing twice does nothing."""
        self._session = None

    def run(self, batch: npt.NDArray[np.float32]) -> dict[str, npt.NDArray[np.float32]]:
        """See `Backend.run`."""
        check_batch(batch, self._channels)
        session = self._session
        if session is None:
            raise InputError(f"the backend of {self._path.name} is closed: open it again")
        try:
            values = session.run(self._outputs, {self._input: batch.astype(self._input_dtype, copy=False)})
        except Exception as exc:
            raise EngineError(
                f"{self._path.name} failed on a batch of shape {batch.shape}: {_one_line(exc)}"
            ) from exc
        return {name: np.asarray(v, dtype=np.float32) for name, v in zip(self._outputs, values, strict=True)}

    def describe(self) -> dict[str, Any]:
        """See `Backend.describe`. `note` is there when both of ONNX Runtime's packages are installed."""
        facts = {
            "backend": self.name,
            "provider": self.provider,
            "device": self.device,
            "version": self._version,
            "threads": self._threads or "auto",
        }
        return {**facts, "note": CLASH} if self.clash else facts


def _one_line(exc: Exception) -> str:
    return " ".join(str(exc).split())[:200]
