"""Open-set identification (ISO/IEC 19795-1): a gallery of some people, probes of them and of strangers.

FPIR   share of strangers' probes whose best candidate reaches the threshold: a false alarm
FNIR   share of enrolled people's probes whose best candidate is somebody else or stays below the threshold

FPIR grows with the gallery, so both are of one gallery size: that of the draws. Half of the people, drawn at random,
are enrolled with one picture each; their other pictures and everybody else's are probes. Several draws are pooled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeface_calibration.thresholds import MIN_FALSE_MATCHES
from edgeface_runtime.errors import InputError

__all__ = ["Draw", "OpenScores", "alarms", "best_of_others", "draw_galleries", "open_scores", "too_few_strangers"]


@dataclass(frozen=True, eq=False)
class Draw:
    """One gallery and its probes, as rows of a set of pictures."""

    gallery: NDArray[np.int64]
    """(N,) one picture for each enrolled person."""
    mates: NDArray[np.int64]
    """(M,) the enrolled people's other pictures."""
    strangers: NDArray[np.int64]
    """(K,) pictures of people who are not enrolled."""


@dataclass(frozen=True, eq=False)
class OpenScores:
    """What the probes of several draws scored."""

    stranger_best: NDArray[np.float64]
    """(K,) best score of each stranger's probe."""
    stranger_people: NDArray[np.int64]
    """(K,) whose it is."""
    mate_own: NDArray[np.float64]
    """(M,) score of each enrolled person's probe with their own template; -inf where somebody else is nearer."""
    mate_people: NDArray[np.int64]
    """(M,) whose it is."""

    def fpir(self, threshold: float) -> float:
        """Share of strangers' probes that raise an alarm."""
        return float(np.mean(self.stranger_best >= threshold))

    def fnir(self, threshold: float) -> float | None:
        """Share of enrolled people's probes that are missed; None where there is none."""
        return float(np.mean(self.mate_own < threshold)) if len(self.mate_own) else None


def draw_galleries(labels: ArrayLike, size: int | None, draws: int, seed: int = 0) -> list[Draw]:
    """Galleries drawn at random.

    Args:
        labels: (n,) the person of each picture.
        size: people enrolled; None: half of them.
        draws: how many galleries.
        seed: of the draws.

    Raises:
        InputError: fewer than four people, or a gallery of more than half of them: FPIR is not extrapolated.
    """
    who = np.asarray(labels)
    people = np.unique(who)
    most = len(people) // 2
    if len(people) < 4:
        raise InputError(f"an open set needs 4 people, there are {len(people)}")
    if size is None:
        size = most
    if size < 1:
        raise InputError(f"--gallery-size must be at least 1, got {size}")
    if size > most:
        raise InputError(
            f"--gallery-size {size} needs {2 * size} people, there are {len(people)}: a rate for a larger gallery "
            f"than measured is not given: use more people, or at most {most}"
        )
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(draws):
        enrolled = rng.permutation(people)[:size]
        order = rng.permutation(len(who))
        known = order[np.isin(who[order], enrolled)]
        _, first = np.unique(who[known], return_index=True)
        gallery = known[first]
        others = np.setdiff1d(known, gallery)
        found.append(Draw(gallery, others, np.flatnonzero(~np.isin(who, enrolled))))
    return found


def too_few_strangers(draws: Sequence[Draw], fpir: float) -> str | None:
    """Why the strangers' probes cannot carry a rate, or None if they can; draws share people, so the least counts."""
    strangers = min(len(draw.strangers) for draw in draws)
    if strangers * fpir >= MIN_FALSE_MATCHES - 1e-9:
        return None
    needed = math.ceil(MIN_FALSE_MATCHES / fpir - 1e-6)
    return (
        f"FPIR {fpir:g} needs {needed} probes of people not enrolled ({MIN_FALSE_MATCHES} expected false alarms), "
        f"there are {strangers}: use more faces or a higher rate"
    )


def open_scores(table: NDArray[np.floating], labels: ArrayLike, draws: Sequence[Draw]) -> OpenScores:
    """Score the probes of every draw.

    Args:
        table: (n, n), the score of picture j as a probe (row) with picture i as a template (column).
        labels: (n,) the person of each picture.
        draws: of `draw_galleries`.

    Raises:
        InputError: shapes that do not agree.
    """
    who = np.asarray(labels)
    if table.shape != (len(who), len(who)):
        raise InputError(f"scores must be ({len(who)}, {len(who)}), got {table.shape}")
    best, own = [], []
    for draw in draws:
        best.append(table[np.ix_(draw.strangers, draw.gallery)].max(axis=1))
        scores = table[np.ix_(draw.mates, draw.gallery)]
        mine = who[draw.mates][:, None] == who[draw.gallery][None]
        same = np.where(mine, scores, -np.inf).max(axis=1)
        own.append(np.where(same > best_of_others(scores, mine), same, -np.inf))
    return OpenScores(
        np.concatenate(best).astype(np.float64),
        who[np.concatenate([draw.strangers for draw in draws])],
        np.concatenate(own).astype(np.float64),
        who[np.concatenate([draw.mates for draw in draws])],
    )


def alarms(
    table: NDArray[np.floating], labels: ArrayLike, draws: Sequence[Draw], threshold: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Who raises the false alarms.

    Args:
        table, labels, draws: as for `open_scores`.
        threshold: from which a score raises an alarm.

    Returns:
        (k,) probes, as rows of `OpenScores.stranger_best`, and (k,) the enrolled person each is alike to.
    """
    who = np.asarray(labels)
    rows, people = [], []
    before = 0
    for draw in draws:
        probe, enrolled = np.nonzero(table[np.ix_(draw.strangers, draw.gallery)] >= threshold)
        rows.append(before + probe)
        people.append(who[draw.gallery][enrolled])
        before += len(draw.strangers)
    return np.concatenate(rows), np.concatenate(people)


def best_of_others(scores: NDArray[np.floating], mine: NDArray[np.bool_]) -> NDArray[np.floating]:
    """(M,) the best score of each probe with somebody else; -inf where nobody else is enrolled."""
    return np.asarray(np.where(mine, -np.inf, scores).max(axis=1, initial=-np.inf))
