"""A picture of several systems at several places, such as networks at ratios: a panel a column, a curve a system."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from edgeface.workflows.recipe import Column, Recipe
from edgeface.workflows.report_parts import new_figure

__all__ = ["plot_series"]

STYLES = ("--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))


def plot_series(recipe: Recipe, title: str, mean: Callable[[str, Column], float]) -> Any:
    """Rows with a `line` are points of that curve at their `place`; the others are levels across the panel.

    Args:
        mean: (label of a row, column) -> value.
    """
    places = list(dict.fromkeys(row.place for row in recipe.rows if row.line))
    curves = list(dict.fromkeys(row.line for row in recipe.rows if row.line))
    levels = [row for row in recipe.rows if not row.line]
    figure = new_figure(3.6 * len(recipe.columns), 4.2)
    figure.suptitle(title, fontsize=10)
    axes = figure.subplots(1, len(recipe.columns), squeeze=False)[0]
    for axis, column in zip(axes, recipe.columns, strict=True):
        for number, line in enumerate(curves):
            own = [row for row in recipe.rows if row.line == line]
            values = [mean(row.label, column) for row in own]
            axis.plot([places.index(row.place) for row in own], values, "o-", color=f"C{number}", label=line)
        for number, row in enumerate(levels):
            style = STYLES[number % len(STYLES)]
            axis.axhline(mean(row.label, column), linestyle=style, linewidth=1, color="0.3", label=row.label)
        axis.set_xticks(range(len(places)), places)
        axis.set_title(column.label, fontsize=9)
        axis.set_ylabel(column.unit)
        axis.grid(alpha=0.3, axis="y")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=7, loc="outside lower center", ncols=3)
    return figure
