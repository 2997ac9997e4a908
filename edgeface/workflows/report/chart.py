"""Charts as inline SVG: they take the page's colours, stay sharp in print, and need no script and no package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeface.workflows.report.markup import Markup, tag
from edgeface.workflows.report.scale import Axis

__all__ = ["Point", "Series", "chart", "marker"]

WIDTH, HEIGHT = 440, 300
LEFT, RIGHT, TOP, BOTTOM = 66, 14, 14, 46
KINDS = 8
"""Colours and marks before they come again, then dashed."""
MARKS = ("circle", "square", "up", "diamond", "down", "cross", "ring", "box")


@dataclass(frozen=True)
class Point:
    """One value, with its whiskers where they are known."""

    x: float
    y: float
    words: str = ""
    """Shown when a pointer rests on it."""
    across: tuple[float, float] | None = None
    down: tuple[float, float] | None = None
    faint: bool = False


@dataclass(frozen=True)
class Series:
    """Points of one colour and mark."""

    name: str
    """In the legend, which is left out where no series has one."""
    points: tuple[Point, ...]
    joined: bool = True
    marks: bool = True
    kind: int | None = None
    """Number of its colour and mark; None: its place among the series."""


def chart(
    title: str,
    described: str,
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    *,
    doubtful_below: float | None = None,
    front: Sequence[tuple[float, float]] = (),
) -> Markup:
    """A figure with its legend.

    Args:
        described: what is seen, for those who do not.
        doubtful_below: x below which the ground is shaded.
        front: corners of a line drawn behind the points.
    """
    shade = None
    if doubtful_below is not None and doubtful_below > x.low:
        shade = tag(
            "rect",
            class_="doubtful",
            x=_number(LEFT),
            y=TOP,
            width=_number(_x(x, min(doubtful_below, x.high)) - LEFT),
            height=HEIGHT - TOP - BOTTOM,
        )
    drawn = [_series(entry, number, x, y) for number, entry in enumerate(series)]
    line = tag("path", class_="front", d=_path([(_x(x, a), _y(y, b)) for a, b in front])) if front else None
    picture = tag(
        "svg",
        tag("title", title),
        tag("desc", described),
        shade,
        _grid(x, y),
        line,
        *drawn,
        viewBox=f"0 0 {WIDTH} {HEIGHT}",
        role="img",
        aria_label=f"{title}. {described}",
    )
    return tag("figure", tag("figcaption", title), picture, _legend(series), class_="chart")


def marker(kind: int, x: float, y: float) -> Markup:
    """The mark of a series at a place of the drawing."""
    shape, size = MARKS[kind % KINDS], 4.2
    if shape in ("circle", "ring"):
        return tag("circle", class_=f"mark {shape}", cx=_number(x), cy=_number(y), r=size)
    corners = {
        "square": ((-1, -1), (1, -1), (1, 1), (-1, 1)),
        "box": ((-1, -1), (1, -1), (1, 1), (-1, 1)),
        "up": ((0, -1.25), (1.2, 0.95), (-1.2, 0.95)),
        "down": ((0, 1.25), (1.2, -0.95), (-1.2, -0.95)),
        "diamond": ((0, -1.35), (1.35, 0), (0, 1.35), (-1.35, 0)),
        "cross": ((-1, -1), (1, 1), (0, 0), (1, -1), (-1, 1)),
    }[shape]
    path = _path([(x + size * a * 0.95, y + size * b * 0.95) for a, b in corners])
    return tag("path", class_=f"mark {shape}", d=path if shape == "cross" else path + "Z")


def _series(series: Series, number: int, x: Axis, y: Axis) -> Markup:
    kind = number if series.kind is None else series.kind
    places = [(_x(x, point.x), _y(y, point.y)) for point in series.points]
    parts: list[Markup] = []
    if series.joined and len(places) > 1:
        parts.append(tag("path", class_="line", d=_path(places)))
    for point, (left, top) in zip(series.points, places, strict=True):
        whiskers = []
        if point.across:
            whiskers.append([(_x(x, value), top) for value in point.across])
        if point.down:
            whiskers.append([(left, _y(y, value)) for value in point.down])
        parts += [tag("path", class_="whisker", d=_path(ends)) for ends in whiskers]
        if series.marks:
            words = tag("title", point.words) if point.words else None
            parts.append(tag("g", words, marker(kind, left, top), class_="faint" if point.faint else None))
    return tag("g", *parts, class_=_style(kind))


def _style(kind: int) -> str:
    return f"s{kind % KINDS}" + (" dashed" if kind >= KINDS else "")


def _grid(x: Axis, y: Axis) -> Markup:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    parts = []
    for tick in y.ticks:
        place = _y(y, tick)
        parts.append(tag("path", class_="grid", d=_path([(LEFT, place), (right, place)])))
        parts.append(tag("text", _tick(tick), x=LEFT - 7, y=_number(place + 4), text_anchor="end"))
    for tick in x.ticks:
        place = _x(x, tick)
        parts.append(tag("path", class_="grid", d=_path([(place, TOP), (place, bottom)])))
        parts.append(tag("text", _tick(tick), x=_number(place), y=bottom + 17, text_anchor="middle"))
    middle = (TOP + bottom) / 2
    parts.append(tag("text", x.title, class_="axis", x=(LEFT + right) / 2, y=HEIGHT - 8, text_anchor="middle"))
    turned = f"rotate(-90 12 {middle:g})"
    parts.append(tag("text", y.title, class_="axis", x=12, y=middle, text_anchor="middle", transform=turned))
    parts.append(tag("path", class_="frame", d=_path([(LEFT, TOP), (LEFT, bottom), (right, bottom)])))
    return tag("g", *parts, aria_hidden="true")


def _legend(series: Sequence[Series]) -> Markup | None:
    if not any(entry.name for entry in series):
        return None
    entries = []
    for number, entry in enumerate(series):
        kind = number if entry.kind is None else entry.kind
        line = tag("path", class_="line", d="M1 7H23") if entry.joined else None
        mark = marker(kind, 12, 7) if entry.marks else None
        sign = tag("svg", tag("g", line, mark, class_=_style(kind)), viewBox="0 0 24 14", aria_hidden="true")
        entries.append(tag("li", sign, tag("span", entry.name)))
    return tag("ul", *entries, class_="legend")


def _x(axis: Axis, value: float) -> float:
    return LEFT + axis.place(value) * (WIDTH - LEFT - RIGHT)


def _y(axis: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - axis.place(value) * (HEIGHT - TOP - BOTTOM)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points)


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _tick(value: float) -> str:
    return f"{value:g}".replace("-", "−")
