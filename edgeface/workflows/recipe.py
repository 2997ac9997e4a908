"""A recipe: one table or figure of a paper as a short list of the commands that make it, in TOML.

title, paper        what it reproduces
seeds               numbers; every step and cell that says {seed} is run for each
plot                bars (default); lines: the rows along the axis; xy: a column's values against another's, its `x`;
                    series: a panel a column, a curve for every `line` of rows along their `place`s
[scale.small]       values for {placeholders}, the same names in every scale
[[step]]            name, run: a command line of edgeface; {out} is the step's own folder, {NAME} another step's
[[column]]          label, run: a command line that gives JSON; value: where in it, such as accuracy or rows.0.macs
[cell]              what all columns have in common
[[row]]             label, values for the columns' {placeholders}
[[compare]]         a, b: rows whose cells of `columns` are compared in pairs; needs {scores} in the columns
[[paper_row]]       row, values: the paper's cells, in the order of the columns ("" for none)
"""

from __future__ import annotations

import importlib
import string
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeface_runtime.errors import InputError

__all__ = [
    "HOW",
    "Column",
    "Compare",
    "Recipe",
    "Row",
    "Step",
    "fill",
    "find_recipe",
    "list_recipes",
    "placeholders",
    "read_recipe",
]


HOW: dict[str, Callable[[float, float], float]] = {
    "minus": lambda value, base: value - base,
    "drop": lambda value, base: base - value,
    "faster": lambda value, base: base / value - 1,
}
"""How a column compares a row's value with that of the row it names."""

PLOTS = ("bars", "lines", "series", "xy")
ROW_KEYS = ("label", "skip", "line", "place")


@dataclass(frozen=True)
class Step:
    """One command that makes a folder."""

    name: str
    run: str
    """Words of an edgeface command, with {placeholders}."""
    resumable: bool = False
    """The command takes --resume."""
    only: tuple[str, ...] = ()
    """Scales it belongs to; empty: all."""


@dataclass(frozen=True)
class Column:
    """One measurement, made for every row."""

    label: str
    run: str
    value: str
    """Keys and indices of the command's JSON, joined by dots."""
    factor: float = 1.0
    """The value is multiplied by this, 100 for %."""
    digits: int = 2
    unit: str = ""
    against: str = ""
    """Label of the row this column compares with; empty: the value stands for itself."""
    how: str = "minus"
    """With `against`: minus (value - base), drop (base - value), faster (base / value - 1)."""
    x: str = ""
    """With plot xy: label of the column whose values are this one's places along the axis."""
    values: Mapping[str, str] = field(default_factory=dict)
    """What placeholders mean for this column: every other key of its table."""

    def __post_init__(self) -> None:
        for name, kind in (("factor", int | float), ("digits", int)):
            if not isinstance(getattr(self, name), kind) or isinstance(getattr(self, name), bool):
                raise ValueError(f"column {self.label}: {name} must be a number, got {getattr(self, name)!r}")


@dataclass(frozen=True)
class Row:
    """One system that is measured."""

    label: str
    values: Mapping[str, str] = field(default_factory=dict)
    """What the columns' placeholders mean for this row."""
    skip: tuple[str, ...] = ()
    """Labels of columns this row has no cell in."""
    line: str = ""
    place: str = ""
    """With plot series: the curve that this row is a point of, and where along the axis; without, it is a level."""


@dataclass(frozen=True)
class Compare:
    """Row `a` minus row `b`, pair by pair or probe by probe."""

    a: str
    b: str
    columns: tuple[str, ...] = ()
    """Labels; empty: all that keep scores."""


@dataclass(frozen=True)
class Recipe:
    """What `edgeface reproduce` runs."""

    name: str
    title: str
    paper: str
    seeds: tuple[int, ...]
    scales: Mapping[str, Mapping[str, Any]]
    steps: tuple[Step, ...]
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    compare: tuple[Compare, ...] = ()
    paper_rows: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    differs: str = ""
    """In one line, why the numbers differ from the paper's."""
    plot: str = "bars"
    """bars; lines: the rows are points on an axis; xy: rows are points, one curve a column that has an `x`."""


def placeholders(text: str) -> set[str]:
    """Names between braces."""
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def fill(text: str, values: Mapping[str, Any], where: str) -> str:
    """Put values into {placeholders}, values that hold placeholders themselves included.

    Raises:
        InputError: one has no value.
    """
    for _ in range(4):
        names = placeholders(text)
        if not names:
            return text
        unknown = sorted(names - values.keys())
        if unknown:
            raise InputError(f"{where}: {{{unknown[0]}}} has no value")
        text = text.format_map({name: values[name] for name in names})
    raise InputError(f"{where}: placeholders refer to each other in a circle")


