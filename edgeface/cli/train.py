"""edgeface train."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeface.cli.output import Json, Output, Quiet
from edgeface.cli.parse import floats, words

if TYPE_CHECKING:
    from edgeface.models import ArchSpec

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(train)


def train(
    data: Annotated[Path, typer.Option(help="Identity folders of aligned 112x96 crops.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    stage: Annotated[str, typer.Option(help="clean, or occluded (clean and occluded faces 1:2).")] = "clean",
    arch: Annotated[str | None, typer.Option(help="iresnet50 (the paper's, default) or iresnet18.")] = None,
    mask: Annotated[str | None, typer.Option(help="none or decoder; default: as --from, else none.")] = None,
    start: Annotated[Path | None, typer.Option("--from", metavar="CKPT", help="Checkpoint to start from.")] = None,
    prune_first: Annotated[
        float | None, typer.Option(help="The paper's order: prune the new network to this ratio, then train.")
    ] = None,
    width: Annotated[float | None, typer.Option(help="Scale of every width; default 1.")] = None,
    head: Annotated[
        str | None, typer.Option(help="flatten (BN, linear, BN; default) or pool (average pool, linear).")
    ] = None,
    stem_stride: Annotated[int | None, typer.Option(help="Stride of conv1: 1 (default) or 2.")] = None,
    epochs: Annotated[int, typer.Option(help="Passes over the evened data set.")] = 40,
    batch: Annotated[int, typer.Option(help="Faces per step and process.")] = 8,
    lr: Annotated[float | None, typer.Option(help="First rate; default .1 clean, .01 occluded.")] = None,
    momentum: Annotated[float, typer.Option(help="SGD momentum.")] = 0.9,
    weight_decay: Annotated[float, typer.Option(help="Weight decay.")] = 5e-4,
    loss: Annotated[str, typer.Option(help="cosface, arcface or sphereface.")] = "cosface",
    schedule: Annotated[str, typer.Option(help="step (divided by ten twice) or cosine.")] = "step",
    warmup: Annotated[float, typer.Option(help="Share of the steps in which the rate climbs.")] = 0.0,
    seed: Annotated[int, typer.Option(help="First weights, order, augmentation, occluders.")] = 0,
    uneven: Annotated[bool, typer.Option("--uneven", help="Do not even out class sizes.")] = False,
    occluded_part: Annotated[float, typer.Option(help="Occluded share of the samples.")] = 2 / 3,
    kind: Annotated[str, typer.Option(help="Occluders, drawn evenly, such as mix or mask,sunglasses.")] = "mix",
    share: Annotated[str | None, typer.Option(help="Covered share of the area, such as .1,.5.")] = None,
    scale: Annotated[str | None, typer.Option(help="Size of the occluders, within 1,5.")] = None,
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads; 0: as torch decides.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes that prepare samples.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after the last finished epoch.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train one stage: clean, or occluded with a feature mask. Under torchrun it uses all processes."""
    from edgeface.data.folders import scan
    from edgeface.models.checkpoint import read_meta
    from edgeface.training.loop import train as run
    from edgeface.training.settings import TrainSettings
    from edgeface.training.state import claim_folder
    from edgeface_runtime.errors import InputError

    output = Output(json, quiet)
    try:
        settings = TrainSettings(
            stage=stage,
            epochs=epochs,
            batch=batch,
            lr=lr,
            momentum=momentum,
            weight_decay=weight_decay,
            loss=loss,
            schedule=schedule,
            warmup=warmup,
            seed=seed,
            even=not uneven,
            occluded_part=occluded_part,
            kinds=words(kind),
            share=_range(share, "--share"),
            scale=_range(scale, "--scale"),
            precision=precision,
            device=device,
            threads=threads,
            workers=workers,
        )
    except ValueError as exc:
        raise InputError(str(exc)) from exc
    claim_folder(out, resume)
    given = {"--arch": arch, "--width": width, "--head": head, "--stem-stride": stem_stride}
    shape = [flag for flag, value in given.items() if value is not None]
    init: Path | ArchSpec = start or _new(arch, width, head, stem_stride, mask)
    if start is not None:
        if shape:
            raise InputError(f"{shape[0]} is for new networks: the checkpoint of --from has its own, leave it out")
        read_meta(start)  # a bad checkpoint is refused before all faces are read
    folder = scan(data)
    if prune_first is not None:
        init = _pruned(init, prune_first, data, out, seed, resume)
    result = run(settings, folder, out, init, mask=mask if start else None, resume=resume, quiet=quiet)
    if os.environ.get("RANK", "0") != "0":  # under torchrun the first process speaks for all
        return
    output.data(
        {
            "checkpoint": str(result.checkpoint),
            "done": result.done,
            "epochs": result.epochs,
            "losses": result.losses,
            "faces_per_s": result.faces_per_s,
            "skipped": [f"{entry.path}: {entry.reason}" for entry in result.skipped],
        }
    )
    last = f", loss {result.losses[-1]:.3f}" if result.losses else ""
    output.line(f"{stage}: {result.epochs} of {epochs} epochs{last}, {result.faces_per_s:.0f} faces/s")
    if result.checkpoint.is_file():
        output.wrote(result.checkpoint)
    if not result.done:
        raise typer.Exit(130)


def _new(
    arch: str | None, width: float | None, head: str | None, stem_stride: int | None, mask: str | None
) -> ArchSpec:
    from edgeface.models import build_spec

    return build_spec(
        arch or "iresnet50",
        1.0 if width is None else width,
        stem_stride=1 if stem_stride is None else stem_stride,
        head=head or "flatten",
        mask=mask or "none",
    )


def _pruned(init: Path | ArchSpec, ratio: float, data: Path, out: Path, seed: int, resume: bool) -> Path:
    """The new network, pruned before training."""
    from edgeface.data.sample import sample_faces
    from edgeface.pruning.first import prune_untrained
    from edgeface_runtime.errors import InputError

    if isinstance(init, Path):
        raise InputError("--prune-first is for new networks: prune a checkpoint with edgeface prune")
    sample = sample_faces(data, 32, seed)
    return prune_untrained(init, ratio, out, seed, sample.crops, sample.source, keep=resume)


def _range(text: str | None, flag: str) -> tuple[float, float] | None:
    """`.1,.5`, or one number for both."""
    from edgeface_runtime.errors import InputError

    if text is None:
        return None
    found = floats(text, flag)
    if len(found) > 2:
        raise InputError(f"{flag} takes one number or two, such as .1,.5, got {text!r}")
    return found[0], found[-1]
