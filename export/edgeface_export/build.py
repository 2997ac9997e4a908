"""ONNX -> TensorRT engine with a sidecar, through `tensorrt` or `tensorrt_rtx`, whichever is asked for.

The precision is the graph's own: the network is strongly typed, and nothing is silently built in FP32. TensorRT-RTX
builds without any GPU; TensorRT needs the one the engine is for. Needs neither torch nor onnx.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeface_export.trt_module import TrtLog, find_gpu, load_trt, trt_log
from edgeface_runtime.bundle import EXPORTED
from edgeface_runtime.engine import Profile, Sidecar, write_sidecar
from edgeface_runtime.errors import ArtefactError, EngineError, InputError
from edgeface_runtime.files import require_file, sha256_file, write_bytes

__all__ = ["BuiltEngine", "Progress", "build_engine"]

Progress = Callable[[str, int, int], None]
"""Called with a phase's name, steps done and steps in all."""

INPUT = "input"
PRECISIONS = ("fp32", "fp16", "int8")
TYPES = {"FLOAT": "fp32", "HALF": "fp16", "INT8": "int8"}
"""TensorRT's name of a type -> ours; others keep their own in lower case."""
NOT_READ_BACK = "counted in the parsed network, not read back from the engine"


@dataclass(frozen=True)
class BuiltEngine(Sidecar):
    """A sidecar with what only the build knows; readers of the sidecar pass over these fields."""

    layers: Mapping[str, int] = field(default_factory=dict)
    """Type of a layer's output -> layers, constants left out."""
    layers_note: str = NOT_READ_BACK
    note: str | None = None
    """Such as: built without a GPU."""
    workspace_mib: int | None = None
    """Limit of the build's scratch memory, MiB; None: TensorRT's own."""
    build_s: float = 0.0
    """Time parsing and building took, seconds."""