def recipe_folder() -> Path:
    """Where the recipes lie: inside the installed package, or in the checkout."""
    import edgeface

    package = Path(edgeface.__file__).parent
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def list_recipes() -> list[Recipe]:
    """All recipes that come with edgeface, by name."""
    return [read_recipe(path) for path in sorted(recipe_folder().glob("*.toml"))]


def find_recipe(name: str) -> Recipe:
    """A recipe by name, or a file of the user's own.

    Raises:
        InputError: there is none; the known ones are listed. Or it is damaged.
    """
    if name.endswith(".toml"):
        return read_recipe(Path(name))
    known = sorted(path.stem for path in recipe_folder().glob("*.toml"))
    if name not in known:
        raise InputError(f"no recipe named {name!r}: choose one of {', '.join(known)}, or give a .toml file")
    return read_recipe(recipe_folder() / f"{name}.toml")


def read_recipe(path: Path) -> Recipe:
    """Read a recipe file.

    Raises:
        InputError: missing, not TOML, or not a recipe.
    """
    toml = importlib.import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    try:
        data = toml.loads(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise InputError(f"cannot read recipe {path}: {exc.strerror or exc}") from exc
    except ValueError as exc:
        raise InputError(f"{path} is not a recipe: {exc}") from exc
    try:
        return _build(path.stem, data)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        kind = "" if type(exc) is ValueError else "no " if type(exc) is KeyError else f"{type(exc).__name__} "
        raise InputError(f"{path} is not a recipe: {kind}{exc}") from exc


def _column(entry: dict[str, Any]) -> Column:
    own = {
        key: entry.pop(key)
        for key in ("label", "run", "value", "factor", "digits", "unit", "against", "how", "x")
        if key in entry
    }
    return Column(**own, values={key: str(value) for key, value in entry.items()})


def _build(name: str, data: dict[str, Any]) -> Recipe:
    columns = tuple(_column({**data.get("cell", {}), **entry}) for entry in data["column"])
    rows = tuple(
        Row(
            str(entry["label"]),
            {key: str(value) for key, value in entry.items() if key not in ROW_KEYS},
            tuple(entry.get("skip", ())),
            str(entry.get("line", "")),
            str(entry.get("place", "")),
        )
        for entry in data["row"]
    )
    recipe = Recipe(
        name=name,
        title=str(data["title"]),
        paper=str(data["paper"]),
        seeds=tuple(int(seed) for seed in data.get("seeds", (0,))),
        scales={str(key): dict(value) for key, value in data["scale"].items()},
        steps=tuple(
            Step(entry["name"], entry["run"], bool(entry.get("resumable")), tuple(entry.get("only", ())))
            for entry in data.get("step", ())
        ),
        columns=columns,
        rows=rows,
        compare=tuple(
            Compare(entry["a"], entry["b"], tuple(entry.get("columns", ()))) for entry in data.get("compare", ())
        ),
        paper_rows={str(entry["row"]): tuple(entry["values"]) for entry in data.get("paper_row", ())},
        differs=str(data.get("differs", "")),
        plot=str(data.get("plot", "bars")),
    )
    known = {row.label for row in rows}
    for column in columns:
        if column.against and (column.against not in known or column.how not in HOW):
            raise ValueError(f"column {column.label}: no row {column.against!r}, or no way {column.how!r} to compare")
    if recipe.plot not in PLOTS or (recipe.plot == "xy") != any(column.x for column in columns):
        raise ValueError(f"plot {recipe.plot!r}: choose bars, lines, series, or xy with columns that have an x")
    if (recipe.plot == "series") != any(row.line for row in rows):
        raise ValueError("plot series goes with rows that have a line, and they with it")
    unknown = sorted({column.x for column in columns if column.x} - {column.label for column in columns})
    if unknown:
        raise ValueError(f"x names no column: {unknown[0]}")
    for compare in recipe.compare:
        for label in (compare.a, compare.b):
            if label not in known:
                raise ValueError(f"compare names {label!r}, which is no row: there are {', '.join(sorted(known))}")
    for label, values in recipe.paper_rows.items():
        if len(values) != len(columns):
            raise ValueError(f"paper_row {label} has {len(values)} values for {len(columns)} columns")
    return recipe
