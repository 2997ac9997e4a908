"""Stages of edgeface train that train no recognition network: a mask dictionary, a segmenter of occlusions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from edgeface.cli.parse import floats, sides, words

__all__ = ["OTHER_STAGES", "flag_range", "refuse_flags_of_others", "run_other_stage"]

COMMON = ("data", "out", "start", "epochs", "batch", "lr", "seed", "device", "threads", "resume", "quiet", "json")
OTHER_STAGES: dict[str, tuple[str, ...]] = {
    "dictionary": (
        *COMMON,
        *("mask", "grid", "tau", "discarded", "fill", "pairs", "loss", "momentum", "weight_decay", "precision"),
    ),
    "segmenter": (
        *COMMON,
        *("arch", "width", "input_size", "labels", "kind", "share", "scale", "occluded_part"),
        *("weight_decay", "schedule", "warmup", "precision", "workers"),
    ),
}
"""The parameters of `edgeface train` that such a stage takes."""

ALWAYS: dict[str, Any] = {
    **dict.fromkeys(("data", "out", "start", "mask", "arch", "epochs", "batch", "lr")),
    "seed": 0,
    "device": "auto",
    "threads": 0,
    **dict.fromkeys(("resume", "quiet", "json"), False),
}
"""Passed on in any case; None: as the stage has it by default. All else only where it was given."""


def flag_range(text: str | None, flag: str) -> tuple[float, float] | None:
    """`.1,.5`, or one number for both.

    Raises:
        InputError: anything else.
    """
    from edgeface_runtime.errors import InputError

    if text is None:
        return None
    found = floats(text, flag)
    if len(found) > 2:
        raise InputError(f"{flag} takes one number or two, such as .1,.5, got {text!r}")
    return found[0], found[-1]


READ: dict[str, tuple[str, Callable[[str], Any]]] = {
    **{name: (name, Path) for name in ("data", "out", "start")},  # as typed: typer makes them paths later
    "kind": ("kinds", words),
    "labels": ("label", str),
    "share": ("share", lambda text: flag_range(text, "--share")),
    "scale": ("scale", lambda text: flag_range(text, "--scale")),
    "input_size": ("input_size", lambda text: sides(text, "--input-size")),
}
"""Parameters with another name or type in the library."""


def given_flags(context: typer.Context) -> dict[str, str]:
    """Parameter -> flag of all that the command line names."""
    found = {}
    for option in context.command.params:
        source = context.get_parameter_source(str(option.name))
        if source is not None and source.name == "COMMANDLINE":
            found[str(option.name)] = max(option.opts, key=len)
    return found


def run_other_stage(stage: str, context: typer.Context) -> None:
    """Run `stage`, a key of OTHER_STAGES.

    Raises:
        InputError: a flag that is not for this stage was given.
    """
    from edgeface_runtime.errors import InputError

    given = given_flags(context)
    given.pop("stage", None)
    values = dict(ALWAYS)
    for name, flag in given.items():
        if name not in OTHER_STAGES[stage]:
            raise InputError(f"{flag} is not for --stage {stage}: leave it out")
        key, read = READ.get(name, (name, lambda value: value))
        values[key] = read(context.params[name])
    if stage == "dictionary":
        from edgeface.cli.train_dictionary import run_dictionary

        run_dictionary(**values)
    else:
        from edgeface.cli.train_segmenter import run_segmenter

        run_segmenter(**values)


def refuse_flags_of_others(context: typer.Context) -> None:
    """Refuse flags that only a dictionary or a segmenter takes, rather than let them have no effect.

    Raises:
        InputError: one was given.
    """
    from edgeface_runtime.errors import InputError

    for name, flag in given_flags(context).items():
        for stage, only in (("dictionary", ("grid", "tau", "fill", "pairs")), ("segmenter", ("labels",))):
            if name in only:
                raise InputError(f"{flag} is for --stage {stage}: leave it out")
