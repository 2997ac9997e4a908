"""edgeface demo."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from edgeface.cli.output import Json, Output, Quiet
from edgeface.cli.parse import floats, integers

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(demo)


def demo(
    faces: Annotated[
        Path | None, typer.Option(help="Your identity folders, crops or photographs; default: procedural faces.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("edgeface-demo"),
    ratios: Annotated[str, typer.Option(help="Ratios to prune at.")] = "0,.1,.2,.3,.4,.5",
    arch: Annotated[str, typer.Option(help="iresnet50 or iresnet18.")] = "iresnet50",
    width: Annotated[float, typer.Option(help="Scale of every width.")] = 0.25,
    epochs: Annotated[str, typer.Option(help="Epochs: dense clean, clean after pruning, occluded.")] = "6,1,3",
    batch: Annotated[int, typer.Option(help="Faces per step.")] = 32,
    seed: Annotated[int, typer.Option(help="Seed of everything.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on in a folder where a demo was stopped.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The whole chain: train, prune at every ratio, train occluded, export, build, enrol, recognise, benchmark."""
    from edgeface.workflows.benchmark_report import headline, sheets
    from edgeface.workflows.demo import DemoSettings, run_demo
    from edgeface_runtime.errors import InputError

    output = Output(json, quiet)
    started = time.monotonic()
    stages = integers(epochs, "--epochs")
    if len(stages) != 3:
        raise InputError(f"--epochs takes three numbers, such as 6,1,3, got {epochs!r}")
    settings = DemoSettings(
        faces=faces,
        ratios=floats(ratios, "--ratios"),
        arch=arch,
        width=width,
        epochs=(stages[0], stages[1], stages[2]),
        batch=batch,
        seed=seed,
    )
    report = run_demo(
        settings, out, resume=resume, quiet=quiet, note=lambda text: output.note(_stamp(started) + text)
    )
    output.data(report.to_dict())
    for sheet in sheets(report.benchmark):
        output.table(sheet.title, sheet.columns, sheet.rows)
    photos = report.photos
    output.table(
        f"photographs, with the default model, of {photos.people} people enrolled",
        ("photograph", "who"),
        [(name, probe.words) for name, probe in photos.probes.items()],
    )
    output.line(f"threshold {photos.threshold:.3f} ({photos.threshold_source})")
    for line in headline(report.benchmark):
        output.line(line)
    for path in (*report.files, out / "demo.json"):
        output.wrote(path)


def _stamp(started: float) -> str:
    seconds = int(time.monotonic() - started)
    return f"[{seconds // 60}:{seconds % 60:02d}] "
