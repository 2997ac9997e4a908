"""Confidence intervals by resampling people, not pairs.

Pairs that share a person are not independent: intervals over pairs come out too narrow. Here people are drawn
with replacement; a genuine pair counts as often as its person was drawn, an impostor pair as often as the product
of its two people's draws (a person drawn twice makes no impostor pair with themselves). Intervals are percentiles
of the statistic over the draws. For the difference of two systems both see the same draws, which is far sharper
than two intervals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeface_runtime.errors import InputError

__all__ = ["Interval", "grouped_mean", "identity_interval", "paired_interval"]


@dataclass(frozen=True)
class Interval:
    """A value with its bootstrap interval."""

    value: float
    """On all pairs, as they are."""
    low: float
    high: float
    level: float
    resamples: int
    """Draws that gave a number."""
    undefined: int
    """Draws in which the statistic did not exist (for example no impostor pair left); not in the interval."""

    @property
    def verdict(self) -> str:
        """Of a difference, in words."""
        return "above 0" if self.low > 0 else "below 0" if self.high < 0 else "not distinguishable from 0"


def grouped_mean(values: ArrayLike, groups: ArrayLike) -> Callable[[NDArray[np.int64]], float]:
    """A statistic for `identity_interval`: the mean over groups (folds, seeds) of each group's mean.

    Args:
        values: (n,) numbers, for example 1 for a pair judged rightly.
        groups: (n,) the group of each.

    Returns:
        A function of indices; groups with nothing in a draw are left out of it.
    """
    numbers = np.asarray(values, np.float64)
    names, group = np.unique(np.asarray(groups), return_inverse=True)

    def statistic(index: NDArray[np.int64]) -> float:
        counts = np.bincount(group[index], minlength=len(names))
        there = counts > 0
        if not there.any():
            raise InputError("nothing was drawn")
        return float(np.mean(np.bincount(group[index], numbers[index], len(names))[there] / counts[there]))

    return statistic


def identity_interval(
    statistic: Callable[[NDArray[np.int64]], float],
    identities: ArrayLike,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """The interval of any statistic of pairs.

    Args:
        statistic: takes indices of pairs (repeated ones count repeatedly) and returns a number; it may raise
            InputError where it does not exist. Example: `lambda i: auc(scores[i], genuine[i])`.
        identities: (n, 2), the two people of each pair (the same twice for a genuine pair), as names or numbers.
        resamples: number of draws.
        seed: of the draws.
        level: of the interval, 0..1.

    Raises:
        InputError: identities not (n, 2) or fewer than two people, level or resamples out of range, or a statistic
            undefined on all pairs or in more than half of the draws.
    """
    pairs = np.asarray(identities)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not len(pairs):
        raise InputError(f"identities must be (n, 2), the two people of each pair, got {pairs.shape}")
    if not 0 < level < 1 or resamples < 1:
        raise InputError(f"level must lie between 0 and 1 and resamples be at least 1, got {level:g} and {resamples}")
    people, flat = np.unique(pairs, return_inverse=True)
    if len(people) < 2:
        raise InputError("resampling people needs at least two of them")
    first, second = flat.reshape(pairs.shape).T
    same = first == second
    everything = np.arange(len(pairs))
    value = float(statistic(everything))
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(resamples):
        drawn = np.bincount(rng.integers(0, len(people), len(people)), minlength=len(people))
        weight = np.where(same, drawn[first], drawn[first] * drawn[second])
        chosen = np.repeat(everything, weight)
        try:
            values.append(float(statistic(chosen)))
        except InputError:
            continue
    undefined = resamples - len(values)
    if 2 * undefined > resamples:
        raise InputError(f"the statistic is undefined in {undefined} of {resamples} draws: too few people or pairs")
    low, high = np.quantile(values, ((1 - level) / 2, (1 + level) / 2))
    return Interval(value, float(low), float(high), level, len(values), undefined)


def paired_interval(
    statistic: Callable[[NDArray[np.float64], NDArray[np.bool_]], float],
    scores: ArrayLike,
    other_scores: ArrayLike,
    genuine: ArrayLike,
    identities: ArrayLike,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> Interval:
    """The interval of `statistic(scores) - statistic(other_scores)` for two systems on the same pairs.

    Args:
        statistic: of scores (k,) and genuine (k,), such as `auc`.
        scores, other_scores: (n,) of the two systems.
        genuine: (n,) bool.
        identities, resamples, seed, level: as for `identity_interval`.

    Raises:
        InputError: see `identity_interval`; or lengths that do not agree.
    """
    one, other = np.asarray(scores, np.float64), np.asarray(other_scores, np.float64)
    labels = np.asarray(genuine).astype(bool)
    if not len(one) == len(other) == len(labels) == len(np.asarray(identities)):
        raise InputError(
            "two systems are compared on the same pairs: scores, genuine and identities differ in length"
        )
    return identity_interval(
        lambda i: statistic(one[i], labels[i]) - statistic(other[i], labels[i]), identities, resamples, seed, level
    )
