"""ONNX -> TensorRT engine with a sidecar, through `tensorrt` or `tensorrt_rtx`, whichever is asked for.

The precision is the graph's own: the network is strongly typed, and nothing is silently built in FP32. TensorRT-RTX
builds without any GPU; TensorRT needs the one the engine is for. Needs neither torch nor onnx.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from edgeface_export.build_config import check_hardware, configure
from edgeface_export.build_monitor import Progress, watch
from edgeface_export.build_parse import INPUT, parse_network
from edgeface_export.build_settings import BuildSettings, check_flavour
from edgeface_export.layer_inspect import LayerReport
from edgeface_export.layer_types import NetworkTypes
from edgeface_export.read_back import read_back
from edgeface_export.timing_cache import attach_cache, save_cache
from edgeface_export.trt_module import TrtLog, find_gpu, load_trt, trt_log
from edgeface_export.workspace import default_workspace, is_memory, memory_mend
from edgeface_runtime.backends.driver import Gpu
from edgeface_runtime.engine import Sidecar, write_sidecar
from edgeface_runtime.errors import EngineError
from edgeface_runtime.files import require_file, write_bytes

__all__ = ["BuildSettings", "BuiltEngine", "Progress", "build_engine", "plan_build"]

READ_BACK = "read back from the engine"
NO_GPU = "counted in the parsed network, not read back: no GPU"
NO_TYPES = "counted in the parsed network, not read back: the engine inspector names no types"
WIDER = 3
"""Names that stand in a note."""


@dataclass(frozen=True)
class BuiltEngine(Sidecar):
    """A sidecar with what only the build knows; readers of the sidecar pass over these fields."""

    layers: Mapping[str, int] = field(default_factory=dict)
    """Precision -> layers, constants left out."""
    layers_note: str = NO_GPU
    """Where that was read, and what to know about it."""
    fp32_layers: tuple[str, ...] = ()
    """Convolutions and matrix products that compute in FP32 though the engine is of another precision."""
    note: str | None = None
    """Such as: built without a GPU."""
    workspace_mib: int | None = None
    """Limit of scratch memory, MiB; None: TensorRT's own."""
    builder_level: int | None = None
    """How long TensorRT looked for fast kernels, 0 to 5."""
    timing_cache: str | None = None
    """new, read, or why it was replaced or not written; None: none was asked for."""
    build_s: float = 0.0
    """Time parsing and building took, seconds."""


@dataclass(frozen=True)
class Prepared:
    """A network parsed and configured, with all that must live until it is built."""

    module: Any
    log: TrtLog
    builder: Any
    network: Any
    parser: Any
    config: Any
    content: bytes
    types: NetworkTypes
    gpu: Gpu | None
    owner: dict[str, str]
    """What a timing cache belongs to."""
    plan: BuiltEngine
    """What would be written, as far as it is known before."""


def plan_build(onnx: Path, backend: str = "tensorrt", settings: BuildSettings | None = None) -> BuiltEngine:
    """Check and parse as `build_engine` does and tell what it would write, without an engine's hash; writes nothing.

    Raises:
        As `build_engine` does, for all that is known before TensorRT starts building.
    """
    return _prepare(onnx, backend, settings or BuildSettings()).plan


