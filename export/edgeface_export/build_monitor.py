"""TensorRT's progress while it builds, passed on step by step."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

__all__ = ["Progress", "stops_kept", "watch"]

Progress = Callable[[str, int, int], None]
"""Called with a phase's name, steps done and steps in all."""


def watch(module: Any, config: Any, progress: Progress, stopped: list[BaseException]) -> None:
    """Pass the steps of a build on to `progress`. An exception in it (Ctrl-C too) stops the build, and is put into
    `stopped`, to be raised after it.

    A TensorRT that reports no steps has one phase, which is said to have begun.
    """
    if not hasattr(module, "IProgressMonitor"):
        progress("building, no steps are told", 0, 1)
        return

    class Monitor(module.IProgressMonitor):
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            self.steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if not stopped:
                try:
                    progress(phase_name, step + 1, self.steps.get(phase_name, step + 1))
                except BaseException as exc:  # it must not unwind through TensorRT
                    stopped.append(exc)
            return not stopped

        def phase_finish(self, phase_name: str) -> None:
            self.steps.pop(phase_name, None)

    config.progress_monitor = Monitor()


@contextmanager
def stops_kept(stopped: list[BaseException]) -> Iterator[None]:
    """Have Ctrl-C, SIGTERM and SIGHUP put KeyboardInterrupt into `stopped`, which `watch` then tells TensorRT of.

    Raised where they arrive they may hit one of TensorRT's own calls, such as that of its logger, and be lost there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def keep(number: int, frame: FrameType | None) -> None:
        stopped.append(KeyboardInterrupt(number))

    kinds = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {kind: signal.getsignal(kind) for kind in kinds}
    for kind in kinds:
        if callable(before[kind]):  # not one that the process is told to ignore
            signal.signal(kind, keep)
    try:
        yield
    finally:
        for kind in kinds:
            signal.signal(kind, before[kind])
