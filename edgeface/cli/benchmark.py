"""edgeface benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeface.cli.engine import NoBuild
from edgeface.cli.output import Json, Output, Quiet
from edgeface.cli.parse import floats, integers

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(benchmark)


def benchmark(
    context: typer.Context,
    bundles: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[BUNDLE]...", help="Bundles to compare; none: full-width networks, random weights."),
    ] = None,
    ratios: Annotated[str, typer.Option(help="Ratios of the random-weight networks.")] = "0,.1,.2,.3,.4,.5",
    backend: Annotated[str, typer.Option(help="onnxruntime, tensorrt or tensorrt-rtx.")] = "onnxruntime",
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    threads: Annotated[int, typer.Option(help="CPU threads of the backend.")] = 1,
    batch: Annotated[str, typer.Option(help="Batch sizes: 1 for latency, the others for throughput.")] = "1,8,32",
    runs: Annotated[int, typer.Option(help="Timed rounds at batch 1.")] = 40,
    warmup: Annotated[int, typer.Option(help="Untimed rounds first.")] = 5,
    precision: Annotated[
        str, typer.Option(help="fp32, fp16, int8, int8+fp16, or auto: fp16 for TensorRT, else fp32.")
    ] = "auto",
    mask: Annotated[str, typer.Option(help="Mask of the random-weight networks: decoder or none.")] = "decoder",
    width: Annotated[float, typer.Option(help="Width of the random-weight networks.")] = 1.0,
    no_build: NoBuild = False,
    out: Annotated[Path | None, typer.Option(help="Folder for benchmark.json, .md and the figures.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Cost, speed and accuracy of every compression ratio, timed alternately in one process."""
    import importlib.util
    import tempfile
    from dataclasses import replace

    from edgeface.cli.claim import check_parent
    from edgeface.workflows.benchmark import BenchmarkSettings, bundle_subjects, parameter_curves, random_subjects
    from edgeface.workflows.benchmark import benchmark as measure
    from edgeface.workflows.benchmark_report import headline, sheets, write_report
    from edgeface_runtime.errors import InputError, MissingExtraError

    output = Output(json, quiet)
    if out is not None and importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "plot")  # before the work
    if precision == "auto":
        precision = "fp32" if backend == "onnxruntime" else "fp16"
    settings = BenchmarkSettings(
        backend,
        device,
        threads,
        integers(batch, "--batch"),
        warmup=warmup,
        runs=runs,
        precision=precision,
        no_build=no_build,
    )
    if out is not None:
        if out.exists() and not out.is_dir():
            raise InputError(f"--out {out} is a file: name a folder")
        check_parent(out)
    if bundles:
        for flag in ("ratios", "mask", "width"):
            source = context.get_parameter_source(flag)
            if source is not None and source.name == "COMMANDLINE":
                raise InputError(f"--{flag} is for networks with random weights: leave it out, or the bundles")
        report = measure(bundle_subjects(bundles, settings), settings, weights="trained", note=output.note)
    else:
        if no_build and backend != "onnxruntime":
            raise InputError("--no-build is for bundles: networks with random weights have no engine yet")
        with tempfile.TemporaryDirectory(prefix="edgeface-") as work:
            shares = floats(ratios, "--ratios")
            subjects = random_subjects(
                shares, Path(work), mask=mask, width=width, precision=precision, backend=backend, note=output.note
            )
            report = replace(
                measure(subjects, settings, weights="random", note=output.note),
                parameters=parameter_curves(shares, mask, width),
            )
    output.data(report.to_dict())
    for sheet in sheets(report):
        output.table(sheet.title, sheet.columns, sheet.rows)
    for line in headline(report):
        output.line(line)
    if out is not None:
        for path in write_report(report, out):
            output.wrote(path)
