"""The cost of every compression ratio, side by side: counted where counting is exact, timed alternately where not.

With bundles, each bundle is a row; without, full-width networks with random weights are pruned and exported, and the
report says so. Accuracy stands in a row only where its bundle carries a measured one.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeface.workflows.benchmark_subjects import (
    Subject,
    bundle_subjects,
    parameter_curves,
    random_rows,
    random_subjects,
)
from edgeface.workflows.machine import describe_machine
from edgeface_runtime.backends import BACKENDS
from edgeface_runtime.backends.allow_cpu import Placed
from edgeface_runtime.errors import InputError

if TYPE_CHECKING:
    from edgeface_calibration.latency import Latency
    from edgeface_runtime.backends import Backend

__all__ = [
    "BenchmarkReport",
    "BenchmarkSettings",
    "Row",
    "Subject",
    "benchmark",
    "bundle_subjects",
    "parameter_curves",
    "random_rows",
    "random_subjects",
]

Note = Callable[[str], None]
MAX_BATCH = 1024
"""Faces in one call: beyond it memory is measured, not speed."""


@dataclass(frozen=True)
class BenchmarkSettings:
    """How to measure."""

    backend: str = "onnxruntime"
    """Key in BACKENDS."""
    device: str = "cpu"
    """cpu or cuda."""
    threads: int = 1
    """Threads of the backend's kernels (CPU)."""
    batches: tuple[int, ...] = (1, 8, 32)
    """Batch sizes: latency is reported for 1, throughput for the others."""
    warmup: int = 5
    """Untimed rounds before the timed ones."""
    runs: int = 40
    """Timed rounds at batch 1; a batch of n gets runs / n of them, at least 5."""
    precision: str = "fp32"
    """Which of a bundle's models; several, joined by commas, are a row each."""
    fallback: str | None = None
    """Why this is not the backend and device that were asked for; None where it is."""
    asked: str = ""
    """What was asked for then, such as `tensorrt on cuda`."""
    no_build: bool = False
    """Refuse where a bundle has no engine for this machine, instead of building one."""

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise InputError(f"unknown --backend {self.backend!r}: choose one of {', '.join(BACKENDS)}")
        if not self.batches or min(self.batches) < 1:
            raise InputError(f"--batch takes positive sizes such as 1,8,32, got {self.batches}")
        if max(self.batches) > MAX_BATCH:
            raise InputError(f"--batch must be at most {MAX_BATCH}, got {max(self.batches)}")
        if self.runs < 1 or self.warmup < 0 or self.threads < 0:
            raise InputError("--runs must be at least 1, --warmup and --threads at least 0")
        if not self.precisions or len(set(self.precisions)) < len(self.precisions):
            raise InputError(f"--precision takes each precision once, such as fp32,int8, got {self.precision!r}")

    @property
    def precisions(self) -> tuple[str, ...]:
        """`precision`, taken apart."""
        return tuple(part.strip() for part in self.precision.split(",") if part.strip())


@dataclass(frozen=True)
class Row:
    """One line of the report."""

    label: str
    requested: float
    achieved: float
    parameters: int
    macs: int
    size_bytes: int
    latency_ms: dict[str, float]
    """p50, p90, p99 and interquartile range at batch 1; empty if 1 is not among the batches."""
    throughput: dict[str, float]
    """Batch size -> faces a second, from the median."""
    speedup: float | None
    """Median latency of the first row over this row's, at the smallest batch."""
    not_faster: bool
    """Not faster than the row before it of the same precision, though it has fewer filters."""
    accuracy: tuple[dict[str, Any], ...]
    """Recorded in the bundle, each with its protocol."""
    name: str = ""
    """As the subject's, like the next four."""
    precision: str = ""
    masking: str = "none"
    method: str = ""
    filters: int | None = None


