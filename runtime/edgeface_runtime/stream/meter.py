"""Times by stage in fixed memory, however long the stream: a histogram whose bins grow by 2 %."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

__all__ = ["STAGES", "Meter", "StageTimes", "timed"]

STAGES = ("decode", "detect", "track", "align", "embed", "match", "whole")
"""In the order a picture meets them."""
LOWEST_MS = 0.001
GROWTH = 1.02
BINS = 1000
"""The last begins at 6 minutes."""


@dataclass(frozen=True)
class StageTimes:
    """Times of one stage, milliseconds; percentiles to 1 %."""

    runs: int
    """Pictures it ran for."""
    p50_ms: float
    p99_ms: float
    mean_ms: float


class Meter:
    """Gathers times; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = {stage: np.zeros(BINS, np.int64) for stage in STAGES}
        self._sums = dict.fromkeys(STAGES, 0.0)

    def add(self, stage: str, took_ms: float) -> None:
        """One more time of a stage, milliseconds."""
        at = 0 if took_ms <= LOWEST_MS else int(math.log(took_ms / LOWEST_MS) / math.log(GROWTH))
        with self._lock:
            self._counts[stage][min(at, BINS - 1)] += 1
            self._sums[stage] += took_ms

    def times(self) -> dict[str, StageTimes]:
        """Of every stage that ran."""
        with self._lock:
            found = {}
            for stage, counts in self._counts.items():
                runs = int(counts.sum())
                if runs:
                    p50, p99 = (_percentile(counts, runs, share) for share in (0.50, 0.99))
                    found[stage] = StageTimes(runs, p50, p99, self._sums[stage] / runs)
            return found


def _percentile(counts: np.ndarray, runs: int, share: float) -> float:
    """The middle of the bin that the smallest time not below `share` of all lies in, milliseconds."""
    at = int(np.searchsorted(np.cumsum(counts), math.ceil(share * runs)))
    return float(LOWEST_MS * GROWTH ** (at + 0.5))


@contextmanager
def timed(into: dict[str, float], stage: str) -> Iterator[None]:
    """Write down how long the block took, milliseconds."""
    begun = time.perf_counter()
    yield
    into[stage] = (time.perf_counter() - begun) * 1000
