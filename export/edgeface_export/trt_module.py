"""Find `tensorrt` or `tensorrt_rtx` and the GPU, without touching what is not there.

Both packages have nearly one interface, so the rest of the code takes the module as an argument.
"""

from __future__ import annotations

import functools
import importlib
import re
from typing import Any

from edgeface_runtime.backends.driver import Gpu, require_gpu
from edgeface_runtime.engine import FLAVOURS
from edgeface_runtime.engine_check import Here
from edgeface_runtime.errors import EXTRAS, DeviceError, EngineError, InputError, MissingExtraError

__all__ = ["TrtLog", "find_gpu", "here_to_build", "load_trt", "one_line", "trt_log"]

LOG_LINES = 200


def load_trt(backend: str) -> Any:
    """The Python module of a backend.

    Raises:
        InputError: no such backend; the known ones are listed.
        MissingExtraError: its package is not installed.
        EngineError: it is installed but does not load.
    """
    if backend not in FLAVOURS:
        raise InputError(f"unknown --backend {backend!r}: choose one of {', '.join(FLAVOURS)}")
    try:
        return importlib.import_module(FLAVOURS[backend])
    except (ImportError, OSError, RuntimeError) as exc:
        if isinstance(exc, ModuleNotFoundError) and exc.name == FLAVOURS[backend]:
            raise MissingExtraError(FLAVOURS[backend], EXTRAS[FLAVOURS[backend]]) from exc
        # A stub package, or a shared library that is missing.
        reason = (str(exc).strip().splitlines() or [type(exc).__name__])[0]
        raise EngineError(f"{FLAVOURS[backend]} is installed but does not load: {reason}") from exc


def find_gpu(backend: str) -> Gpu | None:
    """The GPU the engine is built on; None where there is none and `tensorrt-rtx` is asked, which needs none.

    Raises:
        DeviceError: `tensorrt` without a driver or GPU.
    """
    try:
        return require_gpu()
    except DeviceError as exc:
        if backend == "tensorrt-rtx":
            return None
        raise DeviceError(
            f"{backend} parses and builds on the GPU the engine is for, and there is none here "
            f"({str(exc).split(': ')[0]}): build on the device, or use --backend tensorrt-rtx"
        ) from exc


def here_to_build(backend: str) -> Here:
    """What an engine built now would be for. Raises as `load_trt` and `find_gpu`."""
    return Here(backend, str(load_trt(backend).__version__), find_gpu(backend))


class TrtLog:
    """What TensorRT complained about, newest last; it keeps one logger for the whole process."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        self.warnings: list[str] = []
        self.logger: Any = None

    @property
    def last(self) -> str:
        """The newest error, in one line."""
        return one_line(self.errors[-1]) if self.errors else "it gave no reason"

    def start(self) -> None:
        """Forget what was logged before something new."""
        self.errors, self.warnings = [], []


def one_line(text: str) -> str:
    """One line without TensorRT's own source positions."""
    return " ".join(re.sub(r"\.? In [\w:~]+ at /[^\s)]*", "", text).split())


@functools.cache
def trt_log(module: Any) -> TrtLog:
    """The process's log for a TensorRT module; whoever starts something new calls `start`."""
    log = TrtLog()
    severity = module.ILogger.Severity
    kept = {severity.INTERNAL_ERROR: "errors", severity.ERROR: "errors", severity.WARNING: "warnings"}

    class Logger(module.ILogger):
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            name = kept.get(severity)
            if name is not None:
                setattr(log, name, [*getattr(log, name)[-LOG_LINES:], message.strip()])

    log.logger = Logger()
    return log
