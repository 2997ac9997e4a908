"""edgeface train --stage dictionary."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import typer

from edgeface.cli.output import Output

__all__ = ["run_dictionary"]


LEARNING = ("epochs", "batch", "lr", "fill", "loss", "momentum", "weight_decay")
"""Flags that say how a region's mask is learned."""


def run_dictionary(
    *,
    data: Path,
    out: Path,
    start: Path | None = None,
    mask: str | None = None,
    epochs: int | None = None,
    batch: int | None = None,
    lr: float | None = None,
    seed: int = 0,
    device: str = "auto",
    threads: int = 0,
    resume: bool = False,
    quiet: bool = False,
    json: bool = False,
    **other: Any,
) -> None:
    """Train a mask dictionary and print what came of it; None stands for the default of `DictionarySettings`.

    Args:
        start: `--from`.
        mask: `--mask`: grid (the default), lm1, lm2, lm2s, lmface or cell.
        other: further fields of `DictionarySettings`, such as `tau`, `pairs`, `fill` or `precision`.
    """
    from edgeface.dictionary.run import train_dictionary
    from edgeface.dictionary.settings import DictionarySettings
    from edgeface_runtime.errors import InputError

    output = Output(json, quiet)
    if start is None:
        raise InputError("--stage dictionary needs a trained network: give --from CKPT")
    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise InputError("--stage dictionary runs in one process: start it without torchrun")
    if other.get("grid") is not None and mask not in (None, "grid"):
        raise InputError(f"--grid is for --mask grid: --mask {mask} has regions of its own, leave --grid out")
    if mask == "cell":
        chosen_flags = {"epochs": epochs, "batch": batch, "lr": lr, **other}
        wrong = [key for key, value in chosen_flags.items() if value is not None and key in LEARNING]
        if wrong:
            raise InputError(f"--mask cell learns nothing: leave --{wrong[0].replace('_', '-')} out")
    given: dict[str, Any] = {"kind": mask, "epochs": epochs, "batch": batch, "lr": lr, "seed": seed, "device": device}
    given |= {"threads": threads, **other}
    try:
        chosen: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
        settings = DictionarySettings(**chosen)
    except ValueError as exc:
        raise InputError(str(exc)) from exc
    result = train_dictionary(settings, data, start, out, resume=resume, quiet=quiet)
    found = result.dictionary
    output.data(
        {
            "dictionary": str(result.path),
            "done": result.done,
            "kind": settings.kind,
            "tau": settings.percentile,
            "discarded": settings.discarded,
            "regions": [] if found is None else [{"name": r.name, "box": list(r.box)} for r in found.regions],
            "pairs": result.pairs,
            "plot": None if result.plot is None else str(result.plot),
            "landmarks_outside": result.outside,
            "skipped": [f"{entry.path}: {entry.reason}" for entry in result.skipped],
        }
    )
    if not result.done:
        raise typer.Exit(130)
    assert found is not None
    rows = [
        (region.name, *(f"{value:.0f}" for value in region.box), f"{1 - mask_.mean():.0%}")
        for region, mask_ in zip(found.regions, found.masks, strict=True)
    ]
    output.table(f"dictionary {settings.kind}", ["region", "x1", "y1", "x2", "y2", "discards"], rows)
    output.wrote(result.path)
    if result.plot is not None:
        output.wrote(result.plot)
