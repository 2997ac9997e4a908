"""How accurate the rows are: measured in this run, with ROC curves; recorded in bundles; and the Pareto fronts."""

from __future__ import annotations

from edgeface.workflows.benchmark_curves import recorded
from edgeface.workflows.benchmark_report import accuracy_sizes
from edgeface.workflows.report.chart import Point, Series, chart
from edgeface.workflows.report.judge import Judged
from edgeface.workflows.report.markup import Markup, scrolled_table, tag
from edgeface.workflows.report.result import Report
from edgeface.workflows.report.scale import linear_axis, log_axis
from edgeface.workflows.report.words import NONE, names_of, number, percent, share_range

__all__ = ["measured_accuracy", "pareto_fronts", "recorded_accuracy", "roc_curves"]


def measured_accuracy(report: Report) -> Markup:
    """A table for every condition."""
    names = names_of(report.benchmark)
    tables: list[Markup] = []
    reasons: list[str] = []
    for condition, entries in _by_condition(report).items():
        rates = [
            at.fmr
            for at in entries[0].result.tar
            if any(entry.result.tar[_at(entry, at.fmr)].tar is not None for entry in entries)
        ]
        columns = ["network", "accuracy, %", "95 %", "AUC", "95 %", "EER, %"]
        for rate in rates:
            columns += [f"TAR at FAR {rate:g}, %", "95 %"]
        rows = []
        for entry in entries:
            result = entry.result
            cells = [
                names[entry.row],
                percent(result.accuracy),
                share_range(result.interval),
                number(result.auc, 4),
                share_range(result.auc_interval, 1, 4),
                percent(result.eer),
            ]
            for rate in rates:
                at = _at(entry, rate)
                cells += [percent(result.tar[at].tar), share_range(result.tar_intervals[at])]
            rows.append(cells)
        first = entries[0].result
        tables.append(scrolled_table(f"{first.protocol}: {number(first.pairs)} pairs, {condition}", columns, rows))
        reasons += [at.reason for at in first.tar if at.fmr not in rates and at.reason]
    said = (
        "LFW's protocol: every fold is judged at the threshold that is best on the others; only the second picture "
        "of a pair is covered, the same for every network. Intervals: 95 %, from 1,000 draws of people."
    )
    if reasons:
        why = "; ".join(dict.fromkeys(reasons))
        tables.append(tag("p", f"No accept rate is given where the pairs do not carry it: {why}.", class_="said"))
    return Markup(tag("p", said, class_="said") + "".join(tables))


def roc_curves(report: Report) -> Markup:
    """A chart for every condition, a curve for every row."""
    names = names_of(report.benchmark)
    charts = []
    for condition, entries in _by_condition(report).items():
        series = [
            Series(
                names[entry.row],
                tuple(Point(fmr, accepted) for fmr, accepted in entry.roc),
                marks=False,
                kind=entry.row,
            )
            for entry in entries
        ]
        values = [point.y for entry in series for point in entry.points]
        best = max(entries, key=lambda entry: entry.result.auc)
        x = log_axis("false accept rate", min(entry.roc[0][0] for entry in entries), 1.0)
        y = linear_axis("true accept rate", [min(values), 1.0])
        described = f"Highest area under the curve: {names[best.row]}, {best.result.auc:.4f}."
        carried = max(entry.carried for entry in entries)
        charts.append(chart(f"ROC, {condition}", described, series, x, y, doubtful_below=carried))
    said = (
        "Shaded: fewer than 30 expected false accepts, too few for a rate to be relied upon. "
        "Curves begin at one false accept."
    )
    return Markup(tag("div", *charts, class_="charts") + tag("p", said, class_="said"))


def recorded_accuracy(report: Report) -> Markup | None:
    """A table of what the bundles carry; None where they carry nothing."""
    own = report.benchmark
    protocols = list(recorded(own))
    if not protocols:
        return None
    rows = []
    for name, row in zip(names_of(own), own.rows, strict=True):
        found = {entry["protocol"]: entry for entry in row.accuracy}
        if found and row.precision in ("", "fp32"):
            rows.append((name, *(_recorded(found.get(protocol)) for protocol in protocols)))
    if not rows:
        return None
    said = (
        "Mean ± standard deviation over folds, FP32, as recorded with each bundle when it was evaluated: not "
        f"measured in this run. {'; '.join(accuracy_sizes(own))}."
    )
    table = scrolled_table("Recorded in the bundles, %", ("network", *protocols), rows)
    return Markup(table + tag("p", said, class_="said"))


