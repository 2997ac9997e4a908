"""Networks by ONNX Runtime: on the CPU, by CUDA, or by its TensorRT provider with CUDA for what that does not take.

ONNX Runtime by itself goes on with the next provider, and says so on stderr at most: so its fall-back is switched
off and what the session really has is checked. The TensorRT provider builds engines at the first batch; it names them
by the graph's shape and not by its weights, so they are kept in a folder of the model's own.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeface_runtime.backends import backend_kind, check_batch, parse_device
from edgeface_runtime.backends.driver import Gpu, require_gpu
from edgeface_runtime.cache import cache_dir, remembered_sha256
from edgeface_runtime.closing import Closing
from edgeface_runtime.errors import ArtefactError, DeviceError, EngineError, InputError, MissingExtraError
from edgeface_runtime.files import require_file

__all__ = ["OnnxRuntimeBackend", "engine_folder", "installed_distributions", "require_provider"]

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
DISTRIBUTION = re.compile(r"(onnxruntime(?:_gpu)?)-([^-]+)(?:-py[^-]*)?\.(?:dist|egg)-info")
"""Folder of one of the two packages; importlib.metadata would find it too, and takes 20 ms to import."""
CLASH = (
    "onnxruntime and onnxruntime-gpu are both installed and overwrite each other: "
    "pip uninstall both, then install one of 'edgeface[cpu]' and 'edgeface[gpu]'"
)
FIRST = {"onnxruntime": CUDA, "onnxruntime-tensorrt": TENSORRT}
"""Backend -> the provider that must come first on a GPU."""
WORDS = {CUDA: "CUDA", TENSORRT: "TensorRT"}
MEND = {
    CUDA: "check the driver and the CUDA and cuDNN libraries onnxruntime-gpu needs, or give --device cpu",
    TENSORRT: (
        "install the TensorRT that this onnxruntime-gpu was made for (libnvinfer.so.10 on the library path), "
        "or use --backend onnxruntime --device cuda"
    ),
}
OTHERWISE = {CUDA: "cpu", TENSORRT: "cuda"}
RECORD = "session.record_ep_graph_assignment_info"
"""Setting of newer ONNX Runtimes: remember which provider took which nodes. Older ones pass over it."""


def installed_distributions() -> dict[str, str]:
    """Which of ONNX Runtime's two exclusive packages are installed: name -> version. Both is one too many."""
    found: dict[str, str] = {}
    for place in dict.fromkeys(sys.path):
        try:
            names = [entry.name for entry in Path(place).iterdir() if entry.name.startswith("onnxruntime")]
        except OSError:  # an archive, or nothing
            continue
        for match in filter(None, map(DISTRIBUTION.fullmatch, names)):
            found.setdefault(match[1].replace("_", "-"), match[2])
    return found


def require_provider(ort: Any, backend: str) -> None:
    """Raise DeviceError unless this ONNX Runtime was built with the GPU provider that backend runs by."""
    if len(installed_distributions()) > 1:
        raise DeviceError(CLASH)
    provider = FIRST[backend]
    if provider not in ort.get_available_providers():
        raise DeviceError(
            f"this onnxruntime {ort.__version__} has no {WORDS[provider]}: pip uninstall onnxruntime, "
            "then pip install 'edgeface[gpu]'"
        )


def engine_folder(model: Path, ort_version: str, gpu: Gpu) -> Path | None:
    """Where the TensorRT provider keeps the engines of a model on a GPU; None where there is no home for a cache."""
    root = cache_dir()
    if root is None:
        return None
    made_for = f"{ort_version} {gpu.name} {gpu.compute_capability} {gpu.driver}"
    machine = hashlib.sha256(made_for.encode()).hexdigest()
    return root / "onnxruntime-trt" / f"{remembered_sha256(model)[:16]}-{machine[:8]}"


