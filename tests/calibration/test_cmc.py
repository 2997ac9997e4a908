"""Ranks and the CMC curve by hand, and against counting."""

from __future__ import annotations

import numpy as np
import pytest

from edgeface_calibration.cmc import curve_of, ranks
from edgeface_calibration.metrics import grouped_mean, tar_at_fmr, tar_unchecked
from edgeface_runtime.errors import InputError

SCORES = [[0.1, 0.2, 0.9, 0.5], [0.1, 0.0, 0.3, 0.2], [0.1, 0.0, 0.4, 0.4]]


def test_ranks_by_hand() -> None:
    # Gallery a, b, a, c: person a scores .9, .3, .4; b .2, 0, 0; c .5, .2, .4.
    assert ranks(SCORES, ["a", "b", "c"], ["a", "b", "a", "c"]).tolist() == [1, 3, 2]


def test_a_tie_never_flatters() -> None:
    assert ranks([[0.5, 0.5, 0.5]], ["b"], ["a", "b", "c"]).tolist() == [3]
    assert ranks([[0.5, 0.5, 0.4]], ["b"], ["b", "b", "c"]).tolist() == [1], "one's own pictures are no rivals"


@pytest.mark.parametrize("seed", range(5))
def test_ranks_equal_counting(seed: int) -> None:
    rng = np.random.default_rng(seed)
    gallery = [f"p{i}" for i in rng.integers(0, 6, 20)]
    probes = [str(name) for name in rng.choice(sorted(set(gallery)), 15)]
    scores = rng.integers(0, 8, (15, 20)) / 8
    for row, probe, rank in zip(scores, probes, ranks(scores, probes, gallery), strict=True):
        best = {who: max(s for s, g in zip(row, gallery, strict=True) if g == who) for who in set(gallery)}
        assert rank == sum(value >= best[probe] for value in best.values())


def test_curve_by_hand() -> None:
    np.testing.assert_allclose(curve_of([1, 3, 3, 1], 4), [0.5, 0.5, 1, 1])
    for bad in ([], [0], [5]):
        with pytest.raises(InputError, match="ranks must be"):
            curve_of(bad, 4)


def test_grouped_mean_by_hand() -> None:
    statistic = grouped_mean([1, 0, 1, 1], [7, 7, 7, 9])
    assert statistic(np.arange(4)) == pytest.approx((2 / 3 + 1) / 2)
    assert statistic(np.array([1, 1, 0, 3])) == pytest.approx((1 / 3 + 1) / 2), "drawn twice counts twice"
    assert statistic(np.array([0, 1])) == 0.5, "a group that was not drawn is left out"
    with pytest.raises(InputError):
        statistic(np.array([], int))


@pytest.mark.parametrize("seed", range(4))
def test_unchecked_rate_equals_the_checked_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    genuine = np.arange(900) % 3 == 0
    scores = np.round(rng.normal(genuine * 1.5, 1), 2)
    assert tar_unchecked(scores, genuine, 0.1) == tar_at_fmr(scores, genuine, 0.1).tar
    assert 0 <= tar_unchecked(scores[:30], genuine[:30], 0.01) <= 1
