"""edgeface distill."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeface.cli.output import Json, Output, Quiet
from edgeface.cli.parse import words

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(distill)


def distill(
    teacher: Annotated[Path, typer.Option(metavar="CKPT", help="The network to learn from.")],
    data: Annotated[list[Path], typer.Option(help="Folder of aligned 112x96 faces by person; may be given again.")],
    out: Annotated[Path, typer.Option(help="Folder of the run.")],
    faces: Annotated[int, typer.Option(help="Faces to look at in all.")],
    arch: Annotated[str | None, typer.Option(help="A new network: iresnet50 (default), iresnet18 ...")] = None,
    width: Annotated[float, typer.Option(help="Scale of a new network's widths.")] = 1.0,
    start: Annotated[
        Path | None, typer.Option("--from", metavar="CKPT", help="Network to start from, such as a pruned one.")
    ] = None,
    mask: Annotated[str | None, typer.Option(help="Add a mask: decoder, spatial or vector.")] = None,
    patterns: Annotated[int, typer.Option(help="Tell the occlusion patterns of a KxK grid apart (5); 0: no.")] = 0,
    covered: Annotated[
        float, typer.Option(help="Share that the student sees covered and the teacher clean; 0: a clean training.")
    ] = 0.0,
    kind: Annotated[str | None, typer.Option(help="Occluders, in turn; default: mix.")] = None,
    batch: Annotated[int, typer.Option(help="Faces a step.")] = 64,
    lr: Annotated[float, typer.Option(help="Highest rate of AdamW.")] = 3e-3,
    seed: Annotated[int, typer.Option(help="First weights, views, occluders.")] = 0,
    minutes: Annotated[float | None, typer.Option(help="End after so long; --resume goes on.")] = None,
    precision: Annotated[str, typer.Option(help="auto, fp32 or bf16.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(help="CPU threads; 0: as torch decides.")] = 0,
    workers: Annotated[int, typer.Option(help="Processes that draw occluders.")] = 1,
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the teacher's answers, and take them for the same views.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after the last finished round.")] = False,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Teach a network the embeddings of a stronger one; no labels are needed.

    With few faces this goes much further than training on labels: both see the same mixed, bent and tinted faces.
    """
    from edgeface.distillation import DistillSettings
    from edgeface.distillation import distill as run
    from edgeface.models import build_spec
    from edgeface_runtime.errors import InputError

    output = Output(json, quiet)
    if start is not None and (arch is not None or width != 1.0):
        raise InputError(
            "--arch and --width are for new networks: the checkpoint of --from has its own, leave them out"
        )
    if kind is not None and not covered:
        raise InputError("--kind says what covers faces: give their share with --covered .667")
    if minutes is not None and not minutes > 0:
        raise InputError(f"--minutes is {minutes:g}: give more than 0")
    try:
        settings = DistillSettings(
            faces=faces,
            batch=batch,
            lr=lr,
            covered_part=covered,
            kinds=words(kind or "mix"),
            seed=seed,
            precision=precision,
            device=device,
            threads=threads,
            workers=workers,
        )
    except ValueError as exc:
        raise InputError(str(exc)) from exc
    init = build_spec(arch or "iresnet50", width=width) if start is None else start
    found = run(
        settings,
        data,
        teacher,
        out,
        init,
        mask=mask,
        patterns=patterns,
        minutes=minutes,
        cache=cache,
        resume=resume,
        quiet=quiet,
    )
    output.data(
        {
            "checkpoint": str(found.checkpoint),
            "done": found.done,
            "faces_seen": found.faces_seen,
            "faces_per_s": found.faces_per_s,
            "held_out": None if found.away != found.away else found.away,
            **({} if cache is None else {"cached": found.cached}),
            "skipped": [f"{entry.path}: {entry.reason}" for entry in found.skipped],
        }
    )
    output.line(
        f"distilled: {found.faces_seen} of {faces} faces seen, {found.faces_per_s:.0f} faces/s; "
        f"1 - cosine to the teacher on faces held out: {found.away:.3f}"
    )
    if found.checkpoint.is_file():
        output.wrote(found.checkpoint)
    if found.stopped:
        raise typer.Exit(130)
