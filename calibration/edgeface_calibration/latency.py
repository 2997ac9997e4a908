"""Latency, measured so that the machine's drift hits every candidate alike.

Several callables are timed in one process, one call each in turn, and the one that goes first changes every round.
Ratios between them stay good on a machine whose clock wanders; absolute figures are this machine's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import ArrayLike

from edgeface_runtime.errors import InputError

__all__ = ["CLOCKS", "Latency", "summarise", "time_alternating"]

CLOCKS: dict[str, Callable[[], int]] = {"wall": time.perf_counter_ns, "cpu": time.thread_time_ns}
"""Nanoseconds by the clock on the wall, or of what the calling thread computed."""


@dataclass(frozen=True)
class Latency:
    """Times of one callable, milliseconds a call."""

    runs: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    mean_ms: float
    iqr_ms: float
    """From the 25th to the 75th percentile."""

    @property
    def spread(self) -> float:
        """Interquartile range over the median: .1 means that half of the runs lie within a tenth of the median."""
        return self.iqr_ms / self.p50_ms if self.p50_ms else 0.0

    def to_dict(self) -> dict[str, float | int]:
        """All fields and the spread."""
        return {**asdict(self), "spread": self.spread}


def summarise(times_ms: ArrayLike) -> Latency:
    """Percentiles (joined by straight lines) of times (n,) in milliseconds.

    Raises:
        InputError: no times.
    """
    times = np.asarray(times_ms, np.float64)
    if times.ndim != 1 or not len(times):
        raise InputError(f"latency needs at least one run, got {times.shape}")
    p25, p50, p75, p90, p99 = (float(value) for value in np.quantile(times, (0.25, 0.5, 0.75, 0.9, 0.99)))
    return Latency(len(times), p50, p90, p99, float(times.mean()), p75 - p25)


def time_alternating(
    candidates: Mapping[str, Callable[[], object]],
    warmup: int = 5,
    runs: int = 50,
    clock_ns: Callable[[], int] = time.perf_counter_ns,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Latency]:
    """Time callables in turn.

    Args:
        candidates: label -> what to time; on an accelerator it must wait until its work is done.
        warmup: untimed rounds before.
        runs: timed rounds; each calls every candidate once.
        clock_ns: a monotonic clock in nanoseconds.
        progress: called after each timed round with (rounds done, rounds).

    Raises:
        InputError: no candidate, runs below 1 or warmup below 0.
    """
    if not candidates:
        raise InputError("nothing to time")
    if runs < 1 or warmup < 0:
        raise InputError(f"runs must be at least 1 and warmup at least 0, got {runs} and {warmup}")
    labels = list(candidates)
    times: dict[str, list[float]] = {label: [] for label in labels}
    for _ in range(warmup):
        for label in labels:
            candidates[label]()
    for done in range(runs):
        first = done % len(labels)
        for label in labels[first:] + labels[:first]:
            call = candidates[label]
            start = clock_ns()
            call()
            times[label].append((clock_ns() - start) / 1e6)
        if progress is not None:
            progress(done + 1, runs)
    return {label: summarise(values) for label, values in times.items()}
