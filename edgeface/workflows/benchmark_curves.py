"""The numbers of the paper's figures 6 and 7, however they are drawn."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from edgeface.workflows.benchmark import BenchmarkReport, Row

__all__ = ["Curve", "error_growth", "parameter_curves_of", "recorded", "speed_growth"]


@dataclass(frozen=True)
class Curve:
    """One line of a figure."""

    name: str
    points: tuple[tuple[float, float], ...]
    """(achieved ratio, value)."""

    @property
    def joined(self) -> bool:
        """Whether its points are one line: no ratio comes twice."""
        ratios = [ratio for ratio, _ in self.points]
        return all(before < after for before, after in itertools.pairwise(ratios))


def parameter_curves_of(report: BenchmarkReport) -> list[Curve]:
    """Figure 6: parameters, millions, against ratio; of networks with a mask and without apart."""
    if report.parameters:
        return [
            Curve(name, tuple((ratio, number / 1e6) for ratio, number in points))
            for name, points in report.parameters.items()
        ]
    return [
        Curve(name, tuple(dict.fromkeys((row.achieved, row.parameters / 1e6) for row in rows.values())))
        for name, rows in _families(report, "parameters", by_precision=False).items()
    ]


def speed_growth(report: BenchmarkReport) -> list[Curve]:
    """Figure 7: how much faster than the first row of its kind each row is, percent."""
    curves = []
    for name, rows in _families(report, "speed growth", by_precision=True).items():
        first = _speed(next(iter(rows.values())))
        curves.append(Curve(name, tuple((row.achieved, 100 * (_speed(row) / first - 1)) for row in rows.values())))
    return curves


def error_growth(report: BenchmarkReport, accuracies: Mapping[str, Mapping[int, float]] | None = None) -> list[Curve]:
    """Figure 7: error above that of the first row of its kind, points.

    Args:
        accuracies: protocol -> number of the row -> accuracy, 0..1; None: as recorded in the bundles.
    """
    found = recorded(report) if accuracies is None else accuracies
    families = _families(report, "", by_precision=True)
    curves = []
    for protocol, values in found.items():
        for name, rows in families.items():
            known = [(row, values[at]) for at, row in rows.items() if at in values]
            if known:
                words = f"{protocol}, {name}" if name else protocol
                base = known[0][1]
                curves.append(Curve(words, tuple((row.achieved, 100 * (base - value)) for row, value in known)))
    return curves


def recorded(report: BenchmarkReport) -> dict[str, dict[int, float]]:
    """Protocol -> number of the row -> accuracy, 0..1, as the bundles carry it; short names, of clean sets, first."""
    found: dict[str, dict[int, float]] = {}
    for at, row in enumerate(report.rows):
        for entry in row.accuracy:
            found.setdefault(entry["protocol"], {})[at] = entry["accuracy"]
    return dict(sorted(found.items(), key=lambda item: (len(item[0].split()), item[0])))


def _speed(row: Row) -> float:
    return row.speedup or 1.0


def _families(report: BenchmarkReport, alone: str, *, by_precision: bool) -> dict[str, dict[int, Row]]:
    """Rows, by their number, of one kind of mask (and precision): what a ratio is to be compared with.

    Args:
        alone: the name where all are of one kind.
    """
    found: dict[tuple[str, ...], dict[int, Row]] = {}
    for at, row in enumerate(report.rows):
        kind = (row.masking, row.precision) if by_precision else (row.masking,)
        found.setdefault(kind, {})[at] = row
    if len(found) == 1:
        return {alone: next(iter(found.values()))}
    several = by_precision and len({row.precision for row in report.rows}) > 1
    return {
        ", ".join(["no mask" if kind[0] == "none" else f"mask {kind[0]}", *(kind[1:] if several else ())]): rows
        for kind, rows in found.items()
    }
