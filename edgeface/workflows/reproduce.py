"""Running a recipe: its steps once, its cells once, everything kept by what was asked, so that it resumes.

A step's folder is named by its command with everything before it that it uses, so two recipes that train the same
network share it, and a change in a step redoes what follows from it and nothing else; a step that nothing asked for
builds on is left out. A step or cell that says {cache} gets the folder WORK/cache, for the --cache of `distill` and
`evaluate`: no result depends on it, and it may be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgeface.workflows.recipe import HOW, Column, Recipe, Row, fill, placeholders
from edgeface.workflows.turns import share_out
from edgeface_runtime.errors import EdgefaceError, GateError, InputError
from edgeface_runtime.files import write_json

__all__ = ["Cell", "Reproduction", "Settings", "reproduce"]

DONE = "step.json"
"""In a finished step's folder: its command and how long it took."""


@dataclass(frozen=True)
class Settings:
    """How a recipe is run."""

    scale: str = "small"
    """Which of the recipe's scales."""
    data: Path | None = None
    """Folder of the data sets, for {data}."""
    work: Path = Path("out/reproduce")
    """Where steps are kept."""
    set_values: Mapping[str, str] | None = None
    """Values that replace those of the scale."""


@dataclass(frozen=True)
class Cell:
    """One measured value."""

    row: str
    column: str
    seed: int
    value: float
    result: dict[str, Any]
    """All that the command gave."""
    scores: Path | None
    """Scores kept for comparing, if the column's command keeps them."""


@dataclass(frozen=True)
class Reproduction:
    """A recipe that was run."""

    recipe: Recipe
    settings: Settings
    cells: tuple[Cell, ...]
    seconds: float
    """Of all steps and cells together, whenever they were run."""


Say = Callable[[str], None]


def reproduce(recipe: Recipe, settings: Settings, say: Say = lambda line: None) -> Reproduction:
    """Run what is not done yet and read every cell.

    Raises:
        InputError: an unknown scale, no data folder where one is needed, or a value that is missing.
        EdgefaceError: a command failed; its own message stands above.
    """
    values = _values(recipe, settings)
    plan = [(seed, _steps(recipe, settings, values, seed)) for seed in recipe.seeds]
    asked = [  # every placeholder is known to have a value before the first command runs
        entry
        for seed, steps in plan
        for row in recipe.rows
        for entry in _cells(recipe, row, seed, steps, values, settings)
    ]
    turns = settings.work / "turns"
    seconds = 0.0

    def do_step(step: _Step) -> None:
        nonlocal seconds
        say(f"step {order[step.folder]} of {len(todo)}: {step.name}")
        seconds += _run_step(step, say)

    todo = _needed({step.folder: step for _, steps in plan for step in steps.values()}, asked)
    order = {folder: number for number, folder in enumerate(todo, 1)}
    share_out(list(todo.values()), lambda step: turns / step.folder.name, do_step, _ready, say)
    results: dict[int, dict[str, Any]] = {}
    raw: dict[tuple[str, str, int], float] = {}

    def do_cell(number: int) -> None:
        nonlocal seconds
        entry = asked[number]
        say(f"cell {number + 1} of {len(asked)}: {entry.row}, {entry.column.label}, seed {entry.seed}")
        results[number], took = _measure(entry)
        # Here, so that a value that is not there is said now, not after hours.
        raw[entry.row, entry.column.label, entry.seed] = float(_dig(results[number], entry.value, entry))
        seconds += took

    share_out(range(len(asked)), lambda n: turns / asked[n].file.stem, do_cell, lambda n: True, say)
    cells = []
    for number, entry in enumerate(asked):
        column, value = entry.column, raw[entry.row, entry.column.label, entry.seed]
        if column.against:
            value = HOW[column.how](value, raw[column.against, column.label, entry.seed])
        cells.append(Cell(entry.row, column.label, entry.seed, column.factor * value, results[number], entry.scores))
    return Reproduction(recipe, settings, tuple(cells), seconds)


