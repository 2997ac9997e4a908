"""Confidence intervals of error rates over millions of pairs, by resampling people.

The same draws as in `bootstrap`, counted by person instead of by pair, so that a thousand of them take a second.
Their variance says how many independent trials a rate is worth; the interval is Wilson's (1927) for so many, after
Korn & Graubard (1998). Percentiles of the draws are too narrow where few people fail. Where nobody fails (or
everybody) a person is worth one trial.
"""

from __future__ import annotations

from collections.abc import Iterator
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeface_calibration.bootstrap import Interval
from edgeface_runtime.errors import InputError

__all__ = ["false_alarm_interval", "false_match_interval", "share_interval"]

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
    return _interval(float(hit.mean()), np.concatenate(values), len(names), len(hit), level)


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
    return _interval(len(matched) / all_pairs, np.concatenate(values), len(names), float(all_pairs), level)


def false_alarm_interval(
    alarms: ArrayLike,
    raised_by: ArrayLike,
    people: ArrayLike,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """The share of strangers' probes that raise an alarm (FPIR), people drawn as strangers and as enrolled ones.

    Args:
        alarms: (k,) rows of `people`: the probes that raise one, a row for each enrolled person who is alike enough.
        raised_by: (k,) that person, of the same names as `people`.
        people: (n,) the person of each stranger's probe.
        resamples, seed, level: as for `share_interval`; an alarm counts as often as the sum, less one, of its probe's
            draws and the mean draws of those who raised it (the product, made linear: its own chance is not added).

    Raises:
        InputError: no probe, lengths that differ, or fewer than two people.
    """
    who, by, row = np.asarray(people), np.asarray(raised_by), np.asarray(alarms, np.int64)
    if by.shape != row.shape or row.ndim != 1 or who.ndim != 1 or not len(who):
        raise InputError(f"alarms and raised_by must be (k,) each and people (n,), got {row.shape} and {by.shape}")
    names, person = np.unique(np.concatenate([who, by]), return_inverse=True)
    _check(len(names), resamples, level)
    probe, enrolled = person[: len(who)], person[len(who) :]
    each, raised = np.unique(row, return_inverse=True)
    part = 1 / np.bincount(raised)[raised] if len(row) else np.empty(0)
    own = np.bincount(probe[each], minlength=len(names)).astype(float)  # alarms of each person's probes
    shared = np.bincount(enrolled, part, len(names))  # and those that each enrolled person raised
    trials = np.bincount(probe, minlength=len(names)).astype(float)
    rng = np.random.default_rng(seed)
    values = []
    for draws in _draws(rng, len(names), resamples):
        errors = draws @ (own + shared) - len(each)
        total = draws @ trials
        there = total > 0
        values.append(errors[there] / total[there])
    return _interval(len(each) / len(who), np.concatenate(values), len(np.unique(probe)), len(who), level)


def _cross(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Pairs of pictures of different people, for counts (draws, people): half of what squares leave over."""
    return np.asarray((counts.sum(1) ** 2 - (counts**2).sum(1)) / 2, np.float64)


def _draws(rng: np.random.Generator, people: int, resamples: int) -> Iterator[NDArray[np.float64]]:
    """How often each person is drawn, (CHUNK, people) at a time."""
    even = np.full(people, 1 / people)
    for start in range(0, resamples, CHUNK):
        yield rng.multinomial(people, even, size=min(CHUNK, resamples - start)).astype(float)


def _interval(value: float, values: NDArray[np.float64], people: int, trials: float, level: float) -> Interval:
    """Wilson's, for as many trials as would spread as the draws do, at most those there were."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    spread = float(np.var(values))
    worth = float(people) if value in (0, 1) or spread == 0 else min(value * (1 - value) / spread, trials)
    middle = value + z * z / (2 * worth)
    half = z * (value * (1 - value) / worth + (z / (2 * worth)) ** 2) ** 0.5
    low, high = ((middle + side * half) / (1 + z * z / worth) for side in (-1, 1))
    low, high = max(0.0, min(low, value)), min(1.0, max(high, value))
    return Interval(value, low, high, level, len(values), 0)


def _check(people: int, resamples: int, level: float) -> None:
    if people < 2:
        raise InputError("resampling people needs at least two of them")
    if not 0 < level < 1 or resamples < 1:
        raise InputError(f"level must lie between 0 and 1 and resamples be at least 1, got {level:g} and {resamples}")
