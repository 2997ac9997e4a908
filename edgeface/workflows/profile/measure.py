"""Timing the graphs of a folder on this device. Needs a backend alone: neither torch nor onnx."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeface.workflows.machine import describe_machine
from edgeface.workflows.profile.blocks import Blocks
from edgeface_calibration.device_profile import Check, Conditions, DeviceProfile, UnitCost, fit_scale
from edgeface_calibration.latency import CLOCKS, Latency, time_alternating
from edgeface_runtime.backends import backend_kind, check_threads, open_backend, runs_on_cpu
from edgeface_runtime.errors import InputError

if TYPE_CHECKING:
    from edgeface_runtime.backends import Backend

__all__ = ["ProfileSettings", "measure_blocks"]

Progress = Callable[[str, int, int], None]
WARMUP = 3


@dataclass(frozen=True)
class ProfileSettings:
    """How to measure."""

    backend: str = "onnxruntime"
    """Key in BACKENDS."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: int = 1
    """CPU threads; 0 leaves it to the backend."""
    batch: int = 1
    """Faces in one call."""
    rounds: int = 30
    """How often every graph is timed."""
    clock: str = "wall"
    """wall, or cpu: the time that the one thread computed, on a machine that others use as well."""

    def __post_init__(self) -> None:
        on_cpu = runs_on_cpu(self.backend, self.device)
        check_threads(self.threads)
        for flag, value, least in (("--batch", self.batch, 1), ("--rounds", self.rounds, 3)):
            if value < least:
                raise InputError(f"{flag} must be at least {least}, got {value}")
        if self.clock not in CLOCKS:
            raise InputError(f"--clock must be one of {', '.join(CLOCKS)}, got {self.clock!r}")
        if self.clock == "cpu" and not (on_cpu and self.threads == 1):
            raise InputError("--clock cpu is the time of one thread: it needs the CPU and --threads 1")


def measure_blocks(
    folder: Path, blocks: Blocks, settings: ProfileSettings, progress: Progress = lambda *_: None
) -> DeviceProfile:
    """Time all graphs in turn, then the whole networks, and see how well units add up.

    Raises:
        ArtefactError: a graph that cannot be opened.
        DeviceError: not the device that was asked for, or an engine that cannot be built.
    """
    sizes = {file: unit.size for unit in blocks.units for file in (*unit.files, *unit.baselines)}
    alone, ran_on = _time(folder, sizes, settings, blocks.precision, "units", progress)
    costs = {unit.key: _cost(unit.axes, unit.files, unit.baselines, alone) for unit in blocks.units}
    shapes = {net.file: net.size for net in blocks.networks}
    whole, _ = _time(folder, shapes, settings, blocks.precision, "networks", progress)
    conditions = Conditions(
        settings.backend, str(ran_on["device"]), blocks.precision, settings.threads, settings.batch
    )
    bare = DeviceProfile(blocks.network, conditions, costs)
    fitted = [net for net in blocks.networks if net.fitted]
    factor, offset_ms = fit_scale([bare.sum_ms(n.parts) for n in fitted], [whole[n.file].p50_ms for n in fitted])
    checks = tuple(
        Check(
            net.label,
            factor * bare.sum_ms(net.parts) + offset_ms,
            whole[net.file].p50_ms,
            whole[net.file].iqr_ms,
            net.fitted,
        )
        for net in blocks.networks
    )
    return DeviceProfile(
        blocks.network, conditions, costs, factor, offset_ms, checks, describe_machine(), ran_on, settings.clock
    )


def _cost(
    axes: tuple[tuple[int, ...], ...],
    files: tuple[str, ...],
    baselines: tuple[str, ...],
    alone: Mapping[str, Latency],
) -> UnitCost:
    own = [max(alone[file].p50_ms - alone[base].p50_ms, 0.0) for file, base in zip(files, baselines, strict=True)]
    return UnitCost(axes, tuple(own), tuple(alone[file].iqr_ms for file in files))


def _time(
    folder: Path,
    sizes: Mapping[str, tuple[int, int]],
    settings: ProfileSettings,
    precision: str,
    what: str,
    progress: Progress,
) -> tuple[dict[str, Latency], dict[str, Any]]:
    """Latency of every graph, all open at once and timed in turn; and what the backend says it ran on."""
    import tempfile

    rng = np.random.default_rng(0)
    faces = {size: rng.uniform(-1, 1, (settings.batch, 3, *size)).astype(np.float32) for size in set(sizes.values())}
    with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="edgeface-") as work:
        calls: dict[str, Callable[[], object]] = {}
        backend: Backend | None = None
        for done, (file, size) in enumerate(sizes.items()):
            path = _compiled(folder / file, Path(work), settings, precision)
            backend = stack.enter_context(open_backend(settings.backend, path, settings.device, settings.threads))
            calls[file] = _call(backend, faces[size])
            progress(f"loading {what}", done + 1, len(sizes))
        assert backend is not None
        found = time_alternating(
            calls,
            warmup=WARMUP,
            runs=settings.rounds,
            clock_ns=CLOCKS[settings.clock],
            progress=lambda done, total: progress(f"timing {what}", done, total),
        )
        return found, backend.describe()


def _compiled(graph: Path, work: Path, settings: ProfileSettings, precision: str) -> Path:
    """The file the backend opens: the graph itself, or an engine compiled from it."""
    if backend_kind(settings.backend).file == "onnx":
        return graph
    from edgeface_export.build import BuildSettings, build_engine

    out = work / f"{graph.stem}.engine"
    build_engine(graph, out, settings.backend, BuildSettings(precision=precision, max_batch=settings.batch))
    return out


def _call(backend: Backend, faces: Any) -> Callable[[], object]:
    return lambda: backend.run(faces)
