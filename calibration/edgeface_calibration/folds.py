"""Verification over folds, as LFW's view 2: each fold is judged at the threshold best on the other folds together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from edgeface_calibration.roc import accuracy_at, best_threshold, check_scores
from edgeface_runtime.errors import InputError

__all__ = ["FoldAccuracy", "ten_fold"]


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
        if len(kinds := np.unique(labels[~own])) < 2:
            others = ", ".join(str(other) for other in names if other != name)
            kind = "genuine" if kinds[0] else "impostor"
            raise InputError(
                f"fold {name} has no threshold: the other folds ({others}) have only {kind} pairs left: "
                "add their missing pictures, or choose other folds"
            )
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
