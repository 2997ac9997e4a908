"""A reproduced table beside the paper's: `NAME.json`, `NAME.md` and `NAME.png`."""

from __future__ import annotations

import statistics
import textwrap
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeface.workflows.machine import describe_machine
from edgeface.workflows.recipe import Column
from edgeface.workflows.report_parts import new_figure, save_figure, table
from edgeface.workflows.reproduce import Cell, Reproduction
from edgeface.workflows.reproduce_series import plot_series
from edgeface_runtime.files import write_bytes, write_json

__all__ = ["Difference", "compare_rows", "summary", "write_reproduction"]


@dataclass(frozen=True)
class Difference:
    """Row `a` minus row `b` on the same pairs or probes, all seeds together; where the column says drop, of drops."""

    a: str
    b: str
    column: str
    value: float
    """In the column's units."""
    low: float
    high: float
    """95 %, people resampled."""
    seeds: int

    @property
    def verdict(self) -> str:
        """In words."""
        return "above 0" if self.low > 0 else "below 0" if self.high < 0 else "not distinguishable from 0"


def summary(found: Reproduction) -> tuple[list[str], list[list[str]]]:
    """Header and lines of the table; where there are several seeds, mean and range."""
    columns = found.recipe.columns
    header = ["", *map(_heading, columns)]
    rows = []
    for row in found.recipe.rows:
        rows.append([row.label, *(_text(found, row.label, column) for column in columns)])
    for label, values in found.recipe.paper_rows.items():
        rows.append([f"paper: {label}", *map(str, values)])
    return header, rows


def compare_rows(found: Reproduction) -> list[Difference]:
    """The recipe's comparisons, from the scores that were kept."""
    from edgeface.evaluation.compare import paired_difference

    cells = {(cell.row, cell.column, cell.seed): cell for cell in found.cells}
    result = []
    for compare in found.recipe.compare:
        for column in found.recipe.columns:
            if compare.columns and column.label not in compare.columns:
                continue
            pairs = [
                (cells[compare.a, column.label, seed].scores, cells[compare.b, column.label, seed].scores)
                for seed in found.recipe.seeds
                if (compare.a, column.label, seed) in cells and (compare.b, column.label, seed) in cells
            ]
            kept = [(a, b) for a, b in pairs if a is not None and b is not None]
            if not kept:
                continue
            interval = paired_difference([a for a, _ in kept], [b for _, b in kept])
            ends = [column.factor * part for part in (interval.value, interval.low, interval.high)]
            if column.against and column.how == "drop":
                ends = [0 - ends[0], 0 - ends[2], 0 - ends[1]]  # no -0.00
            value, low, high = ends
            result.append(Difference(compare.a, compare.b, column.label, value, low, high, len(kept)))
    return result


def report_name(found: Reproduction) -> str:
    """The files' name: the recipe's for scale small; another scale, or values set otherwise, never replace those."""
    scale = "" if found.settings.scale == "small" else f"-{found.settings.scale}"
    return f"{found.recipe.name}{scale}{'-changed' if found.settings.set_values else ''}"


def write_reproduction(found: Reproduction, differences: list[Difference], folder: Path, command: str) -> list[Path]:
    """Write the three files into `folder`; returns them.

    Raises:
        MissingExtraError: matplotlib is not installed (the JSON and Markdown are written first).
    """
    name = report_name(found)
    folder.mkdir(parents=True, exist_ok=True)
    data: dict[str, Any] = {
        "recipe": found.recipe.name,
        "title": found.recipe.title,
        "paper": found.recipe.paper,
        "scale": found.settings.scale,
        "values": {**found.recipe.scales[found.settings.scale], **(found.settings.set_values or {})},
        "seeds": list(found.recipe.seeds),
        "command": command,
        "machine": describe_machine(),
        "seconds": round(found.seconds, 1),
        "cells": [{**asdict(cell), "scores": cell.scores and cell.scores.name} for cell in found.cells],
        "differences": [{**asdict(entry), "verdict": entry.verdict} for entry in differences],
        "paper_rows": {label: list(values) for label, values in found.recipe.paper_rows.items()},
        "differs": found.recipe.differs,
    }
    paths = [folder / f"{name}.json", folder / f"{name}.md", folder / f"{name}.png"]
    write_json(paths[0], data)
    write_bytes(paths[1], _markdown(found, differences, command).encode())
    save_figure(_figure(found), paths[2], dpi=120)
    return paths


def _changed(found: Reproduction) -> str:
    values = found.settings.set_values or {}
    return "".join(f", with {name} = `{value}`" for name, value in values.items())


def _values(found: Reproduction, row: str, column: str) -> list[Cell]:
    return [cell for cell in found.cells if cell.row == row and cell.column == column]


def _heading(column: Column) -> str:
    return f"{column.label}{', ' + column.unit if column.unit else ''}"


def _text(found: Reproduction, row: str, column: Column) -> str:
    values = [cell.value for cell in _values(found, row, column.label)]
    if not values:
        return ""
    text = f"{statistics.fmean(values):.{column.digits}f}"
    if len(values) > 1:
        text += f" ({min(values):.{column.digits}f} to {max(values):.{column.digits}f})"
    return text


