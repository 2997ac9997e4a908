"""Cost and speed of every row: tables, and the paper's figures 6 and 7."""

from __future__ import annotations

from collections.abc import Sequence

from edgeface.workflows.benchmark_curves import Curve, error_growth, parameter_curves_of, speed_growth
from edgeface.workflows.report.chart import Point, Series, chart
from edgeface.workflows.report.markup import Markup, join, scrolled_table, tag
from edgeface.workflows.report.ranges import latency_ranges
from edgeface.workflows.report.result import Report
from edgeface.workflows.report.scale import linear_axis
from edgeface.workflows.report.words import NONE, names_of, number

__all__ = ["cost_table", "figures", "speed_table"]

RATIO = "ratio: share of filters removed"


def cost_table(report: Report) -> Markup:
    """What every network is and weighs."""
    columns = (
        *("network", "mask", "pruned by", "precision", "ratio", "achieved"),
        *("filters", "parameters, M", "MACs, M", "file, MB"),
    )
    rows = [
        (
            name,
            row.masking,
            row.method or NONE,
            row.precision,
            f"{row.requested:g}",
            number(row.achieved, 3),
            number(row.filters),
            number(row.parameters / 1e6, 2),
            number(row.macs / 1e6),
            number(row.size_bytes / 1e6, 1),
        )
        for name, row in zip(names_of(report.benchmark), report.benchmark.rows, strict=True)
    ]
    return scrolled_table("Cost", columns, rows, text=4)


def speed_table(report: Report) -> Markup:
    """Latency at batch 1, speed-up, and throughput at the other batches."""
    own = report.benchmark
    batches = list(own.rows[0].throughput)
    columns = (
        *("network", "ratio", "p50, ms", "p90, ms", "p99, ms", "spread, ms", "speed-up"),
        *(f"batch {batch}, faces/s" for batch in batches),
    )
    rows = []
    for name, row in zip(names_of(own), own.rows, strict=True):
        times = [number(row.latency_ms.get(key), 2) for key in ("p50", "p90", "p99", "iqr")]
        faster: object = number(row.speedup, 2) + "×"
        if row.not_faster:
            faster = join([faster, " ", tag("em", "not faster", class_="warn")])
        speeds = [number(row.throughput[batch], 1) for batch in batches]
        rows.append((name, f"{row.requested:g}", *times, faster, *speeds))
    table = scrolled_table("Speed", columns, rows)
    said = tag(
        "p",
        f"Spread: the middle half of the times. Speed-up: p50 of {names_of(own)[0]} over the row's own. "
        "Faces a second come from the median.",
        class_="said",
    )
    return Markup(table + said)


def figures(report: Report) -> Markup:
    """Figures 6 and 7 of the paper, and the latency's percentiles."""
    own = report.benchmark
    measured = _measured(report)
    speeds = [curve for curve in speed_growth(own) if len(curve.points) > 1]
    errors = [curve for curve in error_growth(own, measured or None) if len(curve.points) > 1]
    shown = [_against_ratio("Parameters against ratio (figure 6)", "parameters, M", parameter_curves_of(own))]
    if speeds:
        shown.append(_against_ratio("Speed growth against ratio (figure 7)", "speed growth, %", speeds))
    if errors:
        shown.append(_against_ratio("Error growth against ratio (figure 7)", "error growth, points", errors))
    if own.rows[0].latency_ms:
        shown.append(latency_ranges(names_of(own), [row.latency_ms for row in own.rows]))
    growth = "Growth is against the first row of the same mask and precision; a row that is alone in that has none."
    if errors:
        growth += f" Errors are as {'measured in this run' if measured else 'recorded in the bundles'}."
    return Markup(tag("div", *shown, class_="charts") + tag("p", growth, class_="said"))


def _measured(report: Report) -> dict[str, dict[int, float]]:
    """Protocol -> number of the row -> accuracy of this run."""
    found: dict[str, dict[int, float]] = {}
    for entry in report.judged:
        found.setdefault(entry.result.protocol, {})[entry.row] = entry.result.accuracy
    return found


def _against_ratio(title: str, what: str, curves: Sequence[Curve]) -> Markup:
    series = [
        Series(
            "" if curve.name and what.startswith(curve.name) else curve.name,
            tuple(Point(x, y, f"{curve.name}: ratio {x:.3f}, {y:.2f}") for x, y in curve.points),
            joined=curve.joined,
        )
        for curve in curves
    ]
    points = [point for entry in series for point in entry.points]
    lowest, highest = min(points, key=lambda point: point.y), max(points, key=lambda point: point.y)
    ends = [f"{point.y:.2f} at ratio {point.x:.2f}" for point in (lowest, highest)]
    described = f"{what.capitalize()}: from {ends[0]} to {ends[1]}."
    x = linear_axis(RATIO, [point.x for point in points], zero=True)
    y = linear_axis(what, [point.y for point in points], zero=True)
    return chart(title, described, series, x, y)
