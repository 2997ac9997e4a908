"""Everything a build needs, checked and parsed before the minutes it may take; nothing is written here."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeface_export.build_config import check_hardware, configure
from edgeface_export.build_parse import parse_network
from edgeface_export.build_settings import BuildSettings, check_flavour
from edgeface_export.built_engine import BuiltEngine
from edgeface_export.layer_types import NetworkTypes
from edgeface_export.timing_cache import attach_cache
from edgeface_export.trt_module import TrtLog, find_gpu, load_trt, trt_log
from edgeface_export.workspace import default_workspace
from edgeface_runtime.backends.driver import Gpu
from edgeface_runtime.errors import EngineError
from edgeface_runtime.files import require_file

__all__ = ["PreparedBuild", "prepare_build"]


@dataclass(frozen=True)
class PreparedBuild:
    """A network parsed and configured, with all that must live until it is built."""

    module: Any
    log: TrtLog
    builder: Any
    network: Any
    parser: Any
    config: Any
    cache: Any
    content: bytes
    types: NetworkTypes
    gpu: Gpu | None
    owner: dict[str, str]
    """What a timing cache belongs to."""
    settings: BuildSettings
    plan: BuiltEngine
    """What would be written, as far as it is known before."""


def prepare_build(onnx: Path, backend: str = "tensorrt", settings: BuildSettings | None = None) -> PreparedBuild:
    """Check everything and parse the ONNX file `onnx`; nothing is written.

    Raises:
        InputError: a flag this flavour or GPU cannot honour, or a missing file.
        MissingExtraError: the backend's package is not installed.
        ArtefactError: `onnx` is not an ONNX graph, or not one of this project's recognisers.
        DeviceError: `tensorrt` without a GPU.
        EngineError: TensorRT refuses a node, or the graph is of another precision.
    """
    start = time.perf_counter()
    settings = settings or BuildSettings()
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
    cache, cache_note = None, None
    if settings.timing_cache is not None:
        cache, cache_note = attach_cache(config, settings.timing_cache, owner)
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
        timing_cache=cache_note,
        build_s=time.perf_counter() - start,
    )
    return PreparedBuild(
        module, log, builder, network, parser, config, cache, content, types, gpu, owner, settings, plan
    )


def _made(thing: Any, what: str, log: TrtLog) -> Any:
    if thing is None:
        raise EngineError(f"TensorRT could not make a {what}: {log.last}")
    return thing
