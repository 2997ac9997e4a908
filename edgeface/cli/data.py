"""edgeface data align, occlude, synthetic."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeface.cli import data_import, data_protocol, data_split
from edgeface.cli.output import Json, Output, Quiet
from edgeface.cli.parse import sides

__all__ = ["app"]

app = typer.Typer(
    help="Prepare faces: import data sets, align photographs, cover faces, draw faces.", no_args_is_help=True
)
for module in (data_import, data_protocol, data_split):
    module.register(app)

Source = Annotated[Path, typer.Argument(metavar="SRC", help="Folder with one folder of pictures per person.")]
Target = Annotated[Path, typer.Argument(metavar="DST", help="Folder to write.")]


@app.command()
def align(
    source: Source,
    target: Target,
    min_face: Annotated[int, typer.Option(help="Smallest face to look for, pixels.")] = 40,
    workers: Annotated[int, typer.Option(help="Processes that share the pictures.")] = 2,
    crop: Annotated[
        str, typer.Option(help="aligned: onto the template; box: the detector's box, with landmarks.json.")
    ] = "aligned",
    size: Annotated[
        str | None, typer.Option(metavar="HxW", help="Of the crops.  [default: 112x96; box crops: 128x96]")
    ] = None,
    template: Annotated[
        str | None,
        typer.Option(
            metavar="edgeface|arcface|FILE",
            help="Where the five points come to lie.  [default: arcface for 112x112, else ours, stretched]",
        ),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find, align and crop the largest central face of every photograph; goes on where it was stopped."""
    from dataclasses import replace

    from edgeface.data.align_folder import AlignSettings, align_folder
    from edgeface.data.template import read_template
    from edgeface_runtime.errors import InputError

    output = Output(json, quiet)
    try:
        settings = AlignSettings(min_face=min_face, crop=crop, size=sides(size, "--size") if size else None)
        if template is not None:
            settings = replace(settings, template=read_template(template, settings.crop_size))
    except ValueError as exc:
        raise InputError(str(exc)) from exc
    report = align_folder(source, target, settings, workers, progress=not quiet)
    output.wrote(target)
    skipped = [{"source": entry.source, "reason": entry.reason} for entry in report.skipped]
    output.data(
        {
            "aligned": report.aligned,
            "reused": report.reused,
            "people": report.identities,
            "manifest": str(report.manifest),
            "skipped": skipped,
            "landmarks_outside": list(report.outside),
        }
    )
    if not report.aligned and report.skipped:
        first = report.skipped[0]
        raise InputError(f"none of {len(skipped)} pictures could be aligned, first {first.source}: {first.reason}")
    total = report.aligned + len(report.skipped)
    output.line(f"{report.aligned} of {total} pictures aligned, {report.identities} people, {len(skipped)} skipped")
    for entry in report.skipped[:10]:
        output.line(f"  skipped {entry.source}: {entry.reason}")
    if len(report.skipped) > 10:
        output.line(f"  and {len(report.skipped) - 10} more, all in {report.manifest}")
    if report.outside:
        output.line(f"{len(report.outside)} crops have a landmark outside: {', '.join(report.outside[:10])}")


@app.command()
def occlude(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="Tree of aligned 112x96 crops, or any faces with landmarks.")
    ],
    target: Target,
    kind: Annotated[
        str,
        typer.Option(help="mask, surgical, n95, sunglasses, scarf, cup, book, hand, eyes, nine, random, mix, ..."),
    ],
    seed: Annotated[int, typer.Option(help="The same seed covers the same picture the same way.")] = 0,
    share: Annotated[float | None, typer.Option(help="Covered share of the area, 0 to .9.")] = None,
    scale: Annotated[float | None, typer.Option(help="Size, 1 to 5; not with --share.")] = None,
    alpha: Annotated[float, typer.Option(help="Opacity, .1 to 1.")] = 1.0,
    templates: Annotated[
        Path | None,
        typer.Option(help="Folder of RGBA PNG pictures, or with MaskTheFace's masks.cfg, to use instead."),
    ] = None,
    landmarks: Annotated[
        Path | None, typer.Option(help="Five points per picture, JSON; default SRC/landmarks.json, if any.")
    ] = None,
    no_masks: Annotated[bool, typer.Option("--no-masks", help="Do not write the masks.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write an occluded copy of a tree of faces, with masks and a manifest; reproducible from the seed."""
    from edgeface.cli.progress import bar
    from edgeface_calibration.occluded_set import write_occluded_set

    output = Output(json, quiet)
    with bar("covering", quiet) as progress:
        report = write_occluded_set(
            source,
            target,
            kind,
            seed,
            share,
            scale,
            not no_masks,
            progress,
            templates,
            alpha=alpha,
            landmarks=landmarks,
        )
    output.wrote(target)
    output.data(report.to_dict())
    output.line(f"{report.pictures} pictures, {100 * report.mean_share:.1f} % of the area covered on average")
    output.line(f"kinds: {', '.join(f'{name} {number}' for name, number in report.kinds.items())}")
    if report.skipped:
        first = report.skipped[0]
        output.line(f"{len(report.skipped)} skipped, first {first.name}: {first.reason}")


@app.command()
def synthetic(
    target: Target,
    people: Annotated[int, typer.Option(help="How many people.")] = 24,
    per_person: Annotated[int, typer.Option(help="Pictures of each.")] = 12,
    seed: Annotated[int, typer.Option(help="Other seeds draw other people.")] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Draw procedural faces as identity folders: for trying things out, no evidence of accuracy."""
    from edgeface.cli.progress import bar
    from edgeface.data.synthetic import write_synthetic
    from edgeface_runtime.errors import InputError

    output = Output(json, quiet)
    if seed < 0:
        raise InputError(f"--seed must be at least 0, got {seed}")
    with bar("drawing", quiet) as progress:
        written = write_synthetic(target, people, per_person, seed, progress)
    output.wrote(target)
    output.data({"folder": str(target), "people": people, "pictures": written})
    output.line(f"{written} pictures of {people} people")
