"""The benchmark's report as files: JSON, Markdown, and plots in the form of the paper's figures 6 and 7."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeface.workflows.benchmark import BenchmarkReport, Row
from edgeface.workflows.benchmark_curves import error_growth, parameter_curves_of, speed_growth
from edgeface.workflows.report_parts import new_figure, save_figure, table
from edgeface_runtime.files import write_bytes, write_json

__all__ = ["Sheet", "accuracy_sizes", "headline", "sheets", "write_report"]


NOISY = 0.2
"""A spread of the times, as a share of their median, that makes a row doubtful."""


@dataclass(frozen=True)
class Sheet:
    """A table, ready to be printed or written."""

    title: str
    columns: list[str]
    rows: list[list[str]]


def sheets(report: BenchmarkReport) -> list[Sheet]:
    """Cost and speed of every row; and their accuracies, where there are any."""
    batches = [f"{batch}: faces/s" for batch in report.rows[0].throughput]
    speed = ["ratio", "achieved", "params M", "MACs M", "MB", "p50 ms", "p90", "p99", "speed-up", *batches, ""]
    found = [Sheet("cost and speed", speed, [_cost(row) for row in report.rows])]
    protocols = _protocols(report)
    if protocols:
        rows = [[row.label, *_accuracies(row, protocols)] for row in report.rows]
        found.append(Sheet("accuracy, %", ["ratio", *protocols], rows))
    return found


def headline(report: BenchmarkReport) -> list[str]:
    """How it was measured, in words."""
    settings, ran, machine = report.settings, report.ran_on, report.machine
    kind = "random weights: cost only, no accuracy" if report.weights == "random" else "trained weights"
    shown = {key: value for key, value in ran.items() if key != "precision" and value is not None}
    where = ", ".join(f"{key} {value}" for key, value in shown.items() if not isinstance(value, dict | list))
    lines = [f"{kind}; {settings.precision}; {where}"]
    if report.caveat:
        lines.append(report.caveat)
    lines.append(
        f"{machine['processor']}, {machine['cores']} cores; {settings.warmup} warm-up and {settings.runs} timed "
        "rounds at batch 1, all ratios in turn in one process"
    )
    noisy = [
        row.label for row in report.rows if row.latency_ms and row.latency_ms["iqr"] > NOISY * row.latency_ms["p50"]
    ]
    if noisy:
        lines.append(
            f"noisy: at ratio {', '.join(noisy)} the middle half of the times spreads over more than {NOISY:.0%} of "
            "their median; is something else running?"
        )
    return [*lines, *accuracy_sizes(report)]


def accuracy_sizes(report: BenchmarkReport) -> list[str]:
    """How much each accuracy was measured on, where all rows agree."""
    found: dict[str, set[str]] = {}
    for row in report.rows:
        for entry in row.accuracy:
            counted = [f"{entry[key]} {key}" for key in ("pairs", "probes", "people") if key in entry]
            found.setdefault(entry["protocol"], set()).add(" of ".join(counted))
    return [f"{name}: {sizes.pop()}" for name, sizes in found.items() if len(sizes) == 1 and any(sizes)]


def write_report(report: BenchmarkReport, folder: Path) -> list[Path]:
    """Write benchmark.json, benchmark.md, figure6.png and figure7.png; returns what was written.

    Raises:
        MissingExtraError: matplotlib is not installed (the JSON and Markdown are written first).
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "benchmark.json", folder / "benchmark.md"]
    write_json(written[0], report.to_dict())
    write_bytes(written[1], _markdown(report).encode())
    for name, draw in (("figure6.png", _figure_6), ("figure7.png", _figure_7)):
        path = folder / name
        save_figure(draw(report), path, dpi=130)
        written.append(path)
    return written


def _cost(row: Row) -> list[str]:
    latency = [f"{row.latency_ms[key]:.2f}" if row.latency_ms else "" for key in ("p50", "p90", "p99")]
    return [
        row.label,
        f"{row.achieved:.3f}",
        f"{row.parameters / 1e6:.2f}",
        f"{row.macs / 1e6:.0f}",
        f"{row.size_bytes / 1e6:.1f}",
        *latency,
        f"{row.speedup:.2f}x",
        *(f"{value:.0f}" for value in row.throughput.values()),
        "not faster" if row.not_faster else "",
    ]


def _protocols(report: BenchmarkReport) -> list[str]:
    names = [entry["protocol"] for row in report.rows for entry in row.accuracy]
    return list(dict.fromkeys(names))


def _accuracies(row: Row, protocols: list[str]) -> list[str]:
    found = {entry["protocol"]: entry["accuracy"] for entry in row.accuracy}
    return [f"{100 * found[name]:.2f}" if name in found else "" for name in protocols]


def _markdown(report: BenchmarkReport) -> str:
    lines = ["# Benchmark by compression ratio", "", *headline(report), ""]
    for sheet in sheets(report):
        lines += [f"## {sheet.title.capitalize()}", "", *table(sheet.columns, sheet.rows), ""]
    return "\n".join([*lines, "![parameters](figure6.png)", "", "![error and speed](figure7.png)", ""])


def _figure(title: str, caveat: str) -> tuple[Any, Any]:
    figure = new_figure(6.4, 4.2)
    axes = figure.subplots()
    axes.set_title(title + (f"\n{caveat}" if caveat else ""), fontsize=9)
    axes.set_xlabel("ratio R: share of convolution filters removed")
    axes.grid(alpha=0.3)
    return figure, axes


def _figure_6(report: BenchmarkReport) -> Any:
    """Parameters against ratio, as the paper's figure 6."""
    figure, axes = _figure("Parameters against ratio (as figure 6 of the paper)", report.caveat)
    for curve in parameter_curves_of(report):
        axes.plot(*zip(*curve.points, strict=True), "o-" if curve.joined else "o", label=curve.name)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("parameters, M")
    axes.legend(fontsize=8)
    return figure


def _figure_7(report: BenchmarkReport) -> Any:
    """Growth of error and of speed against ratio 0, as the paper's figure 7."""
    figure, axes = _figure("Speed growth and error growth against ratio 0 (as figure 7 of the paper)", report.caveat)
    speeds = speed_growth(report)
    for number, curve in enumerate(speeds):
        axes.plot(
            *zip(*curve.points, strict=True),
            "o-" if curve.joined else "o",
            color=f"C{number}",
            label=curve.name if len(speeds) == 1 else f"speed growth, {curve.name}",
        )
    axes.set_ylabel("speed growth, %")
    errors = error_growth(report)
    if not errors:
        axes.text(
            0.02, 0.98, "no accuracy was measured for these weights", transform=axes.transAxes, va="top", fontsize=8
        )
        return figure
    right = axes.twinx()
    for number, curve in enumerate(errors, len(speeds)):
        right.plot(
            *zip(*curve.points, strict=True),
            "s--" if curve.joined else "s",
            color=f"C{number}",
            label=f"error growth, {curve.name}",
        )
    right.set_ylabel("error growth, points")
    lines = [*axes.get_lines(), *right.get_lines()]
    axes.legend(lines, [line.get_label() for line in lines], fontsize=8)
    return figure
