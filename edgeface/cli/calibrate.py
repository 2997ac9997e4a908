"""edgeface calibrate threshold and int8."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeface.cli.device import AllowCpu, Backend, Device, Precision, Threads
from edgeface.cli.engine import NoBuild, Signed, builder
from edgeface.cli.output import Json, Output, Quiet, counted
from edgeface.cli.parse import floats, words
from edgeface.cli.precisions import Calibration, Count, Method, Pairs, int8_settings, show_precisions
from edgeface.cli.signature import signature_gone

__all__ = ["app"]

app = typer.Typer(help="What a bundle learns from your own faces.", no_args_is_help=True)


@app.callback()
def calibrate() -> None:
    """What a bundle learns from your own faces."""


@app.command()
def threshold(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder.")],
    data: Annotated[Path, typer.Option(help="Identity folders of aligned crops of the bundle's size.")],
    fmr: Annotated[str, typer.Option(help="False match rates.")] = "1e-2,1e-3",
    fpir: Annotated[
        str, typer.Option(help="False positive identification rates, for identify: none, or 1e-2, ...")
    ] = "none",
    gallery_size: Annotated[
        int | None, typer.Option(help="People enrolled to measure --fpir; default: half of them.")
    ] = None,
    draws: Annotated[int, typer.Option(help="Galleries drawn to measure --fpir.")] = 5,
    conditions: Annotated[
        str | None, typer.Option(help="A threshold for each: clean, and what covers the probe: clean,mask,random.")
    ] = None,
    faces: Annotated[int, typer.Option(help="Use at most this many faces.")] = 2000,
    occlusion: Annotated[
        str, typer.Option(help="The one condition, where --conditions gives none: none, random, mask, ...")
    ] = "none",
    seed: Annotated[int, typer.Option(help="Which faces, the occluders, the galleries and the resampling.")] = 0,
    plot: Annotated[Path | None, typer.Option(help="Draw FNMR against FMR into this .png.")] = None,
    backend: Backend = "onnxruntime",
    device: Device = "auto",
    allow_cpu: AllowCpu = False,
    precision: Precision = "auto",
    threads: Threads = 0,
    no_build: NoBuild = False,
    require_signature: Signed = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure cosine thresholds for error rates, with 95 % intervals, and write them into the bundle."""
    from edgeface.cli.claim import check_parent
    from edgeface.cli.progress import bar
    from edgeface.cli.thresholds import conditions_of, show_thresholds
    from edgeface.evaluation.det_plot import check_plot, plot_det
    from edgeface.evaluation.open_matcher import open_matcher
    from edgeface.evaluation.threshold import calibrate_threshold
    from edgeface.evaluation.threshold_store import check_storable, store_thresholds
    from edgeface_runtime.errors import InputError
    from edgeface_runtime.signature import is_signed

    output = Output(json, quiet)
    rates = floats(fmr, "--fmr")
    alarms = () if fpir == "none" else floats(fpir, "--fpir")
    if gallery_size is not None and not alarms:
        raise InputError("--gallery-size is of the galleries that measure --fpir: give that too, or leave it out")
    check_storable(bundle)
    covers = conditions_of(conditions, occlusion, seed)
    if plot is not None:
        check_plot(plot)
        check_parent(plot)
    with (
        open_matcher(
            bundle,
            backend=backend,
            precision=precision,
            device=device,
            threads=threads,
            allow_cpu=allow_cpu,
            builder=builder(output, no_build),
            require_signature=require_signature,
        ) as matcher,
        bar("embedding", quiet) as progress,
    ):
        output.fell_back(matcher.describe())
        result = calibrate_threshold(
            matcher,
            data,
            rates,
            limit=faces,
            seed=seed,
            conditions=covers,
            fpir=alarms,
            gallery_size=gallery_size,
            draws=draws,
            progress=progress,
        )
    if result.skipped:
        output.note(f"{counted(len(result.skipped), 'file')} left out, first {result.skipped[0]}")
    if plot is not None:
        plot_det(result, plot)
        output.wrote(plot)
    signed = is_signed(bundle)
    for rate, before in store_thresholds(bundle, result).items():
        output.note(f"false match rate {rate}: replaces the threshold {before:.4f}")
    output.wrote(bundle)
    if signed:
        signature_gone(output, bundle)
    output.data({**result.to_dict(), "signature_removed": signed})
    show_thresholds(output, result)


@app.command()
def int8(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder or .tar.")],
    data: Annotated[Path, typer.Option(help="Identity folders of aligned faces, of the bundle's input size.")],
    precision: Annotated[str, typer.Option(help="int8, int8+fp16, or both.")] = "int8",
    count: Count = None,
    pairs: Pairs = None,
    calibration: Calibration = 256,
    method: Method = "percentile",
    force: Annotated[
        bool, typer.Option("--force", help="Write what misses its gate, and say so in the manifest.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Give a bundle INT8 models, calibrated on your own faces and judged against its FP32 model on others."""
    from dataclasses import replace

    from edgeface.cli.progress import phases
    from edgeface.data.judged import judged_faces
    from edgeface_export.add_precisions import add_precisions
    from edgeface_export.judge import Judging
    from edgeface_runtime.bundle import open_bundle
    from edgeface_runtime.errors import InputError
    from edgeface_runtime.signature import is_signed

    output = Output(json, quiet)
    wanted = words(precision)
    if not wanted or not set(wanted) <= {"int8", "int8+fp16"}:
        raise InputError(f"--precision {precision}: give int8, int8+fp16, or both")
    opened = open_bundle(bundle)
    known, signed = opened.manifest, is_signed(opened.folder)
    size = (known.input.height, known.input.width)
    template = known.template if known.crop == "aligned" else None
    sample = judged_faces(data, count, pairs, size, template)
    settings = int8_settings(wanted, data, sample, calibration, method, size, template)
    with phases(quiet) as progress:
        manifest = add_precisions(
            bundle,
            wanted,
            Judging(sample.crops, sample.pairs, accept=force, progress=progress),
            None if settings is None else replace(settings, progress=progress),
        )
    output.wrote(bundle)
    if signed:
        signature_gone(output, bundle)
    output.data({"bundle": str(bundle), "compared_on": sample.source, **manifest.to_dict()})
    show_precisions(output, manifest, sample)