def build_engine(
    onnx: Path,
    out: Path,
    backend: str = "tensorrt",
    settings: BuildSettings | None = None,
    *,
    progress: Progress | None = None,
) -> BuiltEngine:
    """Build the ONNX file `onnx` into the engine `out` and its sidecar, both written atomically.

    Raises:
        InputError: a flag this flavour or GPU cannot honour, a missing file, or `out` cannot be written.
        MissingExtraError: the backend's package is not installed.
        ArtefactError: `onnx` is not an ONNX graph, or not one of this project's recognisers.
        DeviceError: `tensorrt` without a GPU.
        EngineError: TensorRT refuses a node, the build fails, or graph or engine are of another precision.
    """
    start = time.perf_counter()
    settings = settings or BuildSettings()
    prepared = _prepare(onnx, backend, settings)
    content = _build(prepared, settings, onnx.name, progress)
    report = None
    if prepared.gpu is not None:
        sides = tuple(prepared.network.get_input(0).shape)[1:]
        shape = (INPUT, (settings.opt_batch, *sides))
        report = read_back(
            prepared.module,
            prepared.log,
            content,
            shape,
            prepared.types,
            settings.precision,
            settings.version_compatible,
        )
    built = replace(
        prepared.plan,
        engine_sha256=hashlib.sha256(content).hexdigest(),
        build_s=round(time.perf_counter() - start, 3),
        **_read(report, prepared.gpu, settings.precision),
    )
    write_bytes(out, content)
    if settings.timing_cache is not None:
        failed = save_cache(prepared.config, settings.timing_cache, prepared.owner)
        if failed is not None:
            built = replace(built, timing_cache=f"{built.timing_cache}; not written: {failed}")
    write_sidecar(out, built)
    return built


def _prepare(onnx: Path, backend: str, settings: BuildSettings) -> Prepared:
    check_flavour(settings, backend)
    require_file(onnx, "ONNX file")
    module = load_trt(backend)
    gpu = find_gpu(backend)
    check_hardware(module, settings, gpu)
    log = trt_log(module)
    log.start()
    builder = _made(module.Builder(log.logger), "builder", log)
    # Required by TensorRT 10, the only kind there is in 11.
    strongly_typed = 1 << int(module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = _made(builder.create_network(strongly_typed), "network", log)
    content = onnx.read_bytes()
    parser, types = parse_network(module, network, log, onnx, content, settings.precision)
    workspace_mib = settings.workspace_mib or default_workspace(gpu)
    owner = {"TensorRT": str(module.__version__)} | ({"GPU": f"{gpu.name} ({gpu.compute_capability})"} if gpu else {})
    config = configure(module, builder, network, settings, workspace_mib)
    cache = attach_cache(config, settings.timing_cache, owner) if settings.timing_cache is not None else None
    plan = BuiltEngine(
        flavour=backend,
        tensorrt_version=str(module.__version__),
        onnx_sha256=hashlib.sha256(content).hexdigest(),
        engine_sha256="",
        precision=settings.precision,
        profile=settings.profile,
        gpu=gpu.name if gpu else None,
        compute_capability=gpu.compute_capability if gpu else None,
        driver=gpu.driver if gpu else None,
        version_compatible=settings.version_compatible,
        hardware_compatibility=settings.hardware_compatibility,
        layers=types.layers,
        fp32_layers=types.fp32 if settings.precision != "fp32" else (),
        note=None if gpu else "built without a GPU",
        workspace_mib=workspace_mib,
        builder_level=int(config.builder_optimization_level),
        timing_cache=cache,
    )
    return Prepared(module, log, builder, network, parser, config, content, types, gpu, owner, plan)


def _build(prepared: Prepared, settings: BuildSettings, name: str, progress: Progress | None) -> bytes:
    stopped: list[BaseException] = []
    log = prepared.log
    log.start()
    if progress is not None:
        watch(prepared.module, prepared.config, progress, stopped)
    content = prepared.builder.build_serialized_network(prepared.network, prepared.config)
    if stopped:
        raise stopped[0]
    if content is None:
        raise EngineError(f"{name}: TensorRT could not build an engine: {_why(log, prepared.plan, settings)}")
    return bytes(content)


def _why(log: TrtLog, plan: BuiltEngine, settings: BuildSettings) -> str:
    """TensorRT's reason, with what to do where that is known."""
    if any(is_memory(line) for line in log.errors):
        return f"{log.last}: {memory_mend(plan.workspace_mib, settings.max_batch)}"
    if settings.version_compatible and "libnvinfer_lean" in log.last:
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


def _made(thing: Any, what: str, log: TrtLog) -> Any:
    if thing is None:
        raise EngineError(f"TensorRT could not make a {what}: {log.last}")
    return thing
