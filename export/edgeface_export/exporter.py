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


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Have Ctrl-C stop the export: the exporter takes an interrupt of its own late imports for a fault of its own."""
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or handler is not signal.default_int_handler:
        yield
        return
    pressed = []

    def note(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, note)
    try:
        yield
    except Exception as exc:
        if pressed:
            raise KeyboardInterrupt from exc
        raise
    finally:
        signal.signal(signal.SIGINT, handler)
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
