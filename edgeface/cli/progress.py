"""Progress bars on stderr, with the time left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["bar", "phases", "steps"]


@contextlib.contextmanager
def steps(title: str, total: int, quiet: bool) -> Iterator[Callable[[str], None]]:
    """Yield a function to call after each of `total` steps with a word about it; nothing is shown when quiet."""
    if quiet or total <= 0:
        yield lambda word: None
        return
    with _progress() as progress:
        task = progress.add_task(title, total=total, word="")
        yield lambda word: progress.update(task, advance=1, word=word)


@contextlib.contextmanager
def bar(title: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Yield a function of (done, total)."""
    with phases(quiet) as show:
        yield lambda done, total: show(title, done, total)


@contextlib.contextmanager
def phases(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function of (phase, done, total); every phase gets a bar of its own."""
    if quiet:
        yield lambda phase, done, total: None
        return
    with contextlib.ExitStack() as stack:
        shown: list[Progress] = []
        tasks: dict[str, TaskID] = {}

        def show(phase: str, done: int, total: int) -> None:
            if not shown:  # rich is imported when there is something to show
                shown.append(stack.enter_context(_progress()))
            if phase not in tasks:
                tasks[phase] = shown[0].add_task(phase, total=total, word="")
            shown[0].update(tasks[phase], completed=done, total=total)

        yield show


def _progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[word]}"),
        console=console,
        transient=True,
        disable=not console.is_terminal,  # in a log it would only leave empty lines
    )