@dataclass(frozen=True)
class BenchmarkReport:
    """Everything measured and how."""

    rows: tuple[Row, ...]
    weights: str
    """random, or trained."""
    settings: BenchmarkSettings
    ran_on: dict[str, Any]
    """What the backend said it really ran on."""
    machine: dict[str, str | int]
    caveat: str = ""
    """What a reader must know of these weights."""
    parameters: dict[str, list[tuple[float, int]]] = field(default_factory=dict)
    """Curves of figure 6 beyond the rows: name -> (ratio, parameters)."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def benchmark(
    subjects: Sequence[Subject],
    settings: BenchmarkSettings,
    *,
    weights: str,
    caveat: str = "",
    note: Note = lambda _: None,
) -> BenchmarkReport:
    """Measure all subjects alternately in this process.

    Raises:
        InputError: nothing to measure, or a backend or model that cannot be opened.
        DeviceError: the device is not there.
    """
    from edgeface_runtime.backends import open_backend

    if not subjects:
        raise InputError("nothing to measure: give bundles or --ratios")
    with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="edgeface-") as work:
        backends: list[Backend] = []
        for subject in subjects:
            path = _compiled(subject, replace(settings, precision=_precision(subject, settings)), Path(work), note)
            backends.append(
                stack.enter_context(
                    open_backend(settings.backend, path, device=settings.device, threads=settings.threads)
                )
            )
        timings = {}
        for batch in settings.batches:
            note(f"timing batch {batch}")
            timings[batch] = _time(backends, [subject.size for subject in subjects], batch, settings)
        rows = tuple(
            _row(subject, index, timings, _precision(subject, settings)) for index, subject in enumerate(subjects)
        )
        rows = tuple(replace(row, not_faster=_not_faster(rows[:index], row)) for index, row in enumerate(rows))
        placed = Placed(settings.backend, settings.device, settings.asked, settings.fallback)
        ran_on = {"precision": settings.precision, **backends[0].describe(), **placed.facts()}
        return BenchmarkReport(rows, weights, settings, ran_on, describe_machine(), caveat)


def _precision(subject: Subject, settings: BenchmarkSettings) -> str:
    return subject.precision or settings.precision


def _compiled(subject: Subject, settings: BenchmarkSettings, work: Path, note: Note) -> Path:
    """The file the backend opens: the ONNX itself, or an engine compiled from it."""
    if BACKENDS[settings.backend].file == "onnx":
        return subject.model
    if subject.bundle is not None and (kept := _kept_engine(subject, settings)) is not None:
        note(f"{subject.label}: engine {kept}")
        return kept
    from edgeface_export.build import BuildSettings, build_engine

    note(f"building an engine for {subject.label}")
    out = work / f"{subject.model.stem}.engine"
    wanted = BuildSettings(precision=settings.precision, max_batch=max(settings.batches))
    build_engine(subject.model, out, settings.backend, wanted)
    return out


def _kept_engine(subject: Subject, settings: BenchmarkSettings) -> Path | None:
    """The engine kept for this machine, if it takes the largest batch in one piece; as it is where none is built."""
    from edgeface_runtime.backends.tensorrt import look_here
    from edgeface_runtime.engine_check import build_command
    from edgeface_runtime.engine_place import find_engine
    from edgeface_runtime.errors import ArtefactError, EngineError
    from edgeface_runtime.files import sha256_file
    from edgeface_runtime.signature import required_key

    assert subject.bundle is not None
    found = look_here(settings.backend, settings.device)
    command = build_command(subject.bundle, settings.backend, settings.precision, found.gpu.index)
    again = f"build it with {command} --max-batch {max(settings.batches)}, or leave --no-build out"
    try:
        kept = find_engine(
            subject.bundle, sha256_file(subject.model), settings.precision, found.here, again, required_key()
        )
    except (ArtefactError, EngineError):
        if settings.no_build:
            raise
        return None
    return kept.path if settings.no_build or kept.sidecar.profile.max_batch >= max(settings.batches) else None


def _time(
    backends: Sequence[Backend], sizes: Sequence[tuple[int, int]], batch: int, settings: BenchmarkSettings
) -> list[Latency]:
    from edgeface_calibration.latency import time_alternating

    generator = np.random.default_rng(0)
    faces = {size: generator.uniform(-1, 1, (batch, 3, *size)).astype(np.float32) for size in dict.fromkeys(sizes)}
    calls = {str(index): _call(backend, faces[sizes[index]]) for index, backend in enumerate(backends)}
    runs = max(5, settings.runs // batch)
    measured = time_alternating(calls, warmup=settings.warmup if batch == 1 else min(settings.warmup, 2), runs=runs)
    return [measured[str(index)] for index in range(len(backends))]


def _call(backend: Backend, faces: Any) -> Callable[[], object]:
    return lambda: backend.run(faces)


def _row(subject: Subject, index: int, timings: dict[int, list[Latency]], precision: str) -> Row:
    smallest = min(timings)
    first, own = timings[smallest][0], timings[smallest][index]
    single = timings.get(1)
    return Row(
        subject.label,
        subject.requested,
        subject.achieved,
        subject.parameters,
        subject.macs,
        subject.model.stat().st_size,
        {}
        if single is None
        else {name: round(getattr(single[index], f"{name}_ms"), 3) for name in ("p50", "p90", "p99", "iqr")},
        {str(batch): round(batch * 1000 / found[index].p50_ms, 1) for batch, found in timings.items() if batch > 1},
        round(first.p50_ms / own.p50_ms, 3),
        False,
        subject.accuracy,
        subject.name,
        precision,
        subject.masking,
        subject.method,
        subject.filters,
    )


def _not_faster(earlier: Sequence[Row], row: Row) -> bool:
    same = [other for other in earlier if other.precision == row.precision]
    return bool(same) and row.requested > same[-1].requested and (row.speedup or 0) <= (same[-1].speedup or 0)
