"""How far a model in another precision drifts from FP32, on the same real faces, and whether that passes.

Four views of one thing: the cosine of a face with itself; how the scores of genuine and impostor pairs move;
the change of accuracy over ten folds (LFW's protocol); the change of the true accept rate at a threshold, which is
what a device decides by and nobody measures again after changing the precision.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeface_calibration.folds import ten_fold
from edgeface_calibration.thresholds import threshold_at_fmr, too_few
from edgeface_runtime.errors import InputError

__all__ = ["GATES", "Drift", "Gate", "JudgedPairs", "ScoreDrift", "cosines", "draw_pairs", "measure_drift", "missed"]

Floats = NDArray[np.float64]
FOLDS = 10
FMR = 1e-2
"""Rate of the threshold where the bundle has none: what LFW's 3,000 impostor pairs carry."""


@dataclass(frozen=True)
class Gate:
    """What a precision must reach."""

    cosine_mean: float
    """Lowest mean cosine to FP32."""
    accuracy_points: float
    """How many points of accuracy it may lose, or as many as are chance with the pairs there are."""

    @property
    def genuine_pairs(self) -> int:
        """How many genuine pairs the accuracy needs: with as many impostors, two pairs make up what may be lost."""
        return math.ceil(100 / self.accuracy_points - 1e-9)


GATES = {"fp16": Gate(0.9999, 0.1), "int8": Gate(0.99, 0.5), "int8+fp16": Gate(0.99, 0.5)}
"""By precision; FP32 itself is compared with the network it was exported from."""


@dataclass(frozen=True)
class JudgedPairs:
    """Pairs of faces to judge on: indices into them."""

    first: NDArray[np.int64]
    """(P,)."""
    second: NDArray[np.int64]
    """(P,)."""
    genuine: NDArray[np.bool_]
    """(P,): whether both show one person."""
    folds: NDArray[np.int64]
    """(P,): from 1."""
    source: str
    """What they are, in words."""

    def scores(self, embeddings: ArrayLike) -> Floats:
        """Cosines (P,) of the pairs of embeddings (N, E)."""
        rows = np.asarray(embeddings, np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        values: Floats = np.einsum("pe,pe->p", rows[self.first], rows[self.second])
        return values


@dataclass(frozen=True)
class ScoreDrift:
    """How the scores of one kind of pairs moved."""

    pairs: int
    mean: float
    """Mean change; below 0: scores fell."""
    p99: float
    """99th percentile of the absolute change."""


@dataclass(frozen=True)
class Drift:
    """One precision against FP32. Accuracies and rates are 0..1; None where there were too few pairs to say."""

    faces: int
    cosine_min: float
    cosine_p1: float
    cosine_mean: float
    genuine: ScoreDrift | None = None
    impostor: ScoreDrift | None = None
    accuracy_fp32: float | None = None
    accuracy: float | None = None
    accuracy_chance: float | None = None
    """By how much the accuracy changes by chance with so few pairs, 95 %: from those that changed sides."""
    threshold: float | None = None
    """Cosine at which the rates are taken."""
    tar_fp32: float | None = None
    tar: float | None = None
    fmr_fp32: float | None = None
    fmr: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """What a manifest records; what was not measured is left out."""
        return {key: value for key, value in asdict(self).items() if value is not None}


def cosines(first: ArrayLike, second: ArrayLike) -> Floats:
    """Cosine row by row, (N, E) x (N, E) -> (N,), in float64; not a number where a row is zero or not finite."""
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        values: Floats = (a * b).sum(1) / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))
    return values


def draw_pairs(labels: ArrayLike, source: str, most: int = 3000, seed: int = 0) -> JudgedPairs:
    """Genuine and impostor pairs, at most `most` each, of faces whose people are `labels` (N,) int.

    Pairs are drawn without repeats; where there are fewer, all there are. Folds are dealt to each kind in turn.
    """
    people = np.asarray(labels)
    first, second = np.triu_indices(len(people), 1)
    same = people[first] == people[second]
    rng = np.random.default_rng(seed)
    chosen, folds = [], []
    for kind in (same, ~same):
        (found,) = np.nonzero(kind)
        taken = rng.permutation(found)[:most]
        chosen.append(taken)
        folds.append(1 + np.arange(len(taken)) % FOLDS)
    picked = np.concatenate(chosen)
    return JudgedPairs(
        first[picked].astype(np.int64),
        second[picked].astype(np.int64),
        same[picked],
        np.concatenate(folds).astype(np.int64),
        source,
    )