class OnnxRuntimeBackend(Closing):
    """One ONNX file in an inference session.

    Args:
        path: the file.
        device: auto, cpu, cuda or cuda:N.
        threads: CPU threads; 0 leaves it to ONNX Runtime.
        name: onnxruntime, or onnxruntime-tensorrt for the TensorRT provider.

    Raises:
        InputError: there is no such file.
        MissingExtraError: ONNX Runtime is not installed.
        ArtefactError: the file is no ONNX model that runs here.
        DeviceError: a GPU was asked for and is not what runs, or the CPU of a provider that has none.
    """

    def __init__(self, path: Path, device: str = "auto", threads: int = 0, name: str = "onnxruntime") -> None:
        require_file(path, "ONNX model")
        self.name = name
        index = parse_device(device, auto=backend_kind(name).device)
        if index is None and name == "onnxruntime-tensorrt":
            raise DeviceError(f"{name} runs on a GPU, not on the CPU: give --device cuda, or --backend onnxruntime")
        self.device = "cpu" if index is None else f"cuda:{index}"
        try:
            import onnxruntime as ort
        except ImportError as exc:
            raise MissingExtraError("onnxruntime", "cpu" if index is None else "gpu") from exc
        getattr(ort, "disable_telemetry_events", lambda: None)()  # somebody may have imported it before us
        self.clash = len(installed_distributions()) > 1
        self._path = path
        self._threads = threads
        self._version = str(ort.__version__)
        self._gpu: Gpu | None = None
        self._engines: Path | None = None
        if index is not None:
            require_provider(ort, name)
            self._gpu = require_gpu(index)
        self._session: Any = self._open(ort)
        feed = self._session.get_inputs()[0]
        self._input = str(feed.name)
        channels = feed.shape[1] if len(feed.shape) == 4 else 3
        self._channels = channels if isinstance(channels, int) else 3
        self._input_dtype = np.float16 if feed.type == "tensor(float16)" else np.float32
        self._outputs = [str(output.name) for output in self._session.get_outputs()]
        self._providers = [str(provider) for provider in self._session.get_providers()]
        self._nodes = _nodes(self._session)
        self.provider = self._providers[0]
        if index is not None:
            self._require_work()

    def _open(self, ort: Any) -> Any:
        gpu = self._gpu
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry(RECORD, "1")
        providers = [CPU] if gpu is None else self._gpu_providers(gpu)
        try:
            session = ort.InferenceSession(str(self._path), options, providers=providers, enable_fallback=0)
        except Exception as exc:
            # ONNX Runtime's own classes share no base of their own.
            if gpu is not None and any(word in str(exc) for word in ("CUDA", "TensorRT", "Tensorrt", "tensorrt")):
                word = WORDS[FIRST[self.name]]
                reason = f"{word} does not start for {self._path.name} ({_one_line(exc)})"
                raise DeviceError(f"{reason}: {MEND[FIRST[self.name]]}") from exc
            raise ArtefactError(
                f"{self._path} is no ONNX model that runs here ({_one_line(exc)}): export it again"
            ) from exc
        first = CPU if gpu is None else FIRST[self.name]
        found = session.get_providers()
        if found[:1] != [first]:
            raise DeviceError(
                f"{WORDS.get(first, 'the CPU')} was asked for and ONNX Runtime fell back to "
                f"{_provider_words(found)}: {MEND.get(first, 'install onnxruntime again')}"
            )
        return session

    def _require_work(self) -> None:
        """Raise DeviceError where the GPU's provider comes first and yet takes nothing."""
        if self._nodes is None or self._nodes.get(self.provider):
            return
        others = " and ".join(self._nodes)
        raise DeviceError(
            f"{WORDS[self.provider]} takes none of the {sum(self._nodes.values())} nodes of {self._path.name}, which "
            f"would run on {others}: use --backend onnxruntime --device {OTHERWISE[self.provider]}"
        )

    def _gpu_providers(self, gpu: Gpu) -> list[Any]:
        cuda = (CUDA, {"device_id": gpu.index})
        if self.name == "onnxruntime":
            return [cuda, CPU]
        self._engines = _made(engine_folder(self._path, self._version, gpu))
        # Precision is the graph's; said outright, because environment variables could switch these on.
        settings: dict[str, Any] = {"device_id": gpu.index, "trt_fp16_enable": False, "trt_int8_enable": False}
        if self._engines is not None:
            settings |= {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(self._engines)}
        return [(TENSORRT, settings), cuda, CPU]

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
        """See `Backend.describe`; also all providers of the session, the first of which takes what it can.

        `nodes` counts the graph's nodes each took, as far as this ONNX Runtime tells; `gpu`, `compute_capability` and
        `engine_cache` are there on a GPU; `note` when both of ONNX Runtime's packages are installed.
        """
        facts: dict[str, Any] = {
            "backend": self.name,
            "provider": self.provider,
            "providers": self._providers,
            "nodes": self._nodes,
            "device": self.device,
            "version": self._version,
            "threads": self._threads or "auto",
        }
        if self._gpu is not None:
            facts |= {"gpu": self._gpu.name, "compute_capability": self._gpu.compute_capability}
        if self.name == "onnxruntime-tensorrt":
            facts["engine_cache"] = None if self._engines is None else str(self._engines)
        return {**facts, "note": CLASH} if self.clash else facts


def _made(folder: Path | None) -> Path | None:
    """The folder, made where it can be; None where it cannot: engines are then built at every start."""
    if folder is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder


def _nodes(session: Any) -> dict[str, int] | None:
    """Provider -> how many of the graph's nodes it took; None where this ONNX Runtime does not tell."""
    tell = getattr(session, "get_provider_graph_assignment_info", None)
    if tell is None:
        return None
    found: Counter[str] = Counter()
    for part in tell():
        found[str(part.ep_name)] += len(part.get_nodes())
    return dict(found)


def _provider_words(providers: list[str]) -> str:
    return "the CPU" if providers[:1] == [CPU] else ", ".join(providers) or "nothing"


def _one_line(exc: Exception) -> str:
    return " ".join(str(exc).split())[:200]
