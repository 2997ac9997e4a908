"""edgeface data split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeface.cli.output import Json, Output, Quiet
from edgeface.cli.parse import floats

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(split)


def split(
    src: Annotated[Path, typer.Argument(help="Identity folders.")],
    dst: Annotated[Path, typer.Argument(help="Folder to write: train, val and test, as links.")],
    fractions: Annotated[str, typer.Option(help="Shares of every person's pictures.")] = ".7,.15,.15",
    seed: Annotated[int, typer.Option(help="Decides which picture goes where.")] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Divide every person's pictures into training, validation and test."""
    from edgeface.data.split import PARTS, split_folder

    output = Output(json, quiet)
    report = split_folder(src, dst, floats(fractions, "--fractions"), seed)
    output.data(report.to_dict())
    output.table("", ("part", "people", "pictures"), [(p, report.people[p], report.pictures[p]) for p in PARTS])
    if report.skipped:
        first = report.skipped[0]
        output.note(f"left out {len(report.skipped)} files, first {first.path}: {first.reason}")
    if report.without_landmarks:
        output.note(f"{report.without_landmarks} pictures have no landmarks in {src / 'landmarks.json'}")
    output.wrote(dst)
