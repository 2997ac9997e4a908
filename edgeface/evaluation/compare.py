"""Two systems on the same pairs or probes: the difference and its 95 % interval, people resampled.

Both see the same draws of people, so what is hard for both drops out: far sharper than two intervals side by side.
Thresholds of the accuracy stay those of each system's own folds; those of a true accept rate are chosen in each draw.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeface.evaluation.scores import IdentifyScores, Scores, VerifyScores, read_scores
from edgeface_calibration.metrics import (
    Interval,
    auc,
    grouped_mean,
    identity_interval,
    paired_interval,
    tar_unchecked,
)
from edgeface_calibration.thresholds import too_few
from edgeface_runtime.errors import InputError

__all__ = ["Comparison", "compare", "compare_identification", "compare_verification", "paired_difference"]

RATES = (1e-1, 1e-2, 1e-3)
RESAMPLES = 1000


@dataclass(frozen=True)
class Comparison:
    """System a minus system b."""

    a: str
    b: str
    differences: dict[str, Interval]
    """Measure -> difference: accuracy, auc, tar at ...; or rank1, rank5."""
    compared: int
    """Pairs or probes both have."""
    left_out: int
    """Pairs or probes only one of the two has."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data, with the verdicts in words."""
        found = {name: {**asdict(entry), "verdict": entry.verdict} for name, entry in self.differences.items()}
        return {**asdict(self), "differences": found}


def compare(a: Scores, b: Scores, resamples: int = RESAMPLES, seed: int = 0) -> Comparison:
    """Compare two systems; raises as `compare_verification` and `compare_identification`."""
    if isinstance(a, VerifyScores) and isinstance(b, VerifyScores):
        return compare_verification(a, b, resamples, seed)
    if isinstance(a, IdentifyScores) and isinstance(b, IdentifyScores):
        return compare_identification(a, b, resamples, seed)
    raise InputError("scores of pairs and ranks of probes cannot be compared: evaluate both by one --protocol")


def compare_verification(a: VerifyScores, b: VerifyScores, resamples: int = RESAMPLES, seed: int = 0) -> Comparison:
    """Accuracy, AUC, and the true accept rates that the impostor pairs carry, a minus b.

    Raises:
        InputError: the two have no pair in common, or not as the same pair.
    """
    one, other = _common(a.names, b.names)
    genuine, identities, folds = a.genuine[one], a.identities[one], a.folds[one]
    if (genuine != b.genuine[other]).any() or (folds != b.folds[other]).any():
        raise InputError("the two systems were not judged on the same pairs: folds or people differ")
    right = a.correct()[one].astype(float) - b.correct()[other]
    found = {"accuracy": identity_interval(grouped_mean(right, folds), identities, resamples, seed)}
    measures: dict[str, Callable[..., float]] = {"auc": auc}
    for rate in RATES:
        if too_few(int((~genuine).sum()), rate) is None:
            measures[f"tar at {rate:g}"] = lambda scores, labels, rate=rate: tar_unchecked(scores, labels, rate)
    for name, measure in measures.items():
        found[name] = paired_interval(measure, a.scores[one], b.scores[other], genuine, identities, resamples, seed)
    return Comparison(a.label, b.label, found, len(one), len(a.names) + len(b.names) - 2 * len(one))


def compare_identification(
    a: IdentifyScores, b: IdentifyScores, resamples: int = RESAMPLES, seed: int = 0
) -> Comparison:
    """Rank-1 and rank-5, a minus b.

    Raises:
        InputError: the two have no probe in common, or galleries of different people.
    """
    if a.people != b.people:
        raise InputError(f"the galleries differ: {a.people} people and {b.people}")
    one, other = _common(a.names, b.names)
    people = _twice(a.identities[one])
    found = {}
    for k in (1, 5):
        better = (a.ranks[one] <= k).astype(float) - (b.ranks[other] <= k)
        found[f"rank{k}"] = identity_interval(grouped_mean(better, np.zeros(len(one))), people, resamples, seed)
    return Comparison(a.label, b.label, found, len(one), len(a.names) + len(b.names) - 2 * len(one))


def paired_difference(a: Sequence[Path], b: Sequence[Path], resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """Accuracy (or rank-1) of a minus b over several trainings (seeds), from their scores files in the same order.

    The value is the mean over the seeds of each one's difference. People are resampled, over all seeds together; the
    spread between trainings is not in the interval.

    Raises:
        InputError: not as many of one as of the other, files missing, or nothing in common.
        ArtefactError: a file is damaged.
    """
    if len(a) != len(b) or not a:
        raise InputError(f"{len(a)} scores files cannot be compared with {len(b)}")
    differences, people, groups = [], [], []
    for number, (one_path, other_path) in enumerate(zip(a, b, strict=True)):
        mine, theirs = read_scores(one_path), read_scores(other_path)
        one, other = _common(mine.names, theirs.names)
        if isinstance(mine, VerifyScores) and isinstance(theirs, VerifyScores):
            differences.append(mine.correct()[one].astype(float) - theirs.correct()[other])
            people.append(mine.identities[one])
            folds = mine.folds[one]
        elif isinstance(mine, IdentifyScores) and isinstance(theirs, IdentifyScores):
            differences.append((mine.ranks[one] == 1).astype(float) - (theirs.ranks[other] == 1))
            people.append(_twice(mine.identities[one]))
            folds = np.zeros(len(one), np.int64)
        else:
            raise InputError(f"{one_path} and {other_path} are of different protocols")
        groups.append(number * 100_000 + folds)
    statistic = grouped_mean(np.concatenate(differences), np.concatenate(groups))
    return identity_interval(statistic, np.concatenate(people), resamples, seed)


def _common(a: NDArray[np.str_], b: NDArray[np.str_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows of a and of b that are the same pair or probe; one that is listed twice is taken in its order."""
    left: dict[tuple[Any, ...], list[int]] = {}
    for at, name in enumerate(b.reshape(len(b), -1).tolist()):
        left.setdefault(tuple(name), []).append(at)
    found = []
    for at, name in enumerate(a.reshape(len(a), -1).tolist()):
        places = left.get(tuple(name))
        if places:
            found.append((at, places.pop(0)))
    if not found:
        raise InputError("the two systems have no picture in common: evaluate them on the same set")
    one, other = np.array(found).T
    return one, other


def _twice(identities: NDArray[np.str_]) -> NDArray[np.str_]:
    return np.stack([identities, identities], 1)
