"""edgeface compare: bundles, precisions and backends side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeface.cli.engine import NoBuild, Signed, builder
from edgeface.cli.output import Json, Output, Quiet
from edgeface.cli.parse import integers, words

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(compare)


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help="A bundle; alone: its precisions are compared.")],
    b: Annotated[Path | None, typer.Argument(metavar="[B]", help="Another bundle.")] = None,
    precision: Annotated[
        str, typer.Option(help="fp32,fp16,int8; default: all of A alone, else what the backend takes.")
    ] = "",
    backend: Annotated[
        str, typer.Option(help="Of onnxruntime, onnxruntime-tensorrt, tensorrt, tensorrt-rtx.")
    ] = "onnxruntime",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads; 0 leaves it to the backend.")] = 1,
    batch: Annotated[str, typer.Option(help="Batch sizes that are timed.")] = "1,8",
    faces: Annotated[Path | None, typer.Option(help="Folder of crops; default: drawn faces.")] = None,
    count: Annotated[int, typer.Option(help="Faces the outputs are compared on.")] = 64,
    rounds: Annotated[int, typer.Option(help="Timed rounds at batch 1.")] = 40,
    gate: Annotated[
        float | None, typer.Option(help="Exit code 1 where a side's mean cosine to the first is lower.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write all figures there (.json).")] = None,
    no_build: NoBuild = False,
    require_signature: Signed = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Size, latency and outputs side by side; the first side is what the others are compared with."""
    from edgeface.cli.claim import claim_file, is_json
    from edgeface.workflows.compare import CompareSettings
    from edgeface.workflows.compare import compare as measure
    from edgeface.workflows.compare_report import compare_lines, compare_sheets
    from edgeface_runtime.errors import GateError, InputError
    from edgeface_runtime.files import write_json
    from edgeface_runtime.signature import required_key

    output = Output(json, quiet)
    if gate is not None and not 0 < gate <= 1:
        raise InputError(f"--gate is a cosine above 0, at most 1, got {gate:g}")
    if not words(backend):
        raise InputError("--backend is empty")
    settings = CompareSettings(
        words(precision),
        words(backend),
        device,
        threads,
        integers(batch, "--batch"),
        faces,
        count,
        rounds,
        signed_by=required_key(require_signature),
    )
    if out is not None:
        claim_file(out, "JSON file", is_json, force=True)
    bundles = [a] if b is None else [a, b]
    comparison = measure(
        bundles, settings, cosine_needed=gate is not None, builder=builder(output, no_build), note=output.note
    )
    output.data(comparison.to_dict())
    for sheet in compare_sheets(comparison):
        output.table(sheet.title, sheet.columns, sheet.rows)
    for line in compare_lines(comparison):
        output.line(line)
    if out is not None:
        write_json(out, comparison.to_dict())
        output.wrote(out)
    lowest = comparison.lowest_mean_cosine
    if gate is not None and lowest is not None and lowest < gate:
        raise GateError(
            f"the lowest mean cosine to {comparison.sides[0].label} is {lowest:.5f}, below --gate {gate:g}"
        )