def pareto_fronts(report: Report) -> Markup:
    """A chart for every protocol, and one table of all points."""
    own, names = report.benchmark, names_of(report.benchmark)
    charts, rows = [], []
    for protocol in dict.fromkeys(point.protocol for point in report.pareto):
        points = sorted((p for p in report.pareto if p.protocol == protocol), key=lambda point: point.latency_ms)
        series = []
        for point in points:
            spread = own.rows[point.row].latency_ms
            words = f"{names[point.row]}: {point.latency_ms:.2f} ms, {100 * point.accuracy:.2f} %"
            down = None if point.interval is None else (100 * point.interval[0], 100 * point.interval[1])
            across = (point.latency_ms, spread["p90"])
            mark = Point(point.latency_ms, 100 * point.accuracy, words, across, down, faint=not point.on_front)
            series.append(Series(names[point.row], (mark,), joined=False, kind=point.row))
            row = own.rows[point.row]
            rows.append(
                (
                    names[point.row],
                    protocol,
                    row.method or NONE,
                    tag("b", "on the front") if point.on_front else "beaten",
                    f"{row.requested:g}",
                    number(point.latency_ms, 2),
                    percent(point.accuracy),
                    share_range(point.interval),
                )
            )
        front = [(p.latency_ms, 100 * p.accuracy) for p in points if p.on_front]
        ys = [value for entry in series for point in entry.points for value in (point.y, *(point.down or ()))]
        xs = [value for entry in series for point in entry.points for value in (point.x, *(point.across or ()))]
        described = "On the front, fastest first: " + ", ".join(names[p.row] for p in points if p.on_front) + "."
        x, y = linear_axis("latency p50, ms", [0.0, *xs], zero=True), linear_axis("accuracy, %", _at_least(ys, 2))
        charts.append(chart(f"Accuracy against latency, {protocol}", described, series, x, y, front=_stairs(front)))
    columns = ("network", "protocol", "pruned by", "", "ratio", "p50, ms", "accuracy, %", "95 %")
    said = (
        "On the front is what no other network beats: none is as fast and as accurate and better in one of the two. "
        "Whiskers: up to p90 of the latency, and 95 % of the accuracy where it was measured now. Hollow: beaten. "
        "Two networks are told apart more sharply on the same pairs, by edgeface evaluate A --against B."
    )
    table = scrolled_table("All points", columns, rows, text=4)
    return Markup(tag("div", *charts, class_="charts") + tag("p", said, class_="said") + table)


def _at_least(values: list[float], span: float) -> list[float]:
    """Percentages between which there is room, so that a hair's breadth does not look like a cliff."""
    low, high = min(values), max(values)
    spare = max(0.0, span - (high - low)) / 2
    high = min(100.0, high + spare)
    return [min(low - spare, high - span), high]


def _stairs(front: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """From each point level to the next one's latency, then up: what a latency budget buys."""
    corners: list[tuple[float, float]] = []
    for place in front:
        if corners:
            corners.append((place[0], corners[-1][1]))
        corners.append(place)
    return corners


def _by_condition(report: Report) -> dict[str, list[Judged]]:
    found: dict[str, list[Judged]] = {}
    for entry in report.judged:
        found.setdefault(entry.condition, []).append(entry)
    return found


def _at(entry: Judged, rate: float) -> int:
    return [at.fmr for at in entry.result.tar].index(rate)


def _recorded(entry: dict[str, object] | None) -> str:
    if entry is None:
        return NONE
    accuracy, std = entry["accuracy"], entry.get("std")
    assert isinstance(accuracy, float | int)
    return percent(accuracy) + (f" ± {percent(std)}" if isinstance(std, float | int) else "")
