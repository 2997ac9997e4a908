"""A stop is told once, however often it is sent, and the end after it is orderly."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from edgeface.cli import stopping


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """The test's own process keeps its handlers."""
    before = {kind: signal.getsignal(kind) for kind in stopping.KINDS}
    yield
    stopping._asked.clear()
    for kind, handler in before.items():
        signal.signal(kind, handler)


@pytest.mark.parametrize("kind", stopping.KINDS)
def test_more_signals_at_once_are_the_same_wish(kind: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [50.0]
    signal.signal(kind, signal.SIG_DFL)
    monkeypatch.setattr(stopping.time, "monotonic", lambda: now[0])
    stopping.listen()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(kind)
    now[0] += stopping.SAME_S[kind] - 0.1
    signal.raise_signal(kind)
    signal.raise_signal(signal.SIGTERM)
    now[0] += 0.2  # somebody who does not want to wait
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(kind)


def test_what_is_ignored_stays_ignored() -> None:
    """`nohup` starts a command so."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    stopping.listen()
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    signal.raise_signal(signal.SIGHUP)


@pytest.mark.parametrize("threads", [0, 2])
def test_no_further_signal_disturbs_the_end(threads: int) -> None:
    """Nor do threads that are still at work: what was printed is there, and the code is 130."""
    code = (
        "import signal, sys, threading\n"
        "from edgeface.cli import stopping\n"
        "def work():\n    while True: sum(range(1000))\n"
        f"for _ in range({threads}): threading.Thread(target=work, daemon=True).start()\n"
        "stopping.listen()\n"
        "try: signal.raise_signal(signal.SIGTERM)\n"
        "except KeyboardInterrupt: print('stopped')\n"
        "class Late:\n    def __del__(self): signal.raise_signal(signal.SIGTERM)\n"
        "late = Late()\n"
        "stopping.SAME_S = dict.fromkeys(stopping.KINDS, 0)\n"
        "stopping.die(130)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (130, "stopped\n", "")
