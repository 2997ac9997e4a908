"""Metrics against hand counts and against slow second implementations that share no code with them."""

from __future__ import annotations

import numpy as np
import pytest

from edgeface_calibration.metrics import (
    accuracy_at,
    auc,
    best_threshold,
    cmc,
    eer,
    identity_interval,
    paired_interval,
    rank_k,
    roc,
    tar_at_fmr,
    ten_fold,
)
from edgeface_runtime.errors import InputError

# Eight pairs; falling scores: .9 G, .8 G, .7 I, .6 G, .5 (G and I), .4 I, .2 I
SCORES = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.5, 0.4, 0.2])
GENUINE = np.array([1, 1, 0, 1, 1, 0, 0, 0], bool)


def random_scores(seed: int, n: int = 60, levels: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Scores with many ties, genuine ones somewhat higher."""
    rng = np.random.default_rng(seed)
    genuine = rng.uniform(size=n) < 0.5
    genuine[:2] = True, False
    return rng.integers(0, levels, n) / levels + 0.25 * genuine, genuine


def naive_auc(scores: np.ndarray, genuine: np.ndarray) -> float:
    wins = [(a > b) + 0.5 * (a == b) for a in scores[genuine] for b in scores[~genuine]]
    return float(sum(wins) / len(wins))


def test_roc_by_hand() -> None:
    curve = roc(SCORES, GENUINE)
    np.testing.assert_allclose(curve.thresholds[1:], [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.2])
    np.testing.assert_allclose(curve.tmr, [0, 0.25, 0.5, 0.5, 0.75, 1, 1, 1])
    np.testing.assert_allclose(curve.fmr, [0, 0, 0, 0.25, 0.25, 0.5, 0.75, 1])
    assert curve.thresholds[0] > 0.9


def test_auc_by_hand() -> None:
    # .9 and .8 beat 4 each, .6 beats 3, the .5 beats 2 and ties with 1: 13.5 of 16.
    assert auc(SCORES, GENUINE) == pytest.approx(13.5 / 16)
    assert auc([2, 1], [True, False]) == 1
    assert auc([1, 2], [True, False]) == 0
    assert auc([1, 1], [True, False]) == 0.5


@pytest.mark.parametrize("seed", range(8))
def test_auc_equals_counting_all_comparisons(seed: int) -> None:
    scores, genuine = random_scores(seed)
    assert auc(scores, genuine) == pytest.approx(naive_auc(scores, genuine), abs=1e-12)


def test_eer_by_hand() -> None:
    # FMR is .25 from .7 down to .6, where 1 - TMR falls from .5 to .25.
    assert eer(SCORES, GENUINE) == pytest.approx(0.25)
    assert eer([3, 2, 1, 0], [True, True, False, False]) == 0
    assert eer([1, 1], [True, False]) == pytest.approx(0.5)
    assert eer([0, 1], [True, False]) == pytest.approx(1.0)


@pytest.mark.parametrize("seed", range(8))
def test_eer_lies_on_the_roc(seed: int) -> None:
    scores, genuine = random_scores(seed)
    curve = roc(scores, genuine)
    rate = eer(scores, genuine)
    fine = np.linspace(0, 1, 20001)
    # Along the polyline, by arc index instead of by solving.
    steps = np.linspace(0, len(curve.fmr) - 1, len(fine) * 5)
    fmr = np.interp(steps, range(len(curve.fmr)), curve.fmr)
    fnmr = 1 - np.interp(steps, range(len(curve.fmr)), curve.tmr)
    nearest = np.argmin(np.abs(fmr - fnmr))
    assert rate == pytest.approx(fmr[nearest], abs=1e-3)


def test_accuracy_counts_a_score_on_the_threshold_as_accepted() -> None:
    assert accuracy_at(SCORES, GENUINE, 0.5) == pytest.approx(6 / 8)
    assert accuracy_at(SCORES, GENUINE, 0.55) == pytest.approx(6 / 8)
    assert accuracy_at(SCORES, GENUINE, 0.0) == pytest.approx(4 / 8)


def test_best_threshold_by_hand() -> None:
    # Six are right above .7 (.75), above .5 (.55) and above .4 (.45): the middle one is taken.
    assert best_threshold(SCORES, GENUINE) == pytest.approx(0.55)
    assert best_threshold([1.0, 3.0], [False, True]) == 2.0


@pytest.mark.parametrize("seed", range(12))
def test_best_threshold_is_never_beaten(seed: int) -> None:
    scores, genuine = random_scores(seed, n=25)
    best = max(np.mean((scores >= t) == genuine) for t in [*scores, 99.0])
    assert accuracy_at(scores, genuine, best_threshold(scores, genuine)) == pytest.approx(best)


def test_best_threshold_can_accept_or_refuse_everything() -> None:
    everything = best_threshold([1, 2, 3], [True, True, False])
    assert accuracy_at([1, 2, 3], [True, True, False], everything) == pytest.approx(2 / 3)
    nothing = best_threshold([3, 2, 1], [False, False, True])
    assert accuracy_at([3, 2, 1], [False, False, True], nothing) == pytest.approx(2 / 3)


def test_best_threshold_between_neighbouring_floats() -> None:
    low, high = 0.5, float(np.nextafter(0.5, 1))
    assert accuracy_at([low, high], [False, True], best_threshold([low, high], [False, True])) == 1


def test_folds_are_judged_by_the_others() -> None:
    # Fold 1 would be perfect at .5, fold 2 at 1.5: each is judged at the other's threshold and gets one wrong.
    scores = [0.0, 1.0, 1.0, 2.0]
    result = ten_fold(scores, [False, True, False, True], [1, 1, 2, 2])
    assert result.thresholds == (1.5, 0.5)
    assert result.accuracies == (0.5, 0.5)
    assert (result.mean, result.std, result.folds) == (0.5, 0.0, (1, 2))


@pytest.mark.parametrize("seed", range(4))
def test_ten_fold_against_a_slow_one(seed: int) -> None:
    rng = np.random.default_rng(seed)
    genuine = np.tile(np.repeat([True, False], 10), 10)
    scores = rng.normal(genuine * 1.2, 1.0)
    folds = np.repeat(np.arange(1, 11), 20)
    result = ten_fold(scores, genuine, folds)
    accuracies = []
    for fold in range(1, 11):
        rest, own = folds != fold, folds == fold
        levels = np.sort(scores[rest])
        cuts = [levels[0], *(levels[:-1] + levels[1:]) / 2, levels[-1] + 1]
        right = [int(((scores[rest] >= cut) == genuine[rest]).sum()) for cut in cuts]
        at = [cut for cut, n in zip(cuts, right, strict=True) if n == max(right)]
        threshold = at[(len(at) - 1) // 2]
        assert result.thresholds[fold - 1] == pytest.approx(threshold)
        accuracies.append(sum((s >= threshold) == g for s, g in zip(scores[own], genuine[own], strict=True)) / 20)
    assert result.accuracies == pytest.approx(accuracies)
    assert result.mean == pytest.approx(sum(accuracies) / 10)
    variance = sum((a - sum(accuracies) / 10) ** 2 for a in accuracies)
    assert result.std == pytest.approx((variance / 10) ** 0.5)
    assert result.standard_error == pytest.approx((variance / 9) ** 0.5 / 10**0.5)


def test_tar_at_fmr_by_hand() -> None:
    # 300 impostors 0..299: FMR .1 lets the 30 from 270 in, so the threshold lies at 269.5.
    impostors, genuine = np.arange(300.0), np.array([100.0, 269.0, 270.0, 400.0])
    scores = np.concatenate((impostors, genuine))
    labels = np.arange(304) >= 300
    result = tar_at_fmr(scores, labels, 0.1)
    assert (result.tar, result.threshold, result.fmr_reached, result.reason) == (0.5, 269.5, 0.1, None)


def test_tar_is_refused_where_too_few_false_matches_are_expected() -> None:
    scores, labels = np.arange(304.0), np.arange(304) >= 300
    result = tar_at_fmr(scores, labels, 0.09)
    assert result.tar is None and result.threshold is None and result.fmr_reached is None
    assert result.reason is not None and "334 impostor pairs" in result.reason and "300" in result.reason


def test_cmc_by_hand() -> None:
    # Best of each person, gallery a, a, b, c: probe a 3rd, probe b 1st, probe c tied with b: 2nd.
    scores = [[0.1, 0.2, 0.9, 0.5], [0.1, 0.0, 0.3, 0.2], [0.1, 0.0, 0.4, 0.4]]
    people, gallery = ["a", "b", "c"], ["a", "a", "b", "c"]
    np.testing.assert_allclose(cmc(scores, people, gallery), [1 / 3, 2 / 3, 1])
    assert rank_k(scores, people, gallery) == pytest.approx(1 / 3)
    assert rank_k(scores, people, gallery, k=5) == 1


def test_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    # Each person has one trait that shifts all their pairs: pairs of a person are copies of each other.
    hits = 0
    for trial in range(40):
        rng = np.random.default_rng(trial)
        traits = np.repeat(rng.normal(size=40), 5)
        identities = np.repeat(np.arange(40), 5)[:, None].repeat(2, 1)
        found = identity_interval(lambda i, v=traits: float(v[i].mean()), identities, resamples=200, seed=trial)
        hits += found.low <= 0 <= found.high
    assert 34 <= hits <= 40  # resampling pairs instead of people would give about 24


def test_interval_counts_pairs_by_their_people() -> None:
    identities = np.array([("a", "a"), ("b", "b"), ("a", "b")])
    seen: list[tuple[int, ...]] = []

    def statistic(i: np.ndarray) -> float:
        seen.append(tuple(np.bincount(i, minlength=3)))
        return float(len(i))

    identity_interval(statistic, identities, resamples=50, seed=1)
    # Two people drawn twice: one each (all pairs once), or one of them twice (their genuine pair twice, no other).
    assert set(seen) == {(1, 1, 1), (2, 0, 0), (0, 2, 0)}


def test_interval_is_reproducible_and_reports_undefined_draws() -> None:
    identities = np.array([("a", "a"), ("b", "b"), ("c", "c"), ("a", "b"), ("b", "c")])
    scores, genuine = np.array([0.9, 0.8, 0.4, 0.5, 0.1]), np.array([1, 1, 1, 0, 0], bool)

    def run() -> object:
        return identity_interval(lambda i: auc(scores[i], genuine[i]), identities, resamples=100, seed=3)

    first = run()
    assert first == run()
    assert first.resamples + first.undefined == 100 and first.undefined > 0
    assert first.low <= first.value <= first.high


def test_paired_interval_is_sharper_than_two() -> None:
    rng = np.random.default_rng(0)
    people = rng.integers(0, 40, (400, 2))
    people[:200, 1] = people[:200, 0]
    genuine = people[:, 0] == people[:, 1]
    scores = rng.normal(genuine * 1.0)
    better = scores + 0.15 * genuine
    alone = identity_interval(lambda i: auc(scores[i], genuine[i]), people, 200)
    paired = paired_interval(auc, better, scores, genuine, people, 200)
    assert 0 < paired.low <= paired.value <= paired.high
    assert paired.high - paired.low < 0.3 * (alone.high - alone.low)
    same = paired_interval(auc, scores, scores, genuine, people, 20)
    assert (same.value, same.low, same.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ("scores", "genuine", "part"),
    [
        ([1.0, 2.0], [True], "must be (n,)"),
        ([1.0, float("nan")], [True, False], "not finite"),
        ([1.0, 2.0], [True, True], "genuine and impostor"),
        ([], [], "genuine and impostor"),
    ],
)
def test_bad_scores(scores: list[float], genuine: list[bool], part: str) -> None:
    for metric in (auc, eer, best_threshold, roc):
        with pytest.raises(InputError, match=part.replace("(", r"\(").replace(")", r"\)")):
            metric(scores, genuine)


def test_bad_protocols() -> None:
    with pytest.raises(InputError, match="at least two folds"):
        ten_fold([1, 2], [True, False], [1, 1])
    with pytest.raises(InputError, match="not in the gallery, the first is 'x'"):
        cmc([[1.0]], ["x"], ["a"])
    with pytest.raises(InputError, match="rank starts at 1"):
        rank_k([[1.0]], ["a"], ["a"], k=0)
    with pytest.raises(InputError, match="at least two"):
        identity_interval(lambda i: 0.0, [("a", "a")])
    with pytest.raises(InputError, match="differ in length"):
        paired_interval(auc, [1, 2], [1], [True, False], [("a", "a"), ("a", "b")])
