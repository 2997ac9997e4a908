"""edgeface train --stage segmenter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from edgeface.cli.output import Output

__all__ = ["run_segmenter"]


def run_segmenter(
    data: Path,
    out: Path,
    *,
    start: Path | None = None,
    resume: bool = False,
    json: bool = False,
    quiet: bool = False,
    **given: Any,
) -> None:
    """Train a segmenter into OUT/segmenter.safetensors.

    Args:
        start: a segmenter to start from; its network and input size are then taken.
        given: fields of SegmentSettings; None leaves one at its default.
    """
    from edgeface.models.segmenter import read_segmenter
    from edgeface.segmentation.settings import SegmentSettings
    from edgeface.segmentation.training import claim_run, train_segmenter
    from edgeface_runtime.errors import InputError

    output = Output(json, quiet)
    asked = {name: value for name, value in given.items() if value is not None}
    if start is not None:
        for name in ("arch", "width"):
            if name in asked:
                raise InputError(f"--{name} is for new networks: the segmenter of --from has its own, leave it out")
        spec, _ = read_segmenter(start)
        asked = {"arch": spec.arch, "input_size": spec.input_size, **asked}
    try:
        settings = SegmentSettings(**asked)
    except ValueError as exc:
        raise InputError(str(exc)) from exc
    claim_run(out, resume)
    result = train_segmenter(settings, data, out, start=start, resume=resume, quiet=quiet)
    scores = result.scores
    output.data(
        {
            "checkpoint": str(result.checkpoint),
            "done": result.done,
            "epochs": result.epochs,
            "losses": result.losses,
            "held_out": None if scores is None else scores.to_dict(),
            "faces_per_s": result.faces_per_s,
            "skipped": [f"{entry.path}: {entry.reason}" for entry in result.skipped],
        }
    )
    words = ""
    if scores is not None:
        words = f", held out: IoU {scores.iou:.3f}, pixels right {scores.pixel_accuracy:.1%}"
    output.line(f"segmenter: {result.epochs} of {settings.epochs} epochs{words}, {result.faces_per_s:.0f} faces/s")
    if result.checkpoint.is_file():
        output.wrote(result.checkpoint)
    if not result.done:
        raise typer.Exit(130)
