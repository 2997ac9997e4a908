"""Small files made to take much memory or time: refused before they get it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from faultkit.bombs import CLAIMS, LARGE

from edgeface_runtime.errors import ImageError
from edgeface_runtime.image import decode_image


def cost(data: bytes) -> tuple[str, float, float]:
    """What came of decoding in a process of its own: the words, seconds of processor time, MB at the peak."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            before, started = _peak_mb(reset=True), time.process_time()
            try:
                words = str(decode_image(data, "it").shape)
            except ImageError as exc:
                words = f"refused: {exc}"
            took_s = time.process_time() - started
            os.write(write, f"{took_s}\n{_peak_mb() - before}\n{words}".encode())
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read) as stream:
        took_s, peak_mb, words = stream.read().split("\n")
    os.waitpid(child, 0)
    return words, float(took_s), float(peak_mb)


def _peak_mb(reset: bool = False) -> float:
    if reset:
        Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1024


@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in CLAIMS.items()])
def test_what_a_few_bytes_claim_is_refused_before_memory_is_taken(make: Callable[[], bytes]) -> None:
    words, took_s, peak_mb = cost(make())
    assert words.startswith("refused: it ") and "\n" not in words, words
    assert peak_mb < 20 and took_s < 0.5, (peak_mb, took_s)


@pytest.mark.soak
@pytest.mark.parametrize("make", [pytest.param(make, id=name) for name, make in LARGE.items()])
def test_the_largest_that_are_read_have_a_bound(make: Callable[[], bytes]) -> None:
    pytest.importorskip("PIL", reason="needs Pillow, which comes with matplotlib: pip install 'edgeface[plot]'")
    words, took_s, peak_mb = cost(make())
    print(words, f"{took_s:.2f} s, {peak_mb:.0f} MB")
    assert words.startswith("(") and peak_mb < 750 and took_s < 10
