"""What every command prints: results on stdout, as a table or as JSON; progress and notes on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

__all__ = ["Json", "Output", "Quiet"]

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress and no notes on stderr.")]


@dataclass(frozen=True)
class Output:
    """Where a command's words go."""

    as_json: bool
    quiet: bool

    def note(self, message: str) -> None:
        """One line on stderr, unless quiet."""
        if not self.quiet:
            sys.stderr.write(message + "\n")

    def wrote(self, path: Path) -> None:
        """Say what was written."""
        self.note(f"wrote {path}")

    def data(self, data: Any) -> None:
        """The result as JSON on stdout, when --json was given."""
        if self.as_json:
            sys.stdout.write(json.dumps(data, indent=2, ensure_ascii=False) + "\n")

    def line(self, text: str) -> None:
        """A line of the result on stdout, unless --json was given."""
        if not self.as_json:
            sys.stdout.write(text + "\n")

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """A table on stdout, unless --json was given; the first column is text, the rest numbers."""
        if self.as_json:
            return
        from rich.console import Console
        from rich.table import Table

        table = Table(title=title or None, title_justify="left")
        for number, column in enumerate(columns):
            table.add_column(column, justify="left" if number == 0 else "right", no_wrap=True)
        for row in rows:
            table.add_row(*("" if cell is None else str(cell) for cell in row))
        width = None if sys.stdout.isatty() else 160
        Console(file=sys.stdout, width=width, highlight=False).print(table)