@dataclass(frozen=True)
class _Step:
    name: str
    folder: Path
    words: tuple[str, ...]
    resumable: bool
    needs: tuple[Path, ...]
    """Folders of the steps it names."""


@dataclass(frozen=True)
class _Asked:
    row: str
    column: Column
    seed: int
    words: tuple[str, ...]
    file: Path
    scores: Path | None
    value: str


def _values(recipe: Recipe, settings: Settings) -> dict[str, Any]:
    if settings.scale not in recipe.scales:
        raise InputError(f"{recipe.name} has no scale {settings.scale!r}: choose {', '.join(recipe.scales)}")
    given = dict(settings.set_values or {})
    scale = recipe.scales[settings.scale]
    unknown = sorted(given.keys() - scale.keys())
    if unknown:
        raise InputError(f"--set {unknown[0]}: {recipe.name} has no such value, it has {', '.join(sorted(scale))}")
    values = {**scale, **given}
    texts = (
        [step.run for step in recipe.steps]
        + [column.run for column in recipe.columns]
        + list(map(str, values.values()))
    )
    if any("data" in placeholders(text) for text in texts) and "data" not in values:
        if settings.data is None:
            raise InputError(f"{recipe.name} needs data sets: give --data DIR or set EDGEFACE_DATA")
        if not settings.data.is_dir():
            raise InputError(f"--data {settings.data} is not a folder")
        values["data"] = shlex.quote(str(settings.data.resolve()))
    return values


def _steps(recipe: Recipe, settings: Settings, values: Mapping[str, Any], seed: int) -> dict[str, _Step]:
    done: dict[str, _Step] = {}
    for step in recipe.steps:
        if step.only and settings.scale not in step.only:
            continue
        where = f"{recipe.name}, step {step.name}"
        before = {name: shlex.quote(str(entry.folder)) for name, entry in done.items()}
        known = {**values, **before, "seed": seed}
        # The name of the folder says everything but where the data and the work folder lie.
        names = {
            **known,
            **{name: entry.folder.name for name, entry in done.items()},
            "data": "DATA",
            "out": "OUT",
            "cache": "CACHE",
        }
        digest = hashlib.sha256(fill(step.run, names, where).encode()).hexdigest()[:10]
        folder = settings.work / f"{step.name}-{digest}"
        places = {"out": shlex.quote(str(folder)), "cache": shlex.quote(str(settings.work / "cache"))}
        text = fill(step.run, {**known, **places}, where)
        needs = tuple(entry.folder for entry in done.values() if entry.folder.name in text)
        done[step.name] = _Step(step.name, folder, _split(text, where), step.resumable, needs)
    return done


def _cells(
    recipe: Recipe, row: Row, seed: int, steps: Mapping[str, _Step], values: Mapping[str, Any], settings: Settings
) -> list[_Asked]:
    found = []
    for column in recipe.columns:
        if column.label in row.skip:
            continue
        where = f"{recipe.name}, row {row.label}, column {column.label}"
        known = {**values, **row.values, **column.values, "seed": seed}
        names = {
            **known,
            **{name: step.folder.name for name, step in steps.items()},
            "data": "DATA",
            "scores": "SCORES",
            "cache": "CACHE",
        }
        digest = hashlib.sha256(fill(column.run, names, where).encode()).hexdigest()[:16]
        file = settings.work / "cells" / f"{digest}.json"
        keeps = "scores" in placeholders(column.run)
        scores = file.with_suffix(".npz") if keeps else None
        folders = {name: shlex.quote(str(step.folder)) for name, step in steps.items()}
        places = {"scores": shlex.quote(str(scores)), "cache": shlex.quote(str(settings.work / "cache"))}
        text = fill(column.run, {**known, **folders, **places}, where)
        value = fill(column.value, known, where)
        found.append(_Asked(row.label, column, seed, _split(text, where), file, scores, value))
    return found


