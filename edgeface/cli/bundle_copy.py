"""edgeface bundle copy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeface.cli.output import Json, Output, Quiet
from edgeface.cli.precisions import (
    Calibration,
    Count,
    Method,
    Pairs,
    asked_precisions,
    int8_settings,
    show_precisions,
)

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(copy)


def copy(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="Bundle folder or .tar, or `default`.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Copy: a folder, or one file ending in .tar.")],
    precision: Annotated[
        str, typer.Option(help="Precisions to add: fp16, int8, int8+fp16, or several; default: as it is.")
    ] = "",
    faces: Annotated[
        Path | None, typer.Option(help="Identity folders of aligned faces to judge and calibrate on.")
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
    """Copy a bundle, packed or unpacked, with more precisions if asked: the shipped model stays as it is."""
    from edgeface_export.copy_bundle import copy_bundle
    from edgeface_runtime.bundle import open_bundle

    output = Output(json, quiet)
    source = open_bundle(bundle)
    if not precision:
        manifest = copy_bundle(source, out, overwrite=force)
        output.wrote(out)
        output.data({"bundle": str(out), **manifest.to_dict()})
        return
    from dataclasses import replace

    from edgeface.cli.progress import phases
    from edgeface.data.judged import judged_faces
    from edgeface_export.judge import Judging

    wanted = asked_precisions(precision)
    size = (source.manifest.input.height, source.manifest.input.width)
    template = source.manifest.template if source.manifest.crop == "aligned" else None
    sample = judged_faces(faces, count, pairs, size, template)
    int8 = int8_settings(wanted, faces, sample, calibration, method, size, template)
    with phases(quiet) as progress:
        judging = Judging(sample.crops, sample.pairs, accept=force, progress=progress)
        settings = None if int8 is None else replace(int8, progress=progress)
        manifest = copy_bundle(source, out, wanted, judging, settings, overwrite=force)
    output.wrote(out)
    output.data({"bundle": str(out), "compared_on": sample.source, **manifest.to_dict()})
    show_precisions(output, manifest, sample)
