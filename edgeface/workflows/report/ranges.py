"""Latency percentiles as a picture: for every row a bar from p50 to p99, with marks at p50, p90 and p99."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from edgeface.workflows.report.markup import Markup, tag
from edgeface.workflows.report.scale import linear_axis

__all__ = ["latency_ranges"]

WIDTH, LINE, BOTTOM, RIGHT = 440, 34, 40, 16


def latency_ranges(names: Sequence[str], times: Sequence[Mapping[str, float]]) -> Markup:
    """A figure of times (ms, by p50, p90, p99) of rows that are called `names`."""
    axis = linear_axis("milliseconds a face, batch 1", [0.0, *(entry["p99"] for entry in times)], zero=True)
    height = LINE * len(names) + BOTTOM
    bottom = height - BOTTOM

    def across(value: float) -> float:
        return round(8 + axis.place(value) * (WIDTH - 8 - RIGHT), 1)

    parts = []
    for tick in axis.ticks:
        parts.append(tag("path", class_="grid", d=f"M{across(tick)} 0V{bottom}"))
        parts.append(tag("text", f"{tick:g}", x=across(tick), y=bottom + 16, text_anchor="middle"))
    parts.append(tag("text", axis.title, class_="axis", x=WIDTH / 2, y=height - 6, text_anchor="middle"))
    for number, (name, entry) in enumerate(zip(names, times, strict=True)):
        top = LINE * number + 24
        p50, p90, p99 = (across(entry[key]) for key in ("p50", "p90", "p99"))
        words = f"{name}: p50 {entry['p50']:.2f} ms, p90 {entry['p90']:.2f} ms, p99 {entry['p99']:.2f} ms"
        parts += [
            tag("text", _cut(name), x=10, y=top - 9),
            tag(
                "g",
                tag("title", words),
                tag("path", class_="bar", d=f"M8 {top}H{p50}"),
                tag("path", class_="reach", d=f"M{p50} {top}H{p99}"),
                tag("path", class_="stop", d=f"M{p90} {top - 5}v10M{p99} {top - 5}v10"),
                tag("circle", class_="dot", cx=p50, cy=top, r=4.5),
                class_="s0",
            ),
        ]
    said = "; ".join(f"{name} {entry['p50']:.1f} ms" for name, entry in zip(names, times, strict=True))
    title = "Latency at batch 1: p50 (dot), p90 and p99 (strokes)"
    picture = tag("svg", *parts, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=f"{title}. p50: {said}.")
    return tag("figure", tag("figcaption", title), picture, class_="chart")


def _cut(name: str, most: int = 52) -> str:
    return name if len(name) <= most else "…" + name[1 - most :]
