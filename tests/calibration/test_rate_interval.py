"""Intervals of error rates: against resampling pair by pair, and whether they hold the truth as often as said."""

from __future__ import annotations

import numpy as np
import pytest

from edgeface_calibration.bootstrap import identity_interval
from edgeface_calibration.rate_interval import false_match_interval, share_interval
from edgeface_runtime.errors import InputError


def test_shares_as_by_pairs() -> None:
    rng = np.random.default_rng(0)
    people = rng.integers(0, 40, 400)
    hits = rng.random(400) < 0.05 + 0.3 * (people % 3 == 0)
    found = share_interval(hits, people, 4000)
    pairwise = identity_interval(lambda i: float(hits[i].mean()), np.stack([people, people], 1), 4000, seed=1)
    assert found.value == hits.mean() == pairwise.value
    assert found.low == pytest.approx(pairwise.low, abs=0.008) and found.high == pytest.approx(
        pairwise.high, abs=0.008
    )


def test_false_matches_as_by_pairs() -> None:
    rng = np.random.default_rng(0)
    people = rng.integers(0, 25, 60)
    first, second = np.triu_indices(60, 1)
    different = people[first] != people[second]
    rows, columns = first[different], second[different]
    hits = rng.random(len(rows)) < 0.02 + 0.1 * ((people[rows] % 5 == 0) & (people[columns] % 5 == 0))
    found = false_match_interval(np.stack([rows, columns], 1)[hits], people, 4000)
    pairwise = identity_interval(
        lambda i: float(hits[i].mean()), np.stack([people[rows], people[columns]], 1), 2000, seed=1
    )
    assert found.value == pytest.approx(hits.mean())
    assert found.low == pytest.approx(pairwise.low, abs=0.003) and found.high == pytest.approx(
        pairwise.high, abs=0.003
    )


@pytest.mark.parametrize("spread", [0.0, 8.0])
def test_the_truth_lies_within_as_often_as_said(spread: float) -> None:
    """People whose own error rates differ: 300 worlds, each of 60 people with 12 trials."""
    rng = np.random.default_rng(1)
    held = 0
    for world in range(300):
        own = rng.beta(0.15 * spread, 0.85 * spread, 60) if spread else np.full(60, 0.15)
        hits = rng.random((60, 12)) < own[:, None]
        found = share_interval(hits.ravel(), np.repeat(np.arange(60), 12), 300, seed=world)
        held += found.low <= 0.15 <= found.high
    assert 0.90 <= held / 300 <= 0.985


def test_false_match_rates_lie_within_as_often_as_said() -> None:
    """Embeddings drawn anew: the rate at a fixed cosine, whose truth comes from very many pairs."""
    rng = np.random.default_rng(2)

    def world(people: int) -> tuple[np.ndarray, np.ndarray]:
        centres = rng.normal(size=(people, 6)) + np.eye(6)[0]
        vectors = np.repeat(centres, 3, 0) + 0.5 * rng.normal(size=(3 * people, 6))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.repeat(np.arange(people), 3)

    def matches(vectors: np.ndarray, labels: np.ndarray) -> np.ndarray:
        hit = np.triu((vectors @ vectors.T >= 0.8) & (labels[:, None] != labels), 1)
        return np.argwhere(hit)

    vectors, labels = world(1000)
    truth = false_match_interval(matches(vectors, labels), labels, 1).value
    held = 0
    for number in range(150):
        vectors, labels = world(60)
        found = false_match_interval(matches(vectors, labels), labels, 300, seed=number)
        held += found.low <= truth <= found.high
    assert 0.88 <= held / 150 <= 0.995


def test_no_error_seen_is_not_no_error() -> None:
    people = np.repeat(np.arange(30), 4)
    found = share_interval(np.zeros(120, bool), people, 100)
    # Wilson's bound for none of 30 people: z^2 / (30 + z^2).
    assert (found.value, found.low) == (0, 0) and found.high == pytest.approx(1.96**2 / (30 + 1.96**2), rel=1e-3)
    every = share_interval(np.ones(120, bool), people, 100)
    assert every.high == 1 and every.low == pytest.approx(1 - found.high)
    assert false_match_interval(np.empty((0, 2)), people, 100).high == pytest.approx(found.high)


def test_bad_input() -> None:
    with pytest.raises(InputError, match="at least two"):
        share_interval([True, False], [1, 1])
    with pytest.raises(InputError, match=r"\(n,\) each"):
        share_interval([True], [1, 2])
    with pytest.raises(InputError, match="level must lie"):
        share_interval([True, False], [1, 2], level=1.0)
    with pytest.raises(InputError, match="of one person"):
        false_match_interval([[0, 1]], [3, 3, 4])
