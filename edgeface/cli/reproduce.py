"""edgeface reproduce."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from edgeface.cli.output import Json, Output, Quiet

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(reproduce)


def reproduce(
    name: Annotated[str | None, typer.Argument(help="Recipe, or a .toml file of your own.")] = None,
    list_all: Annotated[bool, typer.Option("--list", help="Show the recipes.")] = False,
    data: Annotated[Path | None, typer.Option(help="Folder of the data sets; default: EDGEFACE_DATA.")] = None,
    scale: Annotated[
        str, typer.Option(help="small (two cores, hours) or paper (the papers' own settings).")
    ] = "small",
    values: Annotated[
        list[str] | None, typer.Option("--set", help="Another value for one of the scale's, NAME=VALUE; repeatable.")
    ] = None,
    work: Annotated[Path, typer.Option(help="Folder where steps are kept and resumed.")] = Path("out/reproduce"),
    out: Annotated[Path, typer.Option(help="Folder of NAME.json, NAME.md, NAME.png.")] = Path("results"),
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Run a table or figure of the papers again, beside the paper's own numbers. Stopped, it goes on."""
    import importlib.util
    import sys

    from edgeface.cli.claim import check_parent
    from edgeface.workflows.recipe import find_recipe, list_recipes
    from edgeface.workflows.reproduce import Settings
    from edgeface.workflows.reproduce import reproduce as run
    from edgeface.workflows.reproduce_report import compare_rows, summary, write_reproduction
    from edgeface_runtime.errors import InputError, MissingExtraError

    output = Output(json, quiet)
    if list_all:
        recipes = list_recipes()
        output.data([{"name": recipe.name, "title": recipe.title, "paper": recipe.paper} for recipe in recipes])
        output.table("recipes", ("name", "title", "paper"), [(r.name, r.title, r.paper) for r in recipes])
        return
    if name is None:
        raise InputError("name a recipe: edgeface reproduce --list shows them")
    recipe = find_recipe(name)
    if importlib.util.find_spec("matplotlib") is None:
        raise MissingExtraError("matplotlib", "plot")  # before hours of work
    for folder in (work, out):
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file: name a folder")
        check_parent(folder)
    named = os.environ.get("EDGEFACE_DATA")
    where = data or (Path(named) if named else None)
    try:
        found = run(recipe, Settings(scale, where, work, _values(values or [])), output.note)
    except KeyboardInterrupt:  # the command inside has just told how it, not this one, goes on
        output.note(f"stopped: the same edgeface reproduce {name} goes on from here; it gives --resume by itself")
        raise
    differences = compare_rows(found)
    header, rows = summary(found)
    command = "edgeface " + shlex.join(_words(sys.argv[1:]))
    written = write_reproduction(found, differences, out, command)
    output.data(
        {
            "recipe": recipe.name,
            "scale": scale,
            "columns": header[1:],
            "rows": [{"label": row[0], "cells": row[1:]} for row in rows],
            "differences": [vars(entry) | {"verdict": entry.verdict} for entry in differences],
            "written": [str(path) for path in written],
        }
    )
    output.table(f"{recipe.title} (scale {scale})", header, rows)
    if differences:
        output.table(
            "differences, 95 % over people",
            ("minus", "", "set", "difference", "from", "to", ""),
            [
                (e.a, e.b, e.column, f"{e.value:+.2f}", f"{e.low:+.2f}", f"{e.high:+.2f}", e.verdict)
                for e in differences
            ],
        )
    for path in written:
        output.wrote(path)


def _values(given: list[str]) -> dict[str, str]:
    from edgeface_runtime.errors import InputError

    found = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not (key and equals):
            raise InputError(f"--set takes NAME=VALUE, such as --set epochs=2, got {text!r}")
        found[key] = value
    return found


def _words(words: list[str]) -> list[str]:
    """The command line for the record, with the data sets' place left out: it says nothing to others."""
    shown, skip = [], False
    for word in words:
        if skip:
            shown.append("DATA")
        elif word.startswith("--data="):
            word = "--data=DATA"
            shown.append(word)
        else:
            shown.append(word)
        skip = word == "--data"
    return shown
