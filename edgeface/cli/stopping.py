"""Ctrl-C, SIGTERM and SIGHUP stop a command once, so that what can be kept is kept."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from typing import NoReturn

__all__ = ["asked", "die", "listen"]

KINDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SAME_S = {signal.SIGINT: 1.0, signal.SIGTERM: 10.0, signal.SIGHUP: 10.0}
"""Seconds in which one more signal is the same wish: `timeout` sends each twice, and a busy machine may deliver the
second late. After them it ends the command at once."""


_asked: list[float] = []
"""When a stop was asked for, seconds of the monotonic clock."""


def asked() -> bool:
    """Whether a stop was asked for: output that cannot be written then is that of a terminal which is gone."""
    return bool(_asked)


def listen() -> None:
    """Have the signals raise KeyboardInterrupt: of a service manager, `timeout` or a lost terminal as of Ctrl-C.

    One that the process was told to ignore (`nohup`, a shell's `&`) stays ignored.
    """

    def stop(number: int, frame: object) -> None:
        now = time.monotonic()
        if _asked and now < _asked[-1] + SAME_S[signal.Signals(number)]:
            return
        _asked.append(now)
        raise KeyboardInterrupt(number)

    for kind in KINDS:
        before = signal.getsignal(kind)
        if before is signal.SIG_DFL or before is signal.default_int_handler:
            signal.signal(kind, stop)
    os.register_at_fork(after_in_child=_listen_no_more)


def _listen_no_more() -> None:
    """A pool ends its workers with SIGTERM: no stop of the user's."""
    for kind in (signal.SIGTERM, signal.SIGHUP):
        if callable(signal.getsignal(kind)):
            signal.signal(kind, signal.SIG_DFL)


def die(code: int) -> NoReturn:
    """End the process after a stop; no further signal disturbs that.

    Threads that still work in native code, as after a second Ctrl-C, would make Python's own end an abort.
    """
    for kind in KINDS:
        signal.signal(kind, signal.SIG_IGN)
    if threading.active_count() > 1:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(AttributeError, OSError, ValueError):  # closed, or nobody reads it
                stream.flush()
        os._exit(code)
    sys.exit(code)
