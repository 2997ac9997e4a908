"""edgeface doctor: what is missing here, and the command that mends it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeface.cli.output import Json, Output, Quiet

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(doctor)


def doctor(
    bundle: Annotated[
        Path | None, typer.Argument(metavar="[BUNDLE]", help="Also say what of this bundle runs here.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Look at GPU, driver, packages, memory and clocks. Exit code 3 when nothing here can run a bundle."""
    from edgeface_runtime.doctor import diagnose

    output = Output(json, quiet)
    opened = None
    if bundle is not None:
        from edgeface_runtime.bundle import open_bundle

        opened = open_bundle(bundle)
    output.note("looking at this machine: packages are tried one by one, which takes some seconds")
    diagnosis = diagnose(bundle=opened)
    output.data(diagnosis.to_dict())
    group = ""
    for finding in diagnosis.findings:
        if finding.group != group:
            group = finding.group
            output.line(group)
        output.line(f"  {finding.state:<8} {finding.part:<18} {finding.detail}")
        if finding.mend:
            output.line(f"{'':<30}-> {finding.mend}")
    if not diagnosis.runs:
        output.line(f"nothing here can run a bundle: {diagnosis.mend}")
        raise typer.Exit(3)
