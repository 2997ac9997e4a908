"""edgeface data protocol."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeface.cli.output import Json, Output, Quiet

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("protocol")(protocol_set)


def protocol_set(
    data: Annotated[Path, typer.Argument(metavar="DATA", help="Folder with lfw and celeba-subset.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder to write: people as links.")],
    protocol: Annotated[str, typer.Option(help="full (all folds test) or half (folds 6-10 test).")] = "full",
    minimum: Annotated[int, typer.Option(help="Pictures an LFW person must have.")] = 2,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the training set of an LFW protocol: people who are in none of its test pairs."""
    from edgeface.evaluation.protocols import make_training_set, test_folds

    output = Output(json, quiet)
    made = make_training_set(data, protocol, out, minimum)
    output.data(made.to_dict())
    folds = test_folds(protocol)
    output.line(f"{made.people} people, {made.pictures} pictures; test with --folds {folds[0]}-{folds[-1]}")
    output.note(f"{made.left_out} people left out: fewer than {minimum} pictures")
    if made.skipped:
        output.note(f"{made.skipped} pictures are damaged")
    output.wrote(out)
