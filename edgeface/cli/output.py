"""What every command prints: results on stdout, as a table or as JSON; progress and notes on stderr."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from edgeface.cli.table import cells, draw

__all__ = ["Json", "Output", "Quiet", "counted", "printable"]

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no notes on stderr.")]


PLAIN = str.maketrans("┏┳┓┡╇┩└┴┘━─┃│", "+++++++++--||")
"""A table's lines where stdout cannot write them."""


@dataclass(frozen=True)
class Output:
    """Where a command's words go."""

    as_json: bool
    quiet: bool

    def note(self, message: str) -> None:
        """One line on stderr, unless quiet."""
        if not self.quiet:
            sys.stderr.write(printable(message) + "\n")

    def fell_back(self, ran_on: Mapping[str, Any]) -> None:
        """Say on stderr, even when quiet, that what ran is not what was asked for; `ran_on`: what really ran."""
        reason = ran_on.get("fallback")
        if reason is not None:
            sys.stderr.write(printable(f"no GPU ({reason}): running on the CPU, as --allow-cpu permits") + "\n")

    def wrote(self, path: Path | str, new: bool = True) -> None:
        """Say what was written; what was there before and was added to or changed is no `new` file."""
        self.note(f"{'wrote' if new else 'updated'} {path}")

    def data(self, data: Any) -> None:
        """The result as JSON on stdout, when --json was given."""
        if self.as_json:
            sys.stdout.write(_json(data, indent=2) + "\n")

    def record(self, data: Any) -> None:
        """One of many results as one line of JSON on stdout, at once, when --json was given."""
        if self.as_json:
            sys.stdout.write(_json(data, separators=(",", ":")) + "\n")
            sys.stdout.flush()

    def line(self, text: str) -> None:
        """A line of the result on stdout, unless --json was given."""
        if not self.as_json:
            sys.stdout.write(printable(text) + "\n")

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """A table on stdout, unless --json was given; the first column is text, the rest numbers."""
        if self.as_json:
            return
        shown = [[printable("" if cell is None else str(cell)) for cell in row] for row in rows]
        lines = draw(printable(title), columns, shown)
        if sys.stdout.isatty() and max(map(cells, lines)) > shutil.get_terminal_size().columns:
            # Too narrow for a table: one field a line, nothing cut off.
            lines = [printable(title)] if title else []
            for row in shown:
                fields = zip(columns, row, strict=True)
                lines += ["", *(f"{column + ':' if column else '':<12} {cell}" for column, cell in fields if cell)]
        text = "".join(line + "\n" for line in lines)
        sys.stdout.write(text if _fits("┏") else text.translate(PLAIN))


def counted(number: int, one: str, many: str | None = None) -> str:
    """`1 template`, `2 templates`."""
    return f"{number} {one if number == 1 else many or one + 's'}"


def _fits(text: str) -> bool:
    """Whether stdout can write it: not every terminal's or pipe's encoding is UTF-8."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _json(data: Any, **style: Any) -> str:
    """As JSON; what stdout cannot write, such as a file's name that is no text, by JSON's own escapes."""
    text = json.dumps(data, ensure_ascii=False, **style)
    return text if _fits(text) else json.dumps(data, **style)


def printable(text: str) -> str:
    """`text` with what a terminal would obey, such as escape codes in a file's name, shown instead."""
    return "".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in text)
