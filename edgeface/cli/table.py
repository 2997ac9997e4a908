"""Tables drawn with lines. By hand rather than by rich, which takes a tenth of a device's whole command to import."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

__all__ = ["cells", "draw"]


def cells(text: str) -> int:
    """Columns of a terminal that `text` takes: two for a wide letter, none for an accent that goes onto the last."""
    return sum(
        0 if unicodedata.combining(letter) else 1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text
    )


def draw(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table; the first column stands left, the others right.

    Args:
        title: above the table; none where empty.
        columns: their names.
        rows: as many cells each.
    """
    widths = [max(map(cells, column)) for column in zip(columns, *rows, strict=True)]

    def rule(left: str, line: str, between: str, right: str) -> str:
        return left + between.join(line * (width + 2) for width in widths) + right

    def shown(row: Iterable[str], edge: str) -> str:
        padded = []
        for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
            blanks = " " * (width - cells(cell))
            padded.append(f" {cell}{blanks} " if number == 0 else f" {blanks}{cell} ")
        return edge + edge.join(padded) + edge

    return [
        *([title] if title else []),
        rule("┏", "━", "┳", "┓"),
        shown(columns, "┃"),
        rule("┡", "━", "╇", "┩"),
        *(shown(row, "│") for row in rows),
        rule("└", "─", "┴", "┘"),
    ]
