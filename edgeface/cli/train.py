"""edgeface train."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgeface.cli.output import Json, Output, Quiet
from edgeface.cli.parse import sides, words
from edgeface.cli.train_stages import OTHER_STAGES, flag_range, refuse_flags_of_others, run_other_stage

if TYPE_CHECKING:
    from edgeface.models import ArchSpec

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(train)


def train(
    context: typer.Context,
    data: Annotated[Path, typer.Option(help="Identity folders of aligned 112x96 crops, or of box crops.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    stage: Annotated[
        str, typer.Option(help="clean; occluded (clean and occluded faces 1:2); dictionary; segmenter.")
    ] = "clean",
    arch: Annotated[
        str | None,
        typer.Option(
            help="iresnet50 (the paper's, default), iresnet18, resnet34, mobilefacenet. "
            "Stage segmenter: unet-vgg16, unet-light."
        ),
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            help="none, decoder, spatial or vector; default: as --from, else none. "
            "Stage dictionary: grid (default), lm1, lm2, lm2s, lmface or cell."
        ),
    ] = None,
    patterns: Annotated[
        int, typer.Option(help="Tell the occlusion patterns of a KxK grid apart: 3, 4 or 5; 0: do not.")
    ] = 0,
    pattern_weight: Annotated[float, typer.Option(help="Weight of the patterns in the loss.")] = 1.0,
    start: Annotated[Path | None, typer.Option("--from", metavar="CKPT", help="Checkpoint to start from.")] = None,
    freeze: Annotated[
        str,
        typer.Option(
            help="none; trunk (head and mask learn); network (only the mask does). Class weights always learn."
        ),
    ] = "none",
    prune_first: Annotated[
        float | None, typer.Option(help="The paper's order: prune the new network to this ratio, then train.")
    ] = None,
    width: Annotated[float | None, typer.Option(help="Scale of every width; default 1.")] = None,
    head: Annotated[
        str | None,
        typer.Option(help="flatten (BN, linear, BN), pool (average pool, linear) or depthwise; default: as --arch."),
    ] = None,
    stem_stride: Annotated[int | None, typer.Option(help="Stride of conv1: 1 or 2; default: as --arch.")] = None,
    input_size: Annotated[
        str | None, typer.Option(metavar="HxW", help="Size of the crops of --data; default 112x96.")
    ] = None,
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
    background: Annotated[
        str, typer.Option(help="none; random: noise, a colour or another picture's in place of what is not face.")
    ] = "none",
    background_part: Annotated[float, typer.Option(help="Share of the samples with a random background.")] = 0.5,
    grid: Annotated[int | None, typer.Option(help="Dictionary grid: blocks along each side; default 3.")] = None,
    tau: Annotated[float | None, typer.Option(help="Dictionary: share of the features a region discards.")] = None,
    discarded: Annotated[
        str | None,
        typer.Option(help="Dictionary: what a discarded feature becomes: mean (of clean faces, default) or zero."),
    ] = None,
    fill: Annotated[
        str | None, typer.Option(help="Dictionary: what covers a region: block (default), noise, object or mix.")
    ] = None,
    pairs: Annotated[int | None, typer.Option(help="Dictionary: most pairs of faces per region.")] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Segmenter: exact (the occluder's own mask, default) or difference (the paper's)."),
    ] = None,
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads; 0: as torch decides.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes that prepare samples.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after the last finished epoch.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train one stage: clean, occluded with a feature mask, a mask dictionary, or a segmenter of occlusions.

    Under torchrun the first two use all processes.
    """
    if stage in OTHER_STAGES:
        run_other_stage(stage, context)
        return
    refuse_flags_of_others(context)
    from edgeface.data.folders import scan
    from edgeface.models.checkpoint import read_meta
    from edgeface.training.loop import train as run
    from edgeface.training.run_folder import claim_folder
    from edgeface.training.settings import TrainSettings
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
            share=flag_range(share, "--share"),
            scale=flag_range(scale, "--scale"),
            patterns=patterns,
            pattern_weight=pattern_weight,
            freeze=freeze,
            background=background,
            background_part=background_part,
            precision=precision,
            device=device,
            threads=threads,
            workers=workers,
        )
    except ValueError as exc:
        raise InputError(str(exc)) from exc
    claim_folder(out, resume, stage)
    given = {
        "--arch": arch,
        "--width": width,
        "--head": head,
        "--stem-stride": stem_stride,
        "--input-size": input_size,
    }
    shape = [flag for flag, value in given.items() if value is not None]
    init: Path | ArchSpec = start or _new(arch, width, head, stem_stride, mask, patterns, input_size)
    if start is not None:
        if shape:
            raise InputError(f"{shape[0]} is for new networks: the checkpoint of --from has its own, leave it out")
        read_meta(start)  # a bad checkpoint is refused before all faces are read
    folder = scan(data)
    if prune_first is not None:
        init = _pruned(init, prune_first, data, out, seed, resume)
    chosen = {"--from": start, **given, "--mask": mask, "--prune-first": prune_first}
    if start is None and arch is None:
        chosen["--arch"] = "iresnet50"
    asked = " ".join(f"{flag} {value}" for flag, value in chosen.items() if value is not None)
    result = run(settings, folder, out, init, mask=mask if start else None, resume=resume, quiet=quiet, words=asked)
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
    arch: str | None,
    width: float | None,
    head: str | None,
    stem_stride: int | None,
    mask: str | None,
    patterns: int,
    input_size: str | None,
) -> ArchSpec:
    from edgeface.models import build_spec

    return build_spec(
        arch or "iresnet50",
        1.0 if width is None else width,
        stem_stride=stem_stride,
        head=head,
        mask=mask or "none",
        patterns=patterns,
        input_size=None if input_size is None else sides(input_size, "--input-size"),
    )


def _pruned(init: Path | ArchSpec, ratio: float, data: Path, out: Path, seed: int, resume: bool) -> Path:
    """The new network, pruned before training."""
    from edgeface.data.sample import sample_faces
    from edgeface.pruning.first import prune_untrained
    from edgeface_runtime.errors import InputError

    if isinstance(init, Path):
        raise InputError("--prune-first is for new networks: prune a checkpoint with edgeface prune")
    sample = sample_faces(data, 32, seed, size=init.input_size)
    return prune_untrained(init, ratio, out, seed, sample.crops, sample.source, keep=resume)
