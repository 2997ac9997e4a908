"""edgeface gallery list, delete."""

from __future__ import annotations

from typing import Annotated

import typer

from edgeface.cli.galleries import Cache, GalleryPlace, say_stale
from edgeface.cli.output import Json, Output, Quiet

__all__ = ["app"]

app = typer.Typer(help="Who is enrolled, and removing them.", no_args_is_help=True)


@app.command("list")
def list_people(gallery: GalleryPlace, cache: Cache = None, json: Json = False, quiet: Quiet = False) -> None:
    """List the people of a gallery."""
    from edgeface_runtime.gallery_open import open_gallery

    output = Output(json, quiet)
    with open_gallery(gallery, cache=cache) as store:
        people = store.people()
        say_stale(store.source())
    output.data([person.to_dict() for person in people])
    output.table(store.place, ("name", "templates"), [(person.name, person.templates) for person in people])


@app.command()
def delete(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whom to delete.")],
    gallery: GalleryPlace,
    cache: Cache = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Delete a person's templates and erase them from the disk. Exit code 1 while the erasure is pending.

    On a server it always is: nobody sees its disks from here.
    """
    from edgeface_runtime.gallery_open import open_gallery

    output = Output(json, quiet)
    with open_gallery(gallery, cache=cache) as store:
        erasure = store.delete(name)
    output.data(erasure.to_dict())
    state = "erased" if erasure.erased else f"erasure pending: {erasure.pending}"
    output.line(f"{erasure.name}: {erasure.removed} template{'s' * (erasure.removed != 1)} deleted, {state}")
    if not erasure.erased:
        raise typer.Exit(1)
