"""edgeface bundle import: a recogniser from elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeface.cli.output import Json, Output, Quiet
from edgeface.cli.parse import sides
from edgeface.cli.precisions import (
    Calibration,
    Count,
    Method,
    Pairs,
    asked_precisions,
    int8_settings,
    note_lost,
    show_precisions,
    thresholds_there,
)

if TYPE_CHECKING:
    from edgeface_export.import_onnx import Imported
    from edgeface_runtime.manifest import InputSpec

__all__ = ["register"]

LOOKED = 32
"""Faces at which a network is looked at before it is written."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_)


def import_(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="ONNX file of a face recogniser.")],
    out: Annotated[Path, typer.Option(help="Bundle to write: a folder, or one file ending in .tar.")],
    size: Annotated[
        str | None, typer.Option("--input", metavar="HxW", help="Of its input; default: as the graph says.")
    ] = None,
    pixels: Annotated[
        str | None, typer.Option("--range", metavar="LOW..HIGH", help="Of its input: -1..1, 0..255 or 0..1.  [-1..1]")
    ] = None,
    mean: Annotated[
        float | None, typer.Option(help="Instead of --range: taken off every pixel, such as 127.5.")
    ] = None,
    std: Annotated[
        float | None, typer.Option(help="Instead of --range: what it is divided by then, such as 128.")
    ] = None,
    color: Annotated[str, typer.Option(help="RGB or BGR.")] = "RGB",
    layout: Annotated[str | None, typer.Option(help="NCHW or NHWC; default: as the graph says.")] = None,
    output: Annotated[
        str | None, typer.Option(help="Which output is the embedding, where there are several.")
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            metavar="arcface|edgeface|FILE",
            help="Where it wants the five points of a face; FILE: JSON [[x, y], ...]. "
            "[default: arcface for squares, edgeface for 112x96]",
        ),
    ] = None,
    crop: Annotated[str, typer.Option(help="aligned, or box: the detector's box, resized.")] = "aligned",
    name: Annotated[str | None, typer.Option(help="Name of the model; default: that of the bundle.")] = None,
    licence: Annotated[str, typer.Option(help="Licence of the weights, for the manifest.")] = "",
    data: Annotated[str, typer.Option(help="What they were trained on, for the manifest.")] = "",
    precision: Annotated[
        str, typer.Option(help="fp32, fp16, int8, int8+fp16, or several; fp32 is always written.")
    ] = "fp16",
    faces: Annotated[
        Path | None, typer.Option(help="Identity folders of crops of its size, to look at and calibrate on.")
    ] = None,
    count: Count = None,
    pairs: Pairs = None,
    calibration: Calibration = 256,
    method: Method = "percentile",
    force: Annotated[
        bool, typer.Option("--force", help="Replace a bundle that is there; write what misses its gate, and say so.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a bundle of a recogniser from elsewhere (ONNX): everything else then works on it."""
    from dataclasses import replace

    from edgeface.cli.progress import phases
    from edgeface.data.judged import judged_faces
    from edgeface.data.sample import sample_faces, sample_people
    from edgeface.data.template import read_template
    from edgeface_export.import_checks import People
    from edgeface_export.import_onnx import ImportSettings, import_bundle, open_foreign
    from edgeface_export.judge import Judging
    from edgeface_runtime.errors import InputError

    output_ = Output(json, quiet)
    wanted = asked_precisions(precision)
    if crop not in ("aligned", "box"):
        raise InputError(f"--crop must be aligned or box, got {crop!r}")
    if crop == "box" and template is not None:
        raise InputError("--template goes with --crop aligned: a box crop is not aligned")
    spec = _spec(pixels, mean, std, color.upper())
    if layout is not None and layout not in ("NCHW", "NHWC"):
        raise InputError(f"--layout must be NCHW or NHWC, got {layout!r}")
    foreign = open_foreign(model, sides(size, "--input") if size else None, layout, output)
    height, width = foreign.input.size
    points = read_template(_template(template, crop, height, width), (height, width))
    try:
        settings = ImportSettings(
            name or out.name.removesuffix(".tar"),
            replace(spec, height=height, width=width),
            points,
            crop,
            licence,
            data,
            wanted,
            force,
        )
    except ValueError as exc:
        raise InputError(str(exc)) from exc
    aligned = points if crop == "aligned" else None
    sample = sample_faces(faces, LOOKED, size=(height, width), template=aligned)
    judged = judged_faces(faces, count, pairs, (height, width), aligned)
    found = None if faces is None else sample_people(faces, size=(height, width), template=aligned)
    people = None if found is None else People(found.crops, found.labels)
    lost = thresholds_there(out)
    with phases(quiet) as progress:
        settings = replace(settings, judging=Judging(judged.crops, judged.pairs, accept=force, progress=progress))
        int8 = int8_settings(wanted, faces, judged, calibration, method, (height, width), aligned)
        if int8 is not None:
            settings = replace(settings, int8=replace(int8, progress=progress))
        imported = import_bundle(foreign, out, settings, sample.crops, people, progress)
    output_.wrote(out)
    note_lost(output_, lost)
    for warning in imported.seen.warnings:
        output_.note(f"warning: {warning}")
    output_.data({"bundle": str(out), "looked_at": sample.source, **imported.manifest.to_dict()})
    show_precisions(output_, imported.manifest, judged)
    _show(output_, imported)


def _spec(pixels: str | None, mean: float | None, std: float | None, color: str) -> InputSpec:
    """Range and colour order, as the manifest has them."""
    from edgeface_export.import_checks import RANGES
    from edgeface_runtime.errors import InputError
    from edgeface_runtime.manifest import InputSpec

    if color not in ("RGB", "BGR"):
        raise InputError(f"--color must be RGB or BGR, got {color!r}")
    if (mean is None) != (std is None):
        raise InputError("--mean and --std belong together: (pixel - mean) / std")
    if mean is not None and std is not None:
        if pixels is not None:
            raise InputError("--range and --mean with --std say the same: give one of them")
        return InputSpec(color=color, mean=mean, std=std)
    if pixels is not None and pixels not in RANGES:
        raise InputError(f"--range must be one of {', '.join(RANGES)}, got {pixels!r}; or give --mean and --std")
    low, high = RANGES[pixels or "-1..1"]
    return InputSpec(color=color, mean=low, std=high)


def _template(template: str | None, crop: str, height: int, width: int) -> str | None:
    from edgeface_runtime.errors import InputError

    if template is not None or crop == "box" or (height, width) == (112, 96):
        return template
    if height != width:
        raise InputError(
            f"a network of {height}x{width} has a template of its own: give --template FILE with its five points, "
            "or --crop box if its faces are not aligned"
        )
    return "arcface"


def _show(output: Output, imported: Imported) -> None:
    manifest, seen = imported.manifest, imported.seen
    spec = manifest.input
    output.line(
        f"input {spec.height}x{spec.width} {spec.color}, (pixel - {spec.mean:g}) / {spec.std:g}; "
        f"embedding {manifest.embedding_size}; {manifest.parameters} parameters, {manifest.macs} MACs"
    )
    if seen.auc is not None:
        others = ", ".join(f"{flags} {value:.4f}" for flags, value in seen.alternatives)
        output.line(f"area under the curve {seen.auc:.4f}; with other flags: {others}")
