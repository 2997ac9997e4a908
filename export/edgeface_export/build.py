"""ONNX -> TensorRT engine with a sidecar, through `tensorrt` or `tensorrt_rtx`, whichever is asked for.

The precision is the graph's own: the network is strongly typed, and nothing is silently built in FP32. TensorRT-RTX
builds without any GPU; TensorRT needs the one the engine is for. Needs neither torch nor onnx.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeface_export.build_monitor import Progress, stops_kept, watch
from edgeface_export.build_parse import INPUT
from edgeface_export.build_prepare import PreparedBuild, prepare_build
from edgeface_export.build_settings import BuildSettings
from edgeface_export.built_engine import NO_GPU, NO_TYPES, READ_BACK, BuiltEngine
from edgeface_export.layer_inspect import LayerReport
from edgeface_export.read_back import read_back
from edgeface_export.timing_cache import save_cache
from edgeface_export.trt_module import one_line
from edgeface_export.workspace import is_memory, memory_mend
from edgeface_runtime.backends.driver import Gpu
from edgeface_runtime.engine import write_sidecar
from edgeface_runtime.errors import EngineError
from edgeface_runtime.files import write_bytes

__all__ = [
    "BuildSettings",
    "BuiltEngine",
    "PreparedBuild",
    "Progress",
    "build_engine",
    "prepare_build",
    "run_build",
]

WIDER = 3
"""Names that stand in a note."""


def build_engine(
    onnx: Path,
    out: Path,
    backend: str = "tensorrt",
    settings: BuildSettings | None = None,
    *,
    progress: Progress | None = None,
) -> BuiltEngine:
    """Build the ONNX file `onnx` into the engine `out` and its sidecar. Raises as its two halves do."""
    return run_build(prepare_build(onnx, backend, settings), out, progress)


def run_build(prepared: PreparedBuild, out: Path, progress: Progress | None = None) -> BuiltEngine:
    """Build what was prepared, judge its layers where there is a GPU, and write the engine `out` and its sidecar.

    Both are written atomically, and only when all went well.

    Raises:
        InputError: `out` cannot be written.
        EngineError: the build fails, or the engine does not load or is not of the precision asked for.
    """
    start = time.perf_counter()
    settings = prepared.settings
    content = _build(prepared, progress)
    report = None
    if prepared.gpu is not None:
        sides = tuple(prepared.network.get_input(0).shape)[1:]
        shape = (INPUT, (settings.opt_batch, *sides))
        allow = settings.version_compatible
        report = read_back(prepared.module, prepared.log, content, shape, prepared.types, settings.precision, allow)
    built = replace(
        prepared.plan,
        engine_sha256=hashlib.sha256(content).hexdigest(),
        build_s=round(prepared.plan.build_s + time.perf_counter() - start, 3),
        **_read(report, prepared.gpu, settings.precision),
    )
    write_bytes(out, content)
    if settings.timing_cache is not None:
        failed = save_cache(prepared.config, settings.timing_cache, prepared.owner)
        if failed is not None:
            built = replace(built, timing_cache=f"{built.timing_cache}; not written: {failed}")
    write_sidecar(out, built)
    return built


def _build(prepared: PreparedBuild, progress: Progress | None) -> bytes:
    stopped: list[BaseException] = []
    log = prepared.log
    log.start()
    watch(prepared.module, prepared.config, progress or (lambda phase, done, total: None), stopped)
    try:
        with stops_kept(stopped):
            content = prepared.builder.build_serialized_network(prepared.network, prepared.config)
    except MemoryError as exc:
        mend = memory_mend(prepared.plan.workspace_mib, prepared.plan.profile.max_batch)
        raise EngineError(f"TensorRT could not build an engine: {mend}") from exc
    if stopped:
        raise stopped[0]
    if content is None:
        raise EngineError(f"TensorRT could not build an engine: {_why(prepared)}")
    return bytes(content)


def _why(prepared: PreparedBuild) -> str:
    """TensorRT's reason, with what to do where that is known."""
    log, plan = prepared.log, prepared.plan
    short = [line for line in log.errors if is_memory(line)]
    if short:
        return f"{one_line(short[-1])}: {memory_mend(plan.workspace_mib, plan.profile.max_batch)}"
    if plan.version_compatible and "libnvinfer_lean" in log.last:
        return f"{log.last}: install TensorRT's lean runtime, or leave out --version-compatible"
    return log.last


def _read(report: LayerReport | None, gpu: Gpu | None, precision: str) -> dict[str, Any]:
    """Fields of the sidecar about the layers: the engine's own, where they could be read."""
    if report is None:
        return {"layers_note": NO_TYPES if gpu else NO_GPU}
    note = READ_BACK
    if report.wider:
        more = f" and {len(report.wider) - WIDER} more" if len(report.wider) > WIDER else ""
        note += f"; INT8 in the graph and not in the engine: {', '.join(report.wider[:WIDER])}{more}"
    return {
        "layers": report.layers,
        "layers_note": note,
        "fp32_layers": report.fp32 if precision != "fp32" else (),
    }
