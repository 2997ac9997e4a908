"""Drift from FP32 by hand: cosines, scores, accuracy and accept rates, and what a gate says of them."""

from __future__ import annotations

import numpy as np
import pytest

from edgeface_calibration.drift import GATES, Drift, Gate, JudgedPairs, draw_pairs, measure_drift, missed
from edgeface_runtime.errors import InputError


def _turned(*degrees: float) -> np.ndarray:
    """Unit vectors in a plane."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_cosines_of_a_face_with_itself() -> None:
    drift = measure_drift(_turned(0, 10, 20), 3 * _turned(0, 70, 20))  # length is nothing
    assert drift.cosine_min == pytest.approx(0.5) and drift.cosine_mean == pytest.approx((1 + 0.5 + 1) / 3)
    assert drift.cosine_p1 == pytest.approx(0.5 + 0.02 * 0.5)  # 1 % of the way over two steps
    assert drift.genuine is None and drift.accuracy is None
    assert set(drift.to_dict()) == {"faces", "cosine_min", "cosine_p1", "cosine_mean"}


def test_scores_of_pairs_move() -> None:
    pairs = JudgedPairs(np.array([0, 0]), np.array([1, 2]), np.array([True, False]), np.array([1, 2]), "two pairs")
    drift = measure_drift(_turned(0, 60, 90), _turned(0, 0, 60), pairs)
    assert drift.genuine is not None and drift.impostor is not None
    assert (drift.genuine.pairs, drift.impostor.pairs) == (1, 1)
    assert drift.genuine.mean == pytest.approx(0.5) and drift.impostor.mean == pytest.approx(0.5)
    assert drift.tar is None  # a rate needs more pairs
    drift = measure_drift(_turned(0, 60, 90), _turned(0, 0, 60), pairs, threshold=0.5 - 1e-9)
    assert (drift.tar_fp32, drift.tar, drift.fmr_fp32, drift.fmr) == (1, 1, 0, 1)


def _faces(people: int, each: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(people, 16))
    labels = np.repeat(np.arange(people), each)
    return centres[labels] + noise * rng.normal(size=(len(labels), 16)), labels


def test_accuracy_and_accept_rate_fall_with_the_embeddings() -> None:
    clean, labels = _faces(60, 8, 0.4)
    pairs = draw_pairs(labels, "drawn")
    same = measure_drift(clean, clean, pairs, GATES["int8"])
    assert same.accuracy == same.accuracy_fp32 and same.tar == same.tar_fp32 and same.cosine_min == pytest.approx(1)
    assert same.fmr == pytest.approx(0.01, abs=1e-9)  # the threshold is FP32's at that rate, of 3,000 pairs
    noisy = clean + np.random.default_rng(1).normal(size=clean.shape)
    drift = measure_drift(clean, noisy, pairs, GATES["int8"])
    assert drift.accuracy is not None and drift.accuracy_fp32 is not None and drift.tar is not None
    assert drift.accuracy_fp32 - drift.accuracy > 0.05 and drift.tar < same.tar
    assert [reason.split()[0] for reason in missed(drift, GATES["int8"])] == ["mean", "accuracy"]
    assert missed(same, GATES["fp16"]) == []


def test_what_is_chance_with_few_pairs_misses_no_gate() -> None:
    # 4 of 404 pairs fewer are right: 11 turned wrong and 7 right, so sqrt(18) of 404 is what chance does.
    few = Drift(60, 0.99, 0.99, 0.999, accuracy_fp32=0.7224, accuracy=0.7125, accuracy_chance=1.96 * 18**0.5 / 404)
    assert missed(few, GATES["int8"]) == []
    many = Drift(60, 0.99, 0.99, 0.999, accuracy_fp32=0.7224, accuracy=0.7125, accuracy_chance=0.004)
    (told,) = missed(many, GATES["int8"])
    assert told == "accuracy falls from 72.24 to 71.25 %, more than 0.5 points and more than chance (0.40)"
    clean, labels = _faces(60, 8, 0.4)
    noisy = clean + 0.2 * np.random.default_rng(1).normal(size=clean.shape)
    pairs = draw_pairs(labels, "drawn")
    drift = measure_drift(clean, noisy, pairs, GATES["int8"])
    assert drift.accuracy_chance is not None and 0 < drift.accuracy_chance < 0.02
    assert measure_drift(clean, clean, pairs, GATES["int8"]).accuracy_chance == 0


def test_accuracy_is_judged_only_where_one_pair_does_not_decide() -> None:
    assert GATES["fp16"].genuine_pairs == 1000 and GATES["int8"].genuine_pairs == 200
    clean, labels = _faces(30, 4, 0.4)  # 30 * 6 = 180 genuine pairs
    drift = measure_drift(clean, clean, draw_pairs(labels, ""), GATES["int8"])
    assert drift.accuracy is None and drift.genuine is not None and drift.genuine.pairs == 180
    assert measure_drift(clean, clean, draw_pairs(labels, ""), Gate(0.9, 1.0)).accuracy is not None


def test_pairs_are_distinct_and_seeded() -> None:
    labels = np.repeat(np.arange(20), 5)
    pairs = draw_pairs(labels, "x", most=150, seed=3)
    assert int(pairs.genuine.sum()) == 150 and len(pairs.genuine) == 300
    assert len({(int(a), int(b)) for a, b in zip(pairs.first, pairs.second, strict=True)}) == 300
    assert ((labels[pairs.first] == labels[pairs.second]) == pairs.genuine).all() and (
        pairs.first < pairs.second
    ).all()
    for kind in (True, False):
        assert np.bincount(pairs.folds[pairs.genuine == kind])[1:].tolist() == [15] * 10
    np.testing.assert_array_equal(draw_pairs(labels, "x", 150, 3).second, pairs.second)
    assert draw_pairs(np.arange(4), "x").genuine.tolist() == [False] * 6


def test_what_is_not_a_number_misses_every_gate() -> None:
    broken = _turned(0, 10, 20)
    broken[1] = np.nan
    drift = measure_drift(_turned(0, 10, 20), broken, draw_pairs([0, 0, 1], ""))
    assert missed(drift, Gate(-1.0, 100)) and drift.genuine is None
    with pytest.raises(InputError, match=r"\(N, E\) twice"):
        measure_drift(_turned(0, 1), _turned(0))


def test_a_gate_is_within_not_under() -> None:
    drift = Drift(10, 0.9, 0.9, 0.99, accuracy_fp32=0.95, accuracy=0.945)
    assert missed(drift, GATES["int8"]) == []
    assert missed(Drift(10, 0.9, 0.9, 0.99, accuracy_fp32=0.95, accuracy=0.9449), GATES["int8"])
