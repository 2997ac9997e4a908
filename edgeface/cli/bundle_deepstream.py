"""edgeface bundle deepstream."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeface.cli.output import Json, Output, Quiet

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(deepstream)


def deepstream(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder or .tar.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    precision: Annotated[str, typer.Option(help="Which of the bundle's models: fp16, fp32 or int8.")] = "fp16",
    primary_id: Annotated[int, typer.Option(help="gie-unique-id of the face detector.")] = 1,
    batch: Annotated[int, typer.Option(help="Faces in one call, at most.")] = 16,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write nvinfer's configuration for the bundle as a secondary engine. nvinfer does not align faces."""
    from edgeface_export.deepstream import CONFIG, DeepStreamSettings, write_deepstream
    from edgeface_runtime.bundle import open_bundle
    from edgeface_runtime.errors import InputError

    output = Output(json, quiet)
    try:
        settings = DeepStreamSettings(precision, primary_id, batch)
    except ValueError as exc:
        raise InputError(str(exc)) from exc
    source = open_bundle(bundle)
    files = write_deepstream(source, out, settings)
    output.wrote(out)
    aligned = source.manifest.crop == "aligned"
    output.data({"folder": str(out), "config": str(out / CONFIG), "files": files, "aligned_faces_wanted": aligned})
    output.line(f"{', '.join(files)}: begin with README.md")
    if aligned:
        output.line(
            "warning: nvinfer crops without five-point alignment, this network wants it: accuracy falls, "
            "see docs/deepstream.md"
        )
