"""Accuracy, ROC, AUC, EER and true accept rates of verification scores, all exact: every distinct score is a step.

A pair is accepted when its score is at or above the threshold. FMR is the share of impostor pairs accepted, TMR (also
TAR) the share of genuine pairs accepted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeface_calibration.thresholds import check_rate, lowest_threshold, threshold_at_fmr, too_few
from edgeface_runtime.errors import InputError

__all__ = [
    "Roc",
    "TarAtFmr",
    "accuracy_at",
    "auc",
    "best_threshold",
    "check_scores",
    "eer",
    "roc",
    "tar_at_fmr",
    "tar_unchecked",
]


@dataclass(frozen=True)
class Roc:
    """A ROC curve from (0, 0) to (1, 1); equal scores are one step."""

    fmr: NDArray[np.float64]
    """(k + 1,) rising, 0..1."""
    tmr: NDArray[np.float64]
    """(k + 1,) rising, 0..1."""
    thresholds: NDArray[np.float64]
    """(k + 1,) falling; the first is above every score, the others are the distinct scores."""


@dataclass(frozen=True)
class TarAtFmr:
    """A true accept rate at a false match rate, or the reason why there is none."""

    fmr: float
    """The rate asked for."""
    tar: float | None
    threshold: float | None
    fmr_reached: float | None
    """The rate really had on these pairs: at most the one asked for."""
    reason: str | None


def check_scores(scores: ArrayLike, genuine: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores (n,) as float64 and genuine (n,) as bool.

    Raises:
        InputError: different lengths, not one-dimensional, a score that is not finite, or only one class of pairs.
    """
    values, labels = np.asarray(scores, np.float64), np.asarray(genuine)
    if values.ndim != 1 or values.shape != labels.shape:
        raise InputError(f"scores and genuine must be (n,) each, got {values.shape} and {labels.shape}")
    if not np.isfinite(values).all():
        raise InputError(f"{int((~np.isfinite(values)).sum())} scores are not finite: look for failed embeddings")
    labels = labels.astype(bool)
    if not labels.any() or labels.all():
        raise InputError("metrics need genuine and impostor pairs: only one of the two is there")
    return values, labels


def roc(scores: ArrayLike, genuine: ArrayLike) -> Roc:
    """The ROC curve of scores (n,) with genuine (n,) bool.

    Raises:
        InputError: see `check_scores`.
    """
    values, labels = check_scores(scores, genuine)
    order = np.argsort(-values, kind="stable")
    values, labels = values[order], labels[order]
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
    hits = np.cumsum(labels)[last]
    false = last + 1 - hits
    above = np.nextafter(values[0], np.inf)
    return Roc(
        fmr=np.concatenate(([0.0], false / false[-1])),
        tmr=np.concatenate(([0.0], hits / hits[-1])),
        thresholds=np.concatenate(([above], values[last])),
    )


def auc(scores: ArrayLike, genuine: ArrayLike) -> float:
    """Area under the ROC: how often a genuine pair scores above an impostor pair, ties counting half.

    Raises:
        InputError: see `check_scores`.
    """
    curve = roc(scores, genuine)
    return float(np.sum(np.diff(curve.fmr) * 0.5 * (curve.tmr[1:] + curve.tmr[:-1])))


def eer(scores: ArrayLike, genuine: ArrayLike) -> float:
    """Equal error rate: where FMR = 1 - TMR on the ROC, joined by straight lines.

    Raises:
        InputError: see `check_scores`.
    """
    curve = roc(scores, genuine)
    gap = curve.fmr - (1 - curve.tmr)
    right = int(np.argmax(gap >= 0))
    left = right - 1
    along = -gap[left] / (gap[right] - gap[left])
    return float(curve.fmr[left] + along * (curve.fmr[right] - curve.fmr[left]))


def accuracy_at(scores: ArrayLike, genuine: ArrayLike, threshold: float) -> float:
    """Share of pairs, 0..1, on their right side of a threshold; one class of pairs alone is allowed.

    Raises:
        InputError: different lengths, or no pair.
    """
    values, labels = np.asarray(scores, np.float64), np.asarray(genuine).astype(bool)
    if values.ndim != 1 or values.shape != labels.shape or not len(values):
        raise InputError(f"scores and genuine must be (n,) each with n > 0, got {values.shape} and {labels.shape}")
    return float(np.mean((values >= threshold) == labels))


def best_threshold(scores: ArrayLike, genuine: ArrayLike) -> float:
    """The threshold of highest accuracy, found exactly among the midpoints between neighbouring distinct scores.

    Of several equally good ones the middle one is taken. Below the lowest and above the highest score count too.

    Raises:
        InputError: see `check_scores`.
    """
    values, labels = check_scores(scores, genuine)
    levels, index = np.unique(values, return_inverse=True)
    genuine_at = np.bincount(index, weights=labels, minlength=len(levels))
    impostor_at = np.bincount(index, weights=~labels, minlength=len(levels))
    # right[i]: pairs judged rightly when the i lowest levels are refused.
    refused = np.concatenate(([0.0], np.cumsum(impostor_at)))
    accepted = labels.sum() - np.concatenate(([0.0], np.cumsum(genuine_at)))
    best = np.flatnonzero(refused + accepted == np.max(refused + accepted))
    cut = int(best[(len(best) - 1) // 2])
    if cut == 0:
        return float(levels[0])
    if cut == len(levels):
        return float(np.nextafter(levels[-1], np.inf))
    low, high = float(levels[cut - 1]), float(levels[cut])
    middle = low + 0.5 * (high - low)
    return middle if middle > low else high


def tar_unchecked(scores: ArrayLike, genuine: ArrayLike, fmr: float) -> float:
    """`tar_at_fmr` for a draw of pairs that together carry the rate: how many this draw has is not asked.

    Raises:
        InputError: see `check_scores`.
    """
    values, labels = check_scores(scores, genuine)
    return float(np.mean(values[labels] >= lowest_threshold(values[~labels], fmr)))


def tar_at_fmr(scores: ArrayLike, genuine: ArrayLike, fmr: float) -> TarAtFmr:
    """The true accept rate at a false match rate, at the threshold `threshold_at_fmr` gives.

    A rate these pairs cannot carry (fewer than 30 expected false matches) yields no number but a reason.

    Raises:
        InputError: see `check_scores`; or a rate outside (0, 1).
    """
    values, labels = check_scores(scores, genuine)
    check_rate(fmr)
    impostors = values[~labels]
    reason = too_few(len(impostors), fmr)
    if reason is not None:
        return TarAtFmr(fmr, None, None, None, reason)
    threshold = threshold_at_fmr(impostors, fmr)
    tar, reached = float(np.mean(values[labels] >= threshold)), float(np.mean(impostors >= threshold))
    return TarAtFmr(fmr, tar, threshold, reached, None)
