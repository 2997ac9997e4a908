"""Confidence intervals of error rates over millions of pairs, by resampling people.

The same draws as in `bootstrap`, counted by person instead of by pair, so that a thousand of them take a second.
Where not one error was seen (or nothing else) resampling knows no width: then the bound is the exact binomial one
with one trial a person (Clopper & Pearson 1934), which is wider.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeface_calibration.bootstrap import Interval
from edgeface_runtime.errors import InputError

__all__ = ["false_match_interval", "share_interval"]

CHUNK = 25
"""Draws counted at once: bounds memory."""


def share_interval(
    hits: ArrayLike, people: ArrayLike, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> Interval:
    """The share of trials that are hits (FNMR, FPIR, FNIR), each trial of one person.

    Args:
        hits: (n,) bool.
        people: (n,) whose trial it is.
        resamples: number of draws of people with replacement.
        seed: of the draws.
        level: of the interval, 0..1.

    Raises:
        InputError: no trial, lengths that differ, or trials of fewer than two people.
    """
    hit = np.asarray(hits).astype(bool)
    names, person = np.unique(np.asarray(people), return_inverse=True)
    if hit.shape != person.shape or hit.ndim != 1:
        raise InputError(f"hits and people must be (n,) each, got {hit.shape} and {person.shape}")
    _check(len(names), resamples, level)
    errors = np.bincount(person, hit, len(names))
    trials = np.bincount(person, minlength=len(names)).astype(float)
    rng = np.random.default_rng(seed)
    values = []
    for draws in _draws(rng, len(names), resamples):
        values.append((draws @ errors) / (draws @ trials))
    return _interval(float(hit.mean()), np.concatenate(values), len(names), level)


def false_match_interval(
    pairs: ArrayLike, people: ArrayLike, resamples: int = 1000, seed: int = 0, level: float = 0.95
) -> Interval:
    """The false match rate over all pairs of pictures of different people, from the pairs that match falsely.

    Args:
        pairs: (k, 2) rows of `people`: the pictures that match falsely, each pair once.
        people: (n,) the person of each picture.
        resamples, seed, level: as for `share_interval`; an impostor pair counts as often as the product of its two
            people's draws, and a person drawn twice makes none with themselves.

    Raises:
        InputError: fewer than two people, or a pair of one person.
    """
    names, person = np.unique(np.asarray(people), return_inverse=True)
    _check(len(names), resamples, level)
    matched = np.asarray(pairs, np.int64).reshape(-1, 2)
    first, second = person[matched[:, 0]], person[matched[:, 1]]
    if (first == second).any():
        raise InputError("a false match is of two people: a pair of one person was given")
    sides, times = np.unique(np.sort(np.stack([first, second], 1), axis=1), axis=0, return_counts=True)
    pictures = np.bincount(person, minlength=len(names)).astype(float)
    all_pairs = _cross(pictures[None])[0]
    rng = np.random.default_rng(seed)
    values = []
    for draws in _draws(rng, len(names), resamples):
        errors = (draws[:, sides[:, 0]] * draws[:, sides[:, 1]]) @ times
        total = _cross(draws * pictures)
        there = total > 0
        values.append(errors[there] / total[there])
    return _interval(len(matched) / all_pairs, np.concatenate(values), len(names), level)


def _cross(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pairs of pictures of different people, for counts (draws, people): half of what squares leave over."""
    return np.asarray((counts.sum(1) ** 2 - (counts**2).sum(1)) / 2, np.float64)


def _draws(rng: np.random.Generator, people: int, resamples: int) -> Iterator[NDArray[np.float64]]:
    """How often each person is drawn, (CHUNK, people) at a time."""
    even = np.full(people, 1 / people)
    for start in range(0, resamples, CHUNK):
        yield rng.multinomial(people, even, size=min(CHUNK, resamples - start)).astype(float)


def _interval(value: float, values: NDArray[np.float64], people: int, level: float) -> Interval:
    tail = (1 - level) / 2
    low, high = (float(bound) for bound in np.quantile(values, (tail, 1 - tail)))
    if value == 0:
        high = max(high, 1 - tail ** (1 / people))
    if value == 1:
        low = min(low, tail ** (1 / people))
    return Interval(value, low, high, level, len(values), 0)


def _check(people: int, resamples: int, level: float) -> None:
    if people < 2:
        raise InputError("resampling people needs at least two of them")
    if not 0 < level < 1 or resamples < 1:
        raise InputError(f"level must lie between 0 and 1 and resamples be at least 1, got {level:g} and {resamples}")
