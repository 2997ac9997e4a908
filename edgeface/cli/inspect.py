"""edgeface inspect: what a file is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeface.cli.output import Json, Output, Quiet

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(inspect)


def inspect(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE|ARCH",
            help="Checkpoint, bundle, ONNX graph, engine, gallery, segmenter, mask dictionary; or a network.",
        ),
    ],
    width: Annotated[float, typer.Option(help="Of a network named: scale of every width.")] = 1.0,
    head: Annotated[str | None, typer.Option(help="Of a network named: flatten, pool or depthwise.")] = None,
    stem_stride: Annotated[int | None, typer.Option(help="Of a network named: stride of conv1.")] = None,
    mask: Annotated[str, typer.Option(help="Of a network named: none, decoder, spatial or vector.")] = "none",
    input_size: Annotated[str | None, typer.Option(metavar="HxW", help="Of a network named.")] = None,
    ratio: Annotated[float, typer.Option(help="Of a network named: pruned, every group alike.")] = 0.0,
    profile: Annotated[
        bool,
        typer.Option("--profile", help="Of an engine: time its layers on this GPU and keep that in its sidecar."),
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what a file is, what it costs and where it comes from; or count a network by its name."""
    from edgeface.cli.parse import sides
    from edgeface.workflows.inspect import describe
    from edgeface.workflows.inspect.network import NetworkAsked, describe_network, known_networks
    from edgeface_runtime.errors import InputError

    output = Output(json, quiet)
    if not file.exists() and str(file) in known_networks():
        if profile:
            raise InputError(f"--profile times the layers of an engine (.engine), not of {file}")
        size = None if input_size is None else sides(input_size, "--input-size")
        found = describe_network(NetworkAsked(str(file), width, head, stem_stride, mask, size, ratio))
    else:
        for flag in ("width", "head", "stem_stride", "mask", "input_size", "ratio"):
            source = context.get_parameter_source(flag)
            if source is not None and source.name == "COMMANDLINE":
                names = ", ".join(known_networks())
                raise InputError(f"--{flag.replace('_', '-')} is for networks by name ({names}), not files")
        if profile:
            from edgeface.workflows.inspect.profile import profile_engine

            profile_engine(file)
            output.note(f"kept the layers' times in {file}.json")
        found = describe(file)
    output.data(found.data)
    before = None
    for name, text in found.lines:
        output.line(f"{name if name != before else '':<16} {text}")
        before = name
    for sheet in found.sheets:
        output.table(sheet.title, sheet.columns, sheet.rows)
