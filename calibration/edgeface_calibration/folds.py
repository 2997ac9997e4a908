"""Protocols: LFW's ten-fold verification, and closed-set identification (rank-k, CMC).

Verification follows LFW's view 2: each fold is judged at the threshold that is best on the other folds together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeface_calibration.roc import accuracy_at, best_threshold, check_scores
from edgeface_runtime.errors import InputError

__all__ = ["FoldAccuracy", "cmc", "rank_k", "ten_fold"]


@dataclass(frozen=True)
class FoldAccuracy:
    """Accuracy over folds, each at a threshold it had no part in."""

    mean: float
    """Mean of the folds' accuracies, 0..1."""
    std: float
    """Their standard deviation (divided by n, as most papers print it)."""
    standard_error: float
    """LFW's own measure: standard deviation (divided by n - 1) over the root of n."""
    folds: tuple[int, ...]
    accuracies: tuple[float, ...]
    thresholds: tuple[float, ...]


def ten_fold(scores: ArrayLike, genuine: ArrayLike, folds: ArrayLike) -> FoldAccuracy:
    """LFW's protocol on scores (n,), genuine (n,) bool and folds (n,) int; any number of folds from two.

    Raises:
        InputError: see `check_scores`; fewer than two folds; or all other folds of one hold one class of pairs only.
    """
    values, labels = check_scores(scores, genuine)
    numbers = np.asarray(folds)
    if numbers.shape != values.shape:
        raise InputError(f"folds must be (n,) like the scores {values.shape}, got {numbers.shape}")
    names = np.unique(numbers)
    if len(names) < 2:
        raise InputError("the threshold comes from the other folds: at least two folds are needed")
    accuracies, thresholds = [], []
    for name in names:
        own = numbers == name
        threshold = best_threshold(values[~own], labels[~own])
        thresholds.append(threshold)
        accuracies.append(accuracy_at(values[own], labels[own], threshold))
    return FoldAccuracy(
        mean=float(np.mean(accuracies)),
        std=float(np.std(accuracies)),
        standard_error=float(np.std(accuracies, ddof=1) / np.sqrt(len(names))),
        folds=tuple(int(name) for name in names),
        accuracies=tuple(accuracies),
        thresholds=tuple(thresholds),
    )


def cmc(scores: ArrayLike, probes: Sequence[str | int], gallery: Sequence[str | int]) -> NDArray[np.float64]:
    """Cumulative match characteristic, closed set: element k - 1 is the share of probes found within rank k.

    People are ranked, not pictures: a person scores as their best gallery picture. Another person with the same score
    ranks before the right one, so ties never flatter.

    Args:
        scores: (probes, gallery pictures), higher is more alike.
        probes: the person of each row.
        gallery: the person of each column.

    Returns:
        (people in the gallery,) float64, rising to 1.

    Raises:
        InputError: shapes that do not agree, scores not finite, or a probe whose person is not in the gallery.
    """
    matrix = np.asarray(scores, np.float64)
    if matrix.shape != (len(probes), len(gallery)) or not matrix.size:
        raise InputError(f"scores must be ({len(probes)}, {len(gallery)}) and not empty, got {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise InputError("scores must be finite: look for failed embeddings")
    people, person_of = np.unique(np.asarray(gallery), return_inverse=True)
    place = {person: at for at, person in enumerate(people.tolist())}
    strangers = [probe for probe in probes if probe not in place]
    if strangers:
        raise InputError(f"{len(strangers)} probes are not in the gallery, the first is {strangers[0]!r}")
    best = np.full((len(probes), len(people)), -np.inf)
    for column, person in enumerate(person_of):
        np.maximum(best[:, person], matrix[:, column], out=best[:, person])
    right = np.array([place[probe] for probe in probes])
    own = best[np.arange(len(probes)), right][:, None]
    ranks = (best >= own).sum(1)
    return np.cumsum(np.bincount(ranks, minlength=len(people) + 1)[1:]) / len(probes)


def rank_k(scores: ArrayLike, probes: Sequence[str | int], gallery: Sequence[str | int], k: int = 1) -> float:
    """Share of probes, 0..1, whose person is among the k best; arguments and errors as for `cmc`.

    Raises:
        InputError: also when k is below 1.
    """
    if k < 1:
        raise InputError(f"a rank starts at 1, got {k}")
    curve = cmc(scores, probes, gallery)
    return float(curve[min(k, len(curve)) - 1])
