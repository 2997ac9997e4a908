"""What a report holds: the benchmark, accuracies of this run, Pareto fronts, saliency, and what was left out."""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeface.workflows.benchmark import BenchmarkReport, Subject
from edgeface.workflows.benchmark_curves import recorded
from edgeface.workflows.report.faces import SaliencyResult, gather_saliency
from edgeface.workflows.report.judge import Judged, PairTest, judge
from edgeface.workflows.report.pareto import ParetoPoint, mark_front

if TYPE_CHECKING:
    from edgeface_runtime.engine_open import EngineBuilder

__all__ = ["Report", "make_report", "pareto_points"]

PACKAGES = ("numpy", "opencv-python", "opencv-python-headless", "onnxruntime", "onnxruntime-gpu", "tensorrt", "torch")
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Report:
    """All that the page shows; `to_dict` is `benchmark.json`."""

    benchmark: BenchmarkReport
    made: str
    """Time of the end, ISO 8601, UTC."""
    versions: dict[str, str]
    """Of edgeface, Python and what is installed of PACKAGES."""
    judged: tuple[Judged, ...]
    """Every row under every condition; empty where no pairs were given."""
    pareto: tuple[ParetoPoint, ...]
    saliency: tuple[SaliencyResult, ...]
    notes: tuple[str, ...]
    """What was left out, fell back or is in doubt, a line each."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data, the benchmark's own fields first, pictures left out."""
        saliency = [asdict(entry) for entry in self.saliency]
        for entry in saliency:
            for face in entry["faces"]:
                del face["picture"]
                for view in face["views"]:
                    del view["picture"]
        return {
            **self.benchmark.to_dict(),
            "made": self.made,
            "versions": self.versions,
            "measured": [entry.to_dict() for entry in self.judged],
            "pareto": [asdict(point) for point in self.pareto],
            "saliency": saliency,
            "notes": list(self.notes),
        }


def make_report(
    benchmark: BenchmarkReport,
    subjects: Sequence[Subject],
    test: PairTest | None,
    faces: Path | None,
    *,
    notes: Sequence[str] = (),
    builder: EngineBuilder | None = None,
    progress: Progress = lambda title, done, total: None,
) -> Report:
    """Judge the rows of a benchmark, find the Pareto fronts, look at faces.

    Args:
        subjects: of the benchmark's rows, in their order.
        test: pairs to judge bundles on.
        faces: identity folders for the saliency; None: drawn ones.
        notes: what is to be said already.

    Raises:
        InputError: pictures that are no crops of a network's size, or no pair left.
    """
    said = [*notes]
    if benchmark.ran_on.get("fallback"):
        said.append(f"asked for {benchmark.settings.asked}, ran on the CPU: {benchmark.ran_on['fallback']}")
    judged = [] if test is None else judge(subjects, benchmark.settings, test, builder=builder, progress=progress)
    said += _test_notes(benchmark, judged)
    pareto, pareto_notes = pareto_points(benchmark, judged)
    saliency: list[SaliencyResult] = []
    if benchmark.weights == "random":
        said.append("random weights: no accuracy, no Pareto front, no saliency; the costs hold for any weights")
    else:
        said += pareto_notes
        saliency = gather_saliency(subjects, faces, note=said.append, progress=progress)
    made = datetime.now(timezone.utc).isoformat(timespec="seconds")
    return Report(benchmark, made, _versions(), tuple(judged), tuple(pareto), tuple(saliency), tuple(said))


def pareto_points(report: BenchmarkReport, judged: Sequence[Judged]) -> tuple[list[ParetoPoint], list[str]]:
    """Accuracy and latency of every row by protocol, the front marked; and what is missing there.

    Accuracies are those of this run, else those recorded in bundles, which count for FP32 rows only: that is what
    they were measured with.
    """
    if not all(row.latency_ms for row in report.rows):
        return [], ["no Pareto front: it needs the latency at batch 1, which was not asked for"]
    notes = []
    found: dict[str, list[tuple[int, float, tuple[float, float] | None]]] = {}
    if judged:
        for entry in judged:
            bounds = (entry.result.interval.low, entry.result.interval.high)
            found.setdefault(entry.result.protocol, []).append((entry.row, entry.result.accuracy, bounds))
    else:
        for protocol, values in recorded(report).items():
            fp32 = {row: value for row, value in values.items() if report.rows[row].precision == "fp32"}
            found[protocol] = [(row, value, None) for row, value in fp32.items()]
        if any(row.accuracy and row.precision != "fp32" for row in report.rows):
            notes.append("recorded accuracies are of FP32: rows of other precisions are on no Pareto front")
        if not found:
            notes.append("no Pareto front: no bundle carries an accuracy (give --images and --pairs to measure it)")
    points = []
    for protocol, entries in found.items():
        places = [(report.rows[row].latency_ms["p50"], accuracy) for row, accuracy, _ in entries]
        for (row, accuracy, interval), (latency_ms, _), front in zip(
            entries, places, mark_front(places), strict=True
        ):
            points.append(ParetoPoint(row, protocol, latency_ms, accuracy, interval, front))
    return points, notes


def _test_notes(report: BenchmarkReport, judged: Sequence[Judged]) -> list[str]:
    """What the pairs lacked."""
    notes = []
    for entry in judged:
        result, where = entry.result, f"{report.rows[entry.row].label}, {entry.condition}"
        if result.missing:
            notes.append(f"{where}: {result.missing} pairs left out, first missing: {result.missing_first[0]}")
        if result.left_out:
            name, reason = next(iter(result.failures.items()))
            notes.append(f"{where}: {result.left_out} pairs left out, pictures of no use: {name} first ({reason})")
        notes += [f"{where}: {note}" for note in result.fold_notes]
    return notes


def _versions() -> dict[str, str]:
    from edgeface import __version__

    found = {"edgeface": __version__, "Python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