def measure_drift(
    reference: ArrayLike,
    found: ArrayLike,
    pairs: JudgedPairs | None = None,
    gate: Gate | None = None,
    threshold: float | None = None,
) -> Drift:
    """Compare embeddings (N, E) of one set of faces, FP32's and another precision's.

    Args:
        pairs: of these faces; None judges by the cosine alone.
        gate: whose accuracy is to be judged; it says how many pairs that takes.
        threshold: cosine the bundle decides by; None takes FP32's at a false match rate of 1e-2.

    Raises:
        InputError: not two (N, E) arrays of one shape, or no face.
    """
    ours, theirs = np.asarray(reference, np.float64), np.asarray(found, np.float64)
    if ours.ndim != 2 or ours.shape != theirs.shape or not len(ours):
        raise InputError(f"embeddings must be (N, E) twice with N >= 1, got {ours.shape} and {theirs.shape}")
    same = cosines(ours, theirs)
    drift: dict[str, Any] = {
        "faces": len(ours),
        "cosine_min": float(same.min()),
        "cosine_p1": float(np.quantile(same, 0.01)) if np.isfinite(same).all() else float("nan"),
        "cosine_mean": float(same.mean()),
    }
    if pairs is not None and len(pairs.genuine) and np.isfinite(same).all():
        drift |= _pair_drift(pairs, pairs.scores(ours), pairs.scores(theirs), gate, threshold)
    return Drift(**drift)


def _pair_drift(
    pairs: JudgedPairs, before: Floats, after: Floats, gate: Gate | None, threshold: float | None
) -> dict[str, Any]:
    genuine = pairs.genuine
    drift: dict[str, Any] = {
        name: ScoreDrift(
            int(kind.sum()),
            float((after - before)[kind].mean()),
            float(np.quantile(np.abs(after - before)[kind], 0.99)),
        )
        for name, kind in (("genuine", genuine), ("impostor", ~genuine))
        if kind.any()
    }
    if len(drift) < 2:
        return drift
    level = _level(genuine)
    if gate is not None and int(genuine.sum()) >= gate.genuine_pairs:
        right = [_right(scores[level], genuine[level], pairs.folds[level]) for scores in (before, after)]
        drift["accuracy_fp32"], drift["accuracy"] = (accuracy for accuracy, _ in right)
        changed = float((right[0][1] != right[1][1]).sum())
        drift["accuracy_chance"] = 1.96 * math.sqrt(changed) / len(right[0][1])
    if threshold is None and too_few(int((~genuine).sum()), FMR) is None:
        threshold = threshold_at_fmr(before[~genuine], FMR)
    if threshold is not None:
        drift["threshold"] = float(threshold)
        for name, scores in (("_fp32", before), ("", after)):
            drift[f"tar{name}"] = float((scores[genuine] >= threshold).mean())
            drift[f"fmr{name}"] = float((scores[~genuine] >= threshold).mean())
    return drift


def _right(scores: Floats, genuine: NDArray[np.bool_], folds: NDArray[np.int64]) -> tuple[float, NDArray[np.bool_]]:
    """Accuracy over folds, and whether each pair is judged rightly (P,)."""
    found = ten_fold(scores, genuine, folds)
    thresholds = dict(zip(found.folds, found.thresholds, strict=True))
    limits = np.array([thresholds[int(fold)] for fold in folds])
    return found.mean, (scores >= limits) == genuine


def _level(genuine: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """As many impostor pairs as genuine ones, the first: accuracy is of both alike."""
    kept = np.array(genuine, np.bool_)
    kept[np.nonzero(~genuine)[0][: int(genuine.sum())]] = True
    return kept


def missed(drift: Drift, gate: Gate) -> list[str]:
    """What of a gate was missed, in words; empty where it passes."""
    found = []
    if not drift.cosine_mean >= gate.cosine_mean:
        found.append(f"mean cosine {drift.cosine_mean:.5f} over {drift.faces} faces is below {gate.cosine_mean}")
    if drift.accuracy is not None and drift.accuracy_fp32 is not None:
        lost = 100 * (drift.accuracy_fp32 - drift.accuracy)
        chance = 100 * (drift.accuracy_chance or 0.0)
        if not lost <= max(gate.accuracy_points, chance) + 1e-9:
            found.append(
                f"accuracy falls from {100 * drift.accuracy_fp32:.2f} to {100 * drift.accuracy:.2f} %, more than "
                f"{gate.accuracy_points} points and more than chance ({chance:.2f})"
            )
    return found
