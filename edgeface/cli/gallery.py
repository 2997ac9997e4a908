"""edgeface gallery list, delete; looking after one is gallery_care.py."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeface.cli import gallery_care
from edgeface.cli.output import Json, Output, Quiet

__all__ = ["app"]

app = typer.Typer(help="Who is enrolled, removing them, and looking after the file.", no_args_is_help=True)

GalleryFile = Annotated[Path, typer.Option("--gallery", help="Gallery file (.db).")]


@app.command("list")
def list_people(gallery: GalleryFile, json: Json = False, quiet: Quiet = False) -> None:
    """List the people of a gallery."""
    from edgeface_runtime.gallery import Gallery

    output = Output(json, quiet)
    with Gallery(gallery) as store:
        people = store.people()
    output.data([person.to_dict() for person in people])
    output.table(str(gallery), ("name", "templates"), [(person.name, person.templates) for person in people])


@app.command()
def delete(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whom to delete.")],
    gallery: GalleryFile,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Delete a person's templates and erase them from the disk. Exit code 1 while the erasure is pending."""
    from edgeface_runtime.gallery import Gallery

    output = Output(json, quiet)
    with Gallery(gallery) as store:
        erasure = store.delete(name)
    output.data(erasure.to_dict())
    state = "erased" if erasure.erased else f"erasure pending: {erasure.pending}"
    output.line(f"{erasure.name}: {erasure.removed} template{'s' * (erasure.removed != 1)} deleted, {state}")
    if not erasure.erased:
        raise typer.Exit(1)


gallery_care.register(app)
