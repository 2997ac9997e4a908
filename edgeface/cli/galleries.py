"""The gallery's flags, and saying that a stale copy answered."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeface.cli.output import printable

if TYPE_CHECKING:
    from edgeface_runtime.gallery_results import GallerySource

__all__ = ["Cache", "GalleryPlace", "say_stale"]

GalleryPlace = Annotated[
    str, typer.Option("--gallery", metavar="GALLERY", help="Gallery file (.db), or milvus://host:19530/name.")
]
Cache = Annotated[
    Path | None,
    typer.Option("--cache", help="File of a copy of a gallery on a server; it answers while that is away."),
]


def say_stale(source: GallerySource | None) -> None:
    """Say on stderr, even when quiet, that a copy answered because the server could not be reached."""
    if source is not None and source.copy_of is not None:
        sys.stderr.write(
            printable(f"{source.reason}; answered by the copy {source.source}, stale since {source.stale_since}")
            + "\n"
        )
