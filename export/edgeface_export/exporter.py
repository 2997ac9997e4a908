"""Manners for PyTorch's ONNX exporter: it keeps its warnings to itself, and Ctrl-C stops it."""

from __future__ import annotations

import contextlib
import logging
import signal
import threading
import warnings
from collections.abc import Iterator
from types import FrameType

__all__ = ["quiet", "stoppable"]

KINDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Have Ctrl-C and SIGTERM stop the export: the exporter takes an interrupt of its own late imports for a fault of
    its own."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {kind: signal.getsignal(kind) for kind in KINDS}
    pressed = []

    def note(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        raise KeyboardInterrupt(number)

    kinds = [kind for kind in KINDS if callable(before[kind])]  # not one that the process is told to ignore
    for kind in kinds:
        signal.signal(kind, note)
    try:
        yield
    except Exception as exc:
        if pressed:
            raise KeyboardInterrupt from exc
        raise
    finally:
        for kind in kinds:
            signal.signal(kind, before[kind])
    if pressed:
        raise KeyboardInterrupt


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep back the exporter's warnings about packages and types that do not concern these networks."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