def build_engine(
    onnx: Path,
    out: Path,
    backend: str = "tensorrt",
    *,
    precision: str = "fp16",
    max_batch: int = 8,
    opt_batch: int = 1,
    workspace_mib: int | None = None,
    progress: Progress | None = None,
) -> BuiltEngine:
    """Build the ONNX file `onnx` into the engine `out` and its sidecar, both written atomically.

    Args:
        precision: what the graph must be; one of another precision is refused.
        max_batch: largest batch the engine takes; 1 is the smallest.
        opt_batch: batch it is tuned for.

    Raises:
        InputError: a bad flag, a missing file, or `out` cannot be written.
        MissingExtraError: the backend's package is not installed.
        ArtefactError: `onnx` is not an ONNX graph, or not one of this project's recognisers.
        DeviceError: `tensorrt` without a GPU.
        EngineError: TensorRT refuses a node, the graph is of another precision, or the build fails.
    """
    _check_flags(precision, max_batch, opt_batch, workspace_mib)
    require_file(onnx, "ONNX file")
    module = load_trt(backend)
    gpu = find_gpu(backend)
    start = time.perf_counter()
    log = trt_log(module)
    log.errors = []
    builder = _made(module.Builder(log.logger), "builder", log)
    # Required by TensorRT 10, the only kind there is in 11.
    strongly_typed = 1 << int(module.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
    network = _made(builder.create_network(strongly_typed), "network", log)
    content = onnx.read_bytes()
    _parse(module, network, log, onnx, content)
    layers = _layer_types(module, network)
    _check_network(onnx, network, layers, precision)
    config = _configure(module, builder, network, (1, opt_batch, max_batch), workspace_mib)
    plan = _build(module, builder, network, config, progress, log, onnx)
    build_s = time.perf_counter() - start
    write_bytes(out, plan)
    built = BuiltEngine(
        flavour=backend,
        tensorrt_version=str(module.__version__),
        onnx_sha256=sha256_file(onnx),
        engine_sha256=sha256_file(out),
        precision=precision,
        profile=Profile(1, opt_batch, max_batch),
        gpu=gpu.name if gpu else None,
        compute_capability=gpu.compute_capability if gpu else None,
        driver=gpu.driver if gpu else None,
        layers=layers,
        note=None if gpu else "built without a GPU",
        workspace_mib=workspace_mib,
        build_s=round(build_s, 3),
    )
    write_sidecar(out, built)
    return built


def _check_flags(precision: str, max_batch: int, opt_batch: int, workspace_mib: int | None) -> None:
    if precision not in PRECISIONS:
        raise InputError(f"unknown --precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
    if max_batch < 1:
        raise InputError(f"--max-batch must be at least 1, got {max_batch}")
    if not 1 <= opt_batch <= max_batch:
        raise InputError(f"--opt-batch must be 1 to --max-batch ({max_batch}), got {opt_batch}")
    if workspace_mib is not None and workspace_mib < 1:
        raise InputError(f"--workspace must be at least 1, got {workspace_mib}")


def _parse(module: Any, network: Any, log: TrtLog, onnx: Path, content: bytes) -> None:
    parser = module.OnnxParser(network, log.logger)
    if not parser.parse(content):
        errors = [parser.get_error(index) for index in range(parser.num_errors)]
        unreadable = {"MODEL_DESERIALIZE_FAILED", "INVALID_GRAPH"}
        if errors and errors[0].code().name in unreadable and not errors[0].node_name():
            raise ArtefactError(f"{onnx} is not a readable ONNX graph: damaged or truncated: export it again")
        raise EngineError(f"{onnx.name}: TensorRT refuses {_describe(errors, log)}")
    if network.num_inputs == 0 or network.num_outputs == 0:
        raise ArtefactError(f"{onnx} is not an ONNX graph: it has no inputs or outputs")


def _describe(errors: list[Any], log: TrtLog) -> str:
    if not errors:
        return f"it: {_last(log)}"
    first = errors[0]
    where = f"node {first.node_name()} ({first.node_operator()})" if first.node_name() else "it"
    # Where building a layer fails, the parser only says so; the builder's own line before it has the reason.
    reasons = [line for line in log.errors if "ModelImporter" not in line]
    reason = _one_line(reasons[0] if reasons else first.desc())
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return f"{where}: {reason}{more}"


def _layer_types(module: Any, network: Any) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type != module.LayerType.CONSTANT and layer.num_outputs:
            name = layer.get_output(0).dtype.name
            counts[TYPES.get(name, name.lower())] += 1
            if layer.type == module.LayerType.QUANTIZE:
                counts["quantize"] += 1
    return dict(sorted(counts.items()))


def _check_network(onnx: Path, network: Any, layers: Mapping[str, int], precision: str) -> None:
    names = [network.get_input(index).name for index in range(network.num_inputs)]
    if names != [INPUT]:
        raise ArtefactError(f"{onnx}: expected one input named {INPUT}, found {', '.join(names)}: export it again")
    shape = tuple(network.get_input(0).shape)
    if len(shape) != 4 or shape[0] != -1 or min(shape[1:]) < 1:
        raise ArtefactError(f"{onnx}: its input is {shape}, not (batch, 3, H, W) with a free batch: export it again")
    found = "int8" if "quantize" in layers else "fp16" if layers.get("fp16") else "fp32"
    if found != precision:
        mend = f"export it with --precision {precision}" if precision in EXPORTED else f"give --precision {found}"
        raise EngineError(
            f"{onnx.name} is an {found} graph (layers: {', '.join(f'{n} {t}' for t, n in layers.items())}), "
            f"{precision} was asked for: {mend}"
        )


def _configure(
    module: Any, builder: Any, network: Any, batches: tuple[int, int, int], workspace_mib: int | None
) -> Any:
    config = builder.create_builder_config()
    if workspace_mib is not None:
        config.set_memory_pool_limit(module.MemoryPoolType.WORKSPACE, workspace_mib << 20)
    profile = builder.create_optimization_profile()
    sides = tuple(network.get_input(0).shape)[1:]
    profile.set_shape(INPUT, *[(batch, *sides) for batch in batches])
    if config.add_optimization_profile(profile) < 0:
        raise EngineError(f"TensorRT refuses the optimisation profile {batches}: choose a smaller --max-batch")
    return config


def _build(
    module: Any, builder: Any, network: Any, config: Any, progress: Progress | None, log: TrtLog, onnx: Path
) -> bytes:
    stopped: list[BaseException] = []
    if progress is not None and hasattr(module, "IProgressMonitor"):
        config.progress_monitor = _monitor(module, progress, stopped)
    plan = builder.build_serialized_network(network, config)
    if stopped:
        raise stopped[0]
    if plan is None:
        raise EngineError(f"{onnx.name}: TensorRT could not build an engine: {_last(log)}")
    return bytes(plan)


def _monitor(module: Any, progress: Progress, stopped: list[BaseException]) -> Any:
    """Passes steps on; an exception in `progress` (Ctrl-C too) stops the build and is raised after it."""

    class Monitor(module.IProgressMonitor):
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if not stopped:
                try:
                    progress(phase_name, step + 1, self.steps.get(phase_name, step + 1))
                except BaseException as exc:  # it must not unwind through TensorRT
                    stopped.append(exc)
            return not stopped

        def phase_finish(self, phase_name: str) -> None:
            self.steps.pop(phase_name, None)

    return Monitor()


def _made(thing: Any, what: str, log: TrtLog) -> Any:
    if thing is None:
        raise EngineError(f"TensorRT could not make a {what}: {_last(log)}")
    return thing


def _last(log: TrtLog) -> str:
    return _one_line(log.errors[-1]) if log.errors else "it gave no reason"


def _one_line(text: str) -> str:
    """One line without TensorRT's own source positions."""
    return " ".join(re.sub(r"\.? In [\w:~]+ at /[^\s)]*", "", text).split())
