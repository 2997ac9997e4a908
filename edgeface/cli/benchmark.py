"""edgeface benchmark."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeface.cli.device import AllowCpu, Backend
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
    backend: Backend = "onnxruntime",
    device: Annotated[str, typer.Option(help="cpu or cuda; by default the GPU for backends that need one.")] = "cpu",
    allow_cpu: AllowCpu = False,
    threads: Annotated[int, typer.Option(help="CPU threads of the backend.")] = 1,
    batch: Annotated[str, typer.Option(help="Batch sizes: 1 for latency, the others for throughput.")] = "1,8,32",
    runs: Annotated[int, typer.Option(help="Timed rounds at batch 1.")] = 40,
    warmup: Annotated[int, typer.Option(help="Untimed rounds first.")] = 5,
    precision: Annotated[
        str,
        typer.Option(help="fp32, fp16, int8, int8+fp16, several by commas; or auto: fp16 for TensorRT, else fp32."),
    ] = "auto",
    mask: Annotated[str, typer.Option(help="Mask of the random-weight networks: decoder or none.")] = "decoder",
    width: Annotated[float, typer.Option(help="Width of the random-weight networks.")] = 1.0,
    no_build: NoBuild = False,
    out: Annotated[Path | None, typer.Option(help="Folder for benchmark.json, .md and the figures.")] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Folder for benchmark.html, one page that needs no network, and benchmark.json."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Report: identity folders of crops to judge bundles on.")
    ] = None,
    pairs: Annotated[Path | None, typer.Option(help="Report: pairs of them in LFW's format.")] = None,
    folds: Annotated[str | None, typer.Option(help="Report: folds to judge on, such as 6-10; default: all.")] = None,
    occlusion: Annotated[
        str, typer.Option(help="Report: what covers the second picture of a pair, each a condition.")
    ] = "none,random,mask",
    faces: Annotated[
        Path | None, typer.Option(help="Report: identity folders of crops to show saliency on; default: drawn faces.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Cost, speed and accuracy of every compression ratio, timed alternately in one process."""
    import importlib.util
    import tempfile
    from dataclasses import replace

    from edgeface.cli.benchmark_page import PageAsked, check_page, gather
    from edgeface.cli.claim import check_parent
    from edgeface.workflows.benchmark import BenchmarkSettings, bundle_subjects, parameter_curves, random_rows
    from edgeface.workflows.benchmark import benchmark as measure
    from edgeface.workflows.benchmark_report import headline, sheets, write_report
    from edgeface_runtime.backends import backend_kind
    from edgeface_runtime.backends.allow_cpu import place
    from edgeface_runtime.errors import InputError, MissingExtraError

    output = Output(json, quiet)
    if out is not None and importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "plot")  # before the work
    if not _given(context, "device"):
        device = backend_kind(backend).device
    placed = place(backend, device, allow_cpu)
    output.fell_back(placed.facts())
    if precision == "auto":
        precision = backend_kind(placed.backend).precision
    settings = BenchmarkSettings(
        placed.backend,
        placed.device,
        threads,
        integers(batch, "--batch"),
        warmup=warmup,
        runs=runs,
        precision=precision,
        fallback=placed.fallback,
        asked=placed.asked,
        no_build=no_build,
    )
    for flag, folder in (("--out", out), ("--report", report)):
        if folder is not None and folder.exists() and not folder.is_dir():
            raise InputError(f"{flag} {folder} is a file: name a folder")
        if folder is not None:
            check_parent(folder)
    asked = PageAsked(
        report, images, pairs, folds, occlusion if _given(context, "occlusion") else None, faces, no_build
    )
    test = check_page(asked, bool(bundles))
    if bundles:
        for flag in ("ratios", "mask", "width"):
            if _given(context, flag):
                raise InputError(f"--{flag} is for networks with random weights: leave it out, or the bundles")
    elif no_build and backend != "onnxruntime":
        raise InputError("--no-build is for bundles: networks with random weights have no engine yet")
    skipped: list[str] = []
    if bundles:
        subjects = bundle_subjects(bundles, settings, skipped.append, filters=report is not None)
        for line in skipped:
            output.note(line)
        measured = measure(subjects, settings, weights="trained", note=output.note)
    else:
        with tempfile.TemporaryDirectory(prefix="edgeface-") as work:
            shares = floats(ratios, "--ratios")
            subjects = random_rows(shares, Path(work), settings, mask=mask, width=width, note=output.note)
            measured = replace(
                measure(subjects, settings, weights="random", note=output.note),
                parameters=parameter_curves(shares, mask, width),
            )
    page = None if report is None else gather(measured, subjects, test, asked, skipped, output)
    output.data(measured.to_dict() if page is None else page.to_dict())
    for sheet in sheets(measured):
        output.table(sheet.title, sheet.columns, sheet.rows)
    for line in headline(measured):
        output.line(line)
    if out is not None:
        for path in write_report(measured, out):
            output.wrote(path)
    if page is not None and report is not None:
        from edgeface.workflows.report import write_page

        for path in write_page(page, report):
            output.wrote(path)


def _given(context: typer.Context, flag: str) -> bool:
    source = context.get_parameter_source(flag)
    return source is not None and source.name == "COMMANDLINE"
