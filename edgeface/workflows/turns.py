"""Sharing work with other runs: each piece is done once, by whoever comes to it first."""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

__all__ = ["share_out", "turn"]

Item = TypeVar("Item")


def share_out(
    items: Sequence[Item],
    lock: Callable[[Item], Path],
    do: Callable[[Item], None],
    ready: Callable[[Item], bool],
    say: Callable[[str], None],
) -> None:
    """Do every item once no other run is at it; those that are busy, or not ready, come later.

    Args:
        items: in an order in which one run alone finds each of them ready.
        lock: an item's lock file.
        do: must notice by itself that another run has done the item meanwhile.
        ready: whether all that the item needs is done.
    """
    waiting = list(items)
    while waiting:
        later: list[Item] = []
        for item in waiting:
            if ready(item):
                with turn(lock(item), wait=False) as mine:
                    if mine:
                        do(item)
                        continue
            later.append(item)
        if len(later) == len(waiting):
            say("  another run is at the rest: waiting")
            first = next(item for item in later if ready(item))
            with turn(lock(first)):
                do(first)
            later.remove(first)
        waiting = later


@contextmanager
def turn(path: Path, *, wait: bool = True) -> Iterator[bool]:
    """Hold a lock file, or with `wait=False` find that another run holds it: False.

    The lock ends with the process that holds it, however that ends; the empty file stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
            return
        yield True
