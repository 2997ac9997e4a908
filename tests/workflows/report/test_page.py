"""The page says what the data says, hides nothing it was given, and reaches for nothing outside itself."""

from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from edgeface.workflows.report import render, write_page
from edgeface.workflows.report.markup import Markup, scrolled_table, tag

HOSTILE = "<script>alert(1)</script>\"' onerror=x & </title></style><img src=http://example.org/x>"
VOID = {"meta", "img", "link", "br"}


class Page(HTMLParser):
    """Elements with their attributes, tables as text, and that every element is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: dict[str, list[list[str]]] = {}
        self.open: list[str] = []
        self.words: list[str] = []
        self._rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, name: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append(name)
        if name == "table":
            self._rows = []
        elif name == "tr":
            self._rows.append([])
        elif name in ("td", "th"):
            self._rows[-1].append("")
        elif name == "caption":
            self._rows.append([""])

    def handle_endtag(self, name: str) -> None:
        assert self.open.pop() == name
        if name == "table":
            (caption,), *rows = self._rows
            self.tables[caption] = rows

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if {"td", "th", "caption"} & set(self.open):
            self._rows[-1][-1] += data

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for element, attributes in self.elements if element == name]


def test_figures_are_those_of_the_data(make_sample_report: Callable[..., Any], tmp_path: Path) -> None:
    written = write_page(make_sample_report(), tmp_path / "deep" / "out")
    assert [path.name for path in written] == ["benchmark.json", "benchmark.html"]
    data = json.loads(written[0].read_text())
    tables = Page(written[1].read_text()).tables
    for row, cost, speed in zip(data["rows"], tables["Cost"][1:], tables["Speed"][1:], strict=True):
        assert cost[0] == speed[0] == row["name"]
        assert cost[1:4] == [row["masking"], row["method"], row["precision"]]
        assert [float(cell.replace("\u202f", "")) for cell in cost[4:]] == [
            row["requested"],
            row["achieved"],
            row["filters"],
            row["parameters"] / 1e6,
            row["macs"] / 1e6,
            row["size_bytes"] / 1e6,
        ]
        times = [row["latency_ms"][key] for key in ("p50", "p90", "p99", "iqr")]
        assert [float(cell) for cell in speed[2:6]] == pytest.approx(times, abs=0.006)
        assert float(speed[6].split("×")[0]) == row["speedup"]
        assert ("not faster" in speed[6]) == row["not_faster"]
        assert float(speed[7].replace("\u202f", "")) == pytest.approx(row["throughput"]["8"], abs=0.06)
    for condition in ("clean", "mask"):
        rows = tables[f"set {condition}: 600 pairs, {condition}"]
        assert rows[0][6:] == ["TAR at FAR 0.1, %", "95 %"], "a rate the pairs do not carry has no column"
        own = [entry for entry in data["measured"] if entry["condition"] == condition]
        for entry, cells in zip(own, rows[1:], strict=True):
            assert cells[0] == data["rows"][entry["row"]]["name"]
            assert float(cells[1]) == pytest.approx(100 * entry["accuracy"], abs=0.006)
            bounds = [float(part) for part in cells[2].split(" to ")]
            assert bounds == pytest.approx([100 * entry["interval"][key] for key in ("low", "high")], abs=0.006)
            assert float(cells[3]) == pytest.approx(entry["auc"], abs=6e-5)
            assert float(cells[5]) == pytest.approx(100 * entry["eer"], abs=0.006)
            assert float(cells[6]) == pytest.approx(100 * entry["tar"][0]["tar"], abs=0.006)
    marks = {(cells[0], cells[1]): cells[3] == "on the front" for cells in tables["All points"][1:]}
    expected = {(data["rows"][p["row"]]["name"], p["protocol"]): p["on_front"] for p in data["pareto"]}
    assert marks == expected and len(marks) == 6
    (looks,) = (rows for caption, rows in tables.items() if caption.startswith("What the pictures"))
    faces = data["saliency"][0]["faces"]
    assert [[float(cell) for cell in cells[2:]] for cells in looks[1:]] == [
        [100 * view["on_cover"] for view in face["views"]] + [view["to_clean"] for view in face["views"]]
        for face in faces
    ]
    assert "data:image" not in written[0].read_text(), "pictures are in the page only"


def test_names_are_shown_and_never_obeyed(make_sample_report: Callable[..., Any]) -> None:
    plain = Page(render(make_sample_report(("a", "b"), notes=("c",))))
    page = Page(render(make_sample_report((HOSTILE, "b"), notes=(HOSTILE,))))
    assert [name for name, _ in page.elements] == [name for name, _ in plain.elements], (
        "no element of a name's making"
    )
    assert not page.of("script")
    assert HOSTILE in page.words and page.tables["Cost"][1][0] == HOSTILE
    events = [key for _, attributes in page.elements for key in attributes if key.startswith("on")]
    assert events == []


def test_nothing_is_fetched(make_sample_report: Callable[..., Any]) -> None:
    text = render(make_sample_report())
    page = Page(text)
    inside = {"#" + str(attributes["id"]) for _, attributes in page.elements if "id" in attributes}
    for name, attributes in page.elements:
        for key in ("src", "href", "srcset", "data", "action", "poster", "background", "xlink:href"):
            value = attributes.get(key)
            assert value is None or value.startswith("data:") or value in inside, (name, key, value)
    assert not page.of("script") and not page.of("iframe") and not page.of("form")
    assert "@import" not in text and "url(" not in text
    policies = [meta["content"] for meta in page.of("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    outside = text.replace("http://www.w3.org/2000/svg", "")  # the icon's namespace
    assert "http://" not in outside and "https://" not in outside


def test_it_can_be_heard_as_well_as_seen(make_sample_report: Callable[..., Any]) -> None:
    page = Page(render(make_sample_report()))
    assert page.of("html") == [{"lang": "en"}] and len(page.of("h1")) == len(page.of("main")) == 1
    assert len(page.of("img")) == 6 and all(len(image["alt"] or "") > 10 for image in page.of("img"))
    ids = [str(attributes["id"]) for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [attributes["aria-labelledby"] for attributes in page.of("section")]
    assert named and set(named) <= set(ids)
    assert len(page.tables) == len(page.of("table")), "every table has a caption of its own"
    assert all(header.get("scope") in ("col", "row") for header in page.of("th"))
    drawings = [svg for svg in page.of("svg") if svg.get("aria-hidden") != "true"]
    assert drawings and all(svg.get("role") == "img" and svg.get("aria-label") for svg in drawings)


def test_everything_is_escaped_but_markup() -> None:
    assert tag("p", "<b>", tag("b", "&"), None, class_='"x"', hidden=None) == (
        '<p class="&quot;x&quot;">&lt;b&gt;<b>&amp;</b></p>'
    )
    table = scrolled_table("<c>", ["<h>"], [["<d>"]])
    assert isinstance(table, Markup) and table.count("&lt;") == 4 and "<d>" not in table
