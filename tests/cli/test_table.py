"""Tables: as rich draws them, which is the second implementation here."""

from __future__ import annotations

import io

import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgeface.cli.table import cells, draw

TABLES = [
    ("g.db", ("name", "templates"), [("Ada", "12"), ("Zoë Żółć", "1")]),
    ("", ("a longer name", "", "n"), [("x", "", "22222"), ("王小明", "é", "3")]),
    ("a title that is wider than the table", ("c",), []),
]


@pytest.mark.parametrize(("title", "columns", "rows"), TABLES)
def test_tables_are_those_of_rich(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    table = Table(title=title or None, title_justify="left")
    for number, column in enumerate(columns):
        table.add_column(Text(column), justify="left" if number == 0 else "right", no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    drawn = io.StringIO()
    Console(file=drawn, width=200).print(table)
    lines = [line.rstrip() for line in drawn.getvalue().splitlines()]
    if title and len(title) > len(lines[-1]):  # rich breaks it
        lines = [title, *lines[lines.index(next(line for line in lines if line.startswith("┏"))) :]]
    assert draw(title, columns, rows) == lines


@pytest.mark.parametrize("text", ["", "Ada", "王小明", "e\u0301", "Żółć", "ｗ", "한국"])
def test_width_of_text(text: str) -> None:
    assert cells(text) == cell_len(text)