def _markdown(found: Reproduction, differences: list[Difference], command: str) -> str:
    recipe, machine = found.recipe, describe_machine()
    header, rows = summary(found)
    seeds = ", ".join(map(str, recipe.seeds))
    lines = [
        f"# {recipe.title}",
        "",
        f"{recipe.paper}. Scale `{found.settings.scale}`{_changed(found)}, seed {seeds}, "
        f"{found.seconds / 60:.0f} minutes on {machine['processor']} ({machine['cores']} cores). "
        f"Command: `{command}`",
        "",
        *table(header, rows),
        "",
    ]
    if len(recipe.seeds) > 1:
        lines += [f"Means of {len(recipe.seeds)} seeds, lowest and highest in brackets.", ""]
    if differences:
        lines += ["Differences on the same pairs or probes, 95 % interval over people:", ""]
        compared = [
            [e.a, e.b, e.column, f"{e.value:+.2f}", f"{e.low:+.2f} to {e.high:+.2f}", e.verdict] for e in differences
        ]
        lines += [*table(["minus", "", "set", "difference", "95 %", ""], compared), ""]
    if recipe.differs:
        lines += [f"Why it differs from the paper: {recipe.differs}", ""]
    return "\n".join([*lines, f"![{recipe.title}]({report_name(found)}.png)", ""])


def _figure(found: Reproduction) -> Any:
    title = f"{found.recipe.title} (scale {found.settings.scale})"
    if found.recipe.plot == "xy":
        return _curves(found, title)
    if found.recipe.plot == "series":
        return plot_series(found.recipe, title, lambda row, column: _mean(found, row, column.label))
    bars = found.recipe.plot == "bars"
    units = list(dict.fromkeys(column.unit for column in found.recipe.columns))
    figure = new_figure(8, 3.6 * len(units))
    figure.suptitle(title, fontsize=10)
    axes = figure.subplots(len(units), squeeze=False)[:, 0]
    for axis, unit in zip(axes, units, strict=True):
        columns = [column for column in found.recipe.columns if column.unit == unit]
        (_bars if bars else _lines)(axis, found, columns)
        axis.set_ylabel(unit or ", ".join(column.label for column in columns))
        axis.grid(alpha=0.3, axis="y")
        if not bars and len(axis.get_legend_handles_labels()[1]) > 1:
            axis.legend(fontsize=7, loc="best")
    if bars and len(found.recipe.rows) > 1:  # the same rows in every panel, and no bar under their names
        figure.legend(*axes[0].get_legend_handles_labels(), fontsize=7, loc="outside lower center", ncols=3)
    return figure


def _mean(found: Reproduction, row: str, column: str) -> float:
    values = [cell.value for cell in _values(found, row, column)]
    return statistics.fmean(values) if values else float("nan")


def _bars(axis: Any, found: Reproduction, columns: list[Column]) -> None:
    """Groups are columns, bars are rows; whiskers span the seeds."""
    rows = found.recipe.rows
    if len(rows) > 10:  # the usual colours would come twice
        from matplotlib import colormaps

        axis.set_prop_cycle(color=[colormaps["tab20"](number) for number in range(20)])
    width = 0.8 / len(rows)
    for number, row in enumerate(rows):
        places = [index + (number - (len(rows) - 1) / 2) * width for index in range(len(columns))]
        means = [_mean(found, row.label, column.label) for column in columns]
        spans: list[list[float]] = [[], []]
        for column, mean in zip(columns, means, strict=True):
            values = [cell.value for cell in _values(found, row.label, column.label)] or [mean]
            spans[0].append(mean - min(values))
            spans[1].append(max(values) - mean)
        axis.bar(places, means, width * 0.95, yerr=spans if len(found.recipe.seeds) > 1 else None, label=row.label)
    labels = [textwrap.fill(column.label, max(100 // len(columns), 8)) for column in columns]
    axis.set_xticks(range(len(columns)), labels, fontsize=8)
    low = min((cell.value for cell in found.cells if cell.column in {c.label for c in columns}), default=0)
    high = max((cell.value for cell in found.cells if cell.column in {c.label for c in columns}), default=1)
    if low > high / 2:  # differences would vanish from zero on
        axis.set_ylim(low - (high - low) * 0.5 - 1e-9, high + (high - low) * 0.2 + 1e-9)


def _lines(axis: Any, found: Reproduction, columns: list[Column]) -> None:
    """Rows along the axis, one line a column."""
    labels = [row.label for row in found.recipe.rows]
    for number, column in enumerate(columns):
        means = [_mean(found, label, column.label) for label in labels]
        axis.plot(range(len(labels)), means, "o-", color=f"C{number}", label=column.label)
    axis.set_xticks(range(len(labels)), labels, fontsize=8)


def _curves(found: Reproduction, title: str) -> Any:
    """A panel for every column that is an axis, in it a curve for every column that names it.

    The row that a column is compared with is the origin and has no point of its own.
    """
    columns = found.recipe.columns
    bases = [column for column in columns if column.label in {other.x for other in columns}]
    figure = new_figure(8, 4.2 * len(bases))
    figure.suptitle(title, fontsize=10)
    for axis, base in zip(figure.subplots(len(bases), squeeze=False)[:, 0], bases, strict=True):
        own = [column for column in columns if column.x == base.label]
        rows = [
            row.label
            for row in found.recipe.rows
            if row.label != base.against and _values(found, row.label, base.label)
        ]
        xs = [_mean(found, row, base.label) for row in rows]
        for column in own:
            axis.plot(xs, [_mean(found, row, column.label) for row in rows], "o-", label=column.label)
        if base.against:
            axis.axvline(0, color="0.4", linewidth=0.8)
        if any(column.against for column in own):
            axis.axhline(0, color="0.4", linewidth=0.8)
        for x, row in zip(xs, rows, strict=True):
            axis.annotate(row, (x, 1), xycoords=("data", "axes fraction"), rotation=60, fontsize=7)
        axis.set_xlabel(_heading(base))
        axis.set_ylabel(own[0].unit)
        axis.grid(alpha=0.3)
        axis.legend(fontsize=7, loc="best")
    return figure
