"""edgeface inspect: what a file is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edgeface.cli.output import Json, Output, Quiet

__all__ = ["register"]


CHECKPOINTS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
"""What checkpoints are called; those of torch.save are named as such and refused."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(inspect)


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Checkpoint, bundle, engine or gallery.")],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what a checkpoint, bundle, engine or gallery is, what it costs and where it comes from."""
    output = Output(json, quiet)
    data = _describe(file)
    output.data(data)
    for key, value in data.items():
        entries = _entries(value)
        output.line(f"{key:<16} {entries[0]}")
        for entry in entries[1:]:
            output.line(f"{'':<16} {entry}")


def _describe(file: Path) -> dict[str, Any]:
    from edgeface_runtime.errors import InputError

    bundle_like = file.is_dir() or file.suffix == ".tar" or str(file) == "default"
    if not file.exists() and not bundle_like:
        raise InputError(f"file not found: {file}")
    if bundle_like:
        from edgeface_runtime.bundle import open_bundle

        bundle = open_bundle(file, full=True)
        return {"kind": "bundle", "model_id": bundle.model_id, **bundle.manifest.to_dict()}
    if file.suffix == ".engine":
        from edgeface_runtime.engine import read_sidecar

        return {"kind": "engine", **read_sidecar(file).to_dict()}
    if file.suffix == ".db" or _starts_with(file, b"SQLite format 3"):
        from edgeface_runtime.gallery import Gallery

        with Gallery(file) as gallery:
            people = gallery.people()
            return {
                "kind": "gallery",
                "model_id": gallery.model_id,
                "people": len(people),
                "templates": sum(person.templates for person in people),
            }
    if file.suffix not in CHECKPOINTS:
        raise InputError(
            f"{file} is none of edgeface's files: give a checkpoint (.safetensors), a bundle (a folder or .tar), "
            "an engine (.engine) or a gallery (.db)"
        )
    from dataclasses import asdict

    from edgeface.models import count
    from edgeface.models.checkpoint import read_meta

    spec, meta = read_meta(file)
    return {"kind": "checkpoint", **asdict(count(spec)), **asdict(meta), "arch": spec.to_dict()}


def _starts_with(file: Path, signature: bytes) -> bool:
    with file.open("rb") as stream:
        return stream.read(len(signature)) == signature


def _entries(value: Any) -> list[str]:
    """One line an entry; what is empty is a dash."""
    if isinstance(value, dict):
        lines = [f"{key}: {entry}" for key, entry in value.items()]
    elif isinstance(value, list | tuple):
        lines = [str(entry) for entry in value]
    else:
        lines = [] if value is None or value == "" else [str(value)]
    return lines or ["-"]
