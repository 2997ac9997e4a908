"""Times by stage: percentiles to 1 % in fixed memory."""

from __future__ import annotations

import numpy as np
import pytest

from edgeface_runtime.stream.meter import STAGES, Meter


def test_percentiles_are_those_of_all_times() -> None:
    times = np.random.default_rng(1).lognormal(1.0, 1.2, 5000)
    meter = Meter()
    for value in times:
        meter.add("embed", float(value))
    found = meter.times()
    assert list(found) == ["embed"]
    assert found["embed"].runs == 5000
    for share, value in ((0.50, found["embed"].p50_ms), (0.99, found["embed"].p99_ms)):
        assert value == pytest.approx(np.quantile(times, share, method="inverted_cdf"), rel=0.0101)
    assert found["embed"].mean_ms == pytest.approx(times.mean())


def test_extremes_and_order() -> None:
    meter = Meter()
    for stage in reversed(STAGES):
        meter.add(stage, 0.0)
        meter.add(stage, 1e9)
    assert list(meter.times()) == list(STAGES)
    assert meter.times()["whole"].p50_ms == pytest.approx(0.001, rel=0.02)
    assert meter.times()["whole"].p99_ms > 300_000
