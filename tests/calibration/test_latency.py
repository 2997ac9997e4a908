"""Latency with a clock that is told the time."""

from __future__ import annotations

import numpy as np
import pytest

from edgeface_calibration.latency import summarise, time_alternating
from edgeface_runtime.errors import InputError


class Clock:
    def __init__(self) -> None:
        self.now_ns = 0
        self.calls: list[str] = []

    def __call__(self) -> int:
        return self.now_ns

    def work(self, label: str, ms: float) -> None:
        self.calls.append(label)
        self.now_ns += int(ms * 1e6)


def test_times_are_taken_in_turn_and_warmup_is_left_out() -> None:
    clock = Clock()
    times = iter([100.0] * 2 + [1.0, 2.0, 3.0, 4.0])
    seen: list[tuple[int, int]] = []
    result = time_alternating(
        {"a": lambda: clock.work("a", next(times)), "b": lambda: clock.work("b", 7)},
        warmup=2,
        runs=4,
        clock_ns=clock,
        progress=lambda done, runs: seen.append((done, runs)),
    )
    assert "".join(clock.calls) == "abab" + "abba" * 2
    assert (result["a"].runs, result["a"].mean_ms, result["a"].p50_ms) == (4, 2.5, 2.5)
    assert (result["b"].p50_ms, result["b"].iqr_ms, result["b"].spread) == (7, 0, 0)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_percentiles_by_hand() -> None:
    result = summarise(np.arange(101.0))
    assert (result.p50_ms, result.p90_ms, result.p99_ms, result.mean_ms, result.iqr_ms) == (50, 90, 99, 50, 50)
    assert result.spread == 1
    assert result.to_dict() == {
        "runs": 101,
        "p50_ms": 50,
        "p90_ms": 90,
        "p99_ms": 99,
        "mean_ms": 50,
        "iqr_ms": 50,
        "spread": 1,
    }


def test_drift_hits_all_alike() -> None:
    # The machine slows down threefold during the measurement; both do the same work.
    clock = Clock()

    def work() -> None:
        clock.work("", 1 + clock.now_ns / 1e8)

    result = time_alternating({"a": work, "b": work}, warmup=0, runs=60, clock_ns=clock)
    assert result["a"].p50_ms / result["b"].p50_ms == pytest.approx(1, abs=0.03)
    assert result["a"].spread > 0.3


def test_real_clock() -> None:
    result = time_alternating({"sum": lambda: sum(range(1000))}, warmup=1, runs=3)
    assert 0 < result["sum"].p50_ms < 1000


def test_bad_settings() -> None:
    with pytest.raises(InputError, match="nothing to time"):
        time_alternating({})
    with pytest.raises(InputError, match="runs must be at least 1"):
        time_alternating({"a": int}, runs=0)
    with pytest.raises(InputError, match="at least one run"):
        summarise([])