def _needed(steps: Mapping[Path, _Step], asked: Sequence[_Asked]) -> dict[Path, _Step]:
    """The steps that cells build on, in their order: a path given in place of a step makes it superfluous."""
    needed = {folder for entry in asked for word in entry.words for folder in steps if folder.name in word}
    for folder, step in reversed(list(steps.items())):  # a step is built on steps before it
        if folder in needed:
            needed.update(step.needs)
    return {folder: step for folder, step in steps.items() if folder in needed}


def _split(text: str, where: str) -> tuple[str, ...]:
    """A command's words."""
    try:
        return tuple(shlex.split(text))
    except ValueError as exc:
        raise InputError(f"{where}: {exc} in {text!r}: mend the recipe or --set") from exc


def _ready(step: _Step) -> bool:
    """Whether all that it builds on is done."""
    return all((folder / DONE).is_file() for folder in step.needs)


def _run_step(step: _Step, say: Say) -> float:
    """Seconds it took, now or when it was run."""
    mark = step.folder / DONE
    if mark.is_file():
        return float(json.loads(mark.read_text())["seconds"])
    words = list(step.words)
    if step.folder.exists():
        if step.resumable:
            words.append("--resume")
        else:
            shutil.rmtree(step.folder)
    step.folder.parent.mkdir(parents=True, exist_ok=True)
    say("  edgeface " + shlex.join(words))
    begun = time.monotonic()
    _edgeface(words, None)
    seconds = time.monotonic() - begun
    step.folder.mkdir(exist_ok=True)
    write_json(mark, {"command": shlex.join(step.words), "seconds": round(seconds, 1)})
    return seconds


def _measure(entry: _Asked) -> tuple[dict[str, Any], float]:
    if entry.file.is_file() and (entry.scores is None or entry.scores.is_file()):
        kept = json.loads(entry.file.read_text())
        return kept["result"], float(kept["seconds"])
    entry.file.parent.mkdir(parents=True, exist_ok=True)
    begun = time.monotonic()
    text = _edgeface([*entry.words, "--json"], subprocess.PIPE)
    seconds = time.monotonic() - begun
    try:
        result = json.loads(text)
    except ValueError as exc:
        raise InputError(f"edgeface {shlex.join(entry.words)} gave no JSON") from exc
    write_json(entry.file, {"command": shlex.join(entry.words), "seconds": round(seconds, 1), "result": result})
    return result, seconds


def _edgeface(words: Sequence[str], stdout: int | None) -> str:
    """Run one command in a process of its own, whose memory is given back; its messages pass through."""
    run = subprocess.Popen(
        [sys.executable, "-m", "edgeface", *words], stdout=stdout if stdout else sys.stderr.fileno(), text=True
    )
    try:
        text, _ = run.communicate()
    except KeyboardInterrupt as exc:
        _end(run, exc)
        raise
    if run.returncode == 130:
        raise KeyboardInterrupt
    if run.returncode:
        kind = {1: GateError, 2: InputError}.get(run.returncode, EdgefaceError)
        raise kind(
            f"edgeface {shlex.join(words)} ended with code {run.returncode}; once that is mended, "
            "reproduce goes on here"
        )
    return text or ""


def _end(run: subprocess.Popen[str], stop: KeyboardInterrupt) -> None:
    """Wait while a stopped command keeps what it can; stopped once more, kill it."""
    try:
        if stop.args:  # a signal that reached this process alone; Ctrl-C reaches both
            run.terminate()
        run.wait()
    except KeyboardInterrupt:
        run.kill()
        run.wait()


def _dig(result: Any, path: str, entry: _Asked) -> Any:
    found = result
    for key in path.split("."):
        try:
            found = found[int(key)] if isinstance(found, list) else found[key]
        except (KeyError, IndexError, TypeError, ValueError) as exc:
            has = f", but {', '.join(map(str, found))}" if isinstance(found, dict) else ""
            raise InputError(
                f"row {entry.row}, column {entry.column.label}: the command's JSON has no {path}{has}: mend its value"
            ) from exc
    return found
