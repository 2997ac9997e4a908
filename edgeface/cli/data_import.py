"""edgeface data import."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from edgeface.cli.output import Json, Output, Quiet

__all__ = ["register"]

SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_)


def import_(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="A data set as published.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="Folder to write.")],
    name: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="casia-rec, rmfd, rmfd-simulated, megaface, rmf2, lfw, ar, folders.  [default: told by the layout]",
        ),
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(help="How its pictures are aligned: edgeface, insightface, none.  [default: told by the set]"),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write a published data set as identity folders; goes on where it was stopped, lists what it skipped."""
    from edgeface.cli.progress import bar
    from edgeface.data.import_set import check_template, import_set
    from edgeface.data.readers import open_reader
    from edgeface_runtime.errors import InputError

    output = Output(json, quiet)
    check_template(template)  # before a large set is read
    with open_reader(source, name) as faces, bar("importing", quiet) as progress:
        output.note(f"{source}: {faces.format}, {len(faces.samples)} pictures of {len(faces.identities)} people")
        report = import_set(faces, target, template, progress)
    if report.written:
        output.wrote(target)
    manifest = None if report.manifest is None else str(report.manifest)
    skipped = [{"name": entry.name, "reason": entry.reason} for entry in report.skipped]
    output.data({**asdict(report), "format": faces.format, "manifest": manifest, "skipped": skipped})
    if not report.written and report.skipped:
        first = report.skipped[0]
        raise InputError(f"none of {len(faces.samples)} pictures could be used, first {first.name}: {first.reason}")
    parts = [f"{number} {role}" for role, number in report.roles.items() if role]
    roles = f" ({', '.join(parts)})" if parts else ""
    output.line(f"{report.written} pictures{roles} of {report.people} people, {len(report.skipped)} skipped")
    for entry in report.skipped[:SHOWN]:
        output.line(f"  skipped {entry.name}: {entry.reason}")
    if len(report.skipped) > SHOWN:
        output.line(f"  and {len(report.skipped) - SHOWN} more, all in {report.manifest}")
    for note in report.notes:
        output.line(f"  {note}")
    if not report.aligned:
        part = "/ROLE" if len(report.roles) > 1 else ""
        output.note(f"these are photographs, not aligned crops: edgeface data align {target}{part} FACES{part}")
