"""Thresholds against counting."""

from __future__ import annotations

import numpy as np
import pytest

from edgeface_calibration.thresholds import supported_rates, threshold_at_fmr
from edgeface_runtime.errors import InputError


def test_by_hand() -> None:
    # .01 of 3000 scores 0..2999 lets 30 in: 2970 and above.
    assert threshold_at_fmr(np.arange(3000.0), 0.01) == 2969.5


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("fmr", [0.05, 0.1, 0.333])
def test_is_the_lowest_that_keeps_the_rate(seed: int, fmr: float) -> None:
    scores = np.random.default_rng(seed).integers(0, 60, 700) / 60
    threshold = threshold_at_fmr(scores, fmr)
    assert np.mean(scores >= threshold) <= fmr
    lower = scores[scores < threshold].max()
    assert np.mean(scores >= lower) > fmr


def test_equal_scores_are_all_refused_even_in_float32() -> None:
    threshold = threshold_at_fmr(np.full(100, 0.3), 0.5)
    assert np.float32(0.3) < np.float32(threshold)
    assert np.float32(threshold) < 0.301


def test_unsupported_rate_is_refused() -> None:
    with pytest.raises(InputError, match=r"FMR 0\.001 needs 30000 impostor pairs .* there are 3000"):
        threshold_at_fmr(np.arange(3000.0), 1e-3)
    assert supported_rates(3000) == (0.1, 0.01)
    assert supported_rates(299) == ()


@pytest.mark.parametrize("fmr", [0.0, 1.0, -0.1, 1.5])
def test_rate_out_of_range(fmr: float) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        threshold_at_fmr(np.arange(100.0), fmr)


def test_bad_scores() -> None:
    with pytest.raises(InputError, match="finite"):
        threshold_at_fmr([float("nan")] * 100, 0.5)
    with pytest.raises(InputError, match="finite"):
        threshold_at_fmr(np.ones((10, 10)), 0.5)
