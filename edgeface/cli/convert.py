"""edgeface convert."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeface.cli.output import Json, Output, Quiet

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(convert)


def convert(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="MobileFaceNet trained elsewhere, 112x96, 128-d (.safetensors).")
    ],
    out: Annotated[Path, typer.Option(help="Where to write the checkpoint.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a checkpoint that is there.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Turn a MobileFaceNet trained elsewhere into a checkpoint. Its weights keep their own terms."""
    from edgeface.cli.claim import claim_file
    from edgeface.models import count, save_checkpoint
    from edgeface.models.checkpoint import is_checkpoint
    from edgeface.models.teacher import read_mobilefacenet

    output = Output(json, quiet)
    claim_file(out, "checkpoint", is_checkpoint, force)
    checkpoint = read_mobilefacenet(source)
    save_checkpoint(out, checkpoint.model, checkpoint.meta)
    spec = checkpoint.model.spec
    counts = count(spec)
    output.wrote(out)
    output.note(f"weights: {checkpoint.meta.licence}")
    output.data(
        {
            "checkpoint": str(out),
            "arch": spec.name,
            "embedding": spec.embedding,
            "parameters": counts.parameters,
            "macs": counts.macs,
            "licence": checkpoint.meta.licence,
        }
    )
    output.line(f"{spec.name}: {counts.parameters} parameters, {counts.macs} MACs, {spec.embedding}-d embedding")
