"""Many pictures at once: processes of their own, each with its own detector.

Each picture's crop depends on that picture alone, so how many processes share the work changes nothing in it.
"""

from __future__ import annotations

import itertools
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from pathlib import Path

from edgeface.data.align_journal import Entry
from edgeface.data.align_one import AlignSettings, align_one
from edgeface_runtime.detect import Detector
from edgeface_runtime.errors import InputError

__all__ = ["Task", "align_all"]

Task = tuple[Path, str, str | None]
"""Picture, its name in the list, its crop's name or None."""

CHUNK = 16
"""Pictures handed to a process at a time."""


def align_all(tasks: Sequence[Task], target: Path, settings: AlignSettings, workers: int) -> Iterator[Entry]:
    """Yield every picture's entry as it is done, in any order.

    Processes are started only for as many chunks of pictures as there are; one worker means this process.

    Raises:
        InputError: a crop cannot be written, or a process was killed.
        MissingExtraError: ONNX Runtime is not installed.
    """
    chunks = [tasks[start : start + CHUNK] for start in range(0, len(tasks), CHUNK)]
    workers = min(workers, len(chunks))
    with Detector(min_face=settings.min_face) as detector:  # also when processes do it: fails here if it must
        if workers <= 1:
            for path, name, crop in tasks:
                yield align_one(path, name, target, crop, detector, settings)
            return
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start, (target, settings))
    try:
        waiting = iter(chunks)
        running: set[Future[list[Entry]]] = {pool.submit(_work, c) for c in itertools.islice(waiting, 3 * workers)}
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield from future.result()
                running |= {pool.submit(_work, chunk) for chunk in itertools.islice(waiting, 1)}
    except BrokenProcessPool as exc:
        raise InputError(
            "a process that aligns was killed (out of memory?): run it again with fewer --workers"
        ) from exc
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_own: tuple[Path, AlignSettings, Detector]
"""What a started process works with."""


def _start(target: Path, settings: AlignSettings) -> None:
    """Get a started process ready; it ends with its parent, and leaves Ctrl-C to it."""
    global _own
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    cv2.setNumThreads(1)
    _own = (target, settings, Detector(min_face=settings.min_face))


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _work(tasks: Sequence[Task]) -> list[Entry]:
    target, settings, detector = _own
    return [align_one(path, name, target, crop, detector, settings) for path, name, crop in tasks]
