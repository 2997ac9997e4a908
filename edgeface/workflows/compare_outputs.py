"""How far two sets of embeddings of the same faces are apart.

Of one network in two forms, row by row: the cosine. Embeddings of two networks lie in spaces of their own, and the
cosine between them says nothing; what can be compared is what each makes of every pair of faces: the scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Agreement", "agreement"]

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Agreement:
    """Of a side with the first one."""

    faces: int
    cosine_min: float | None
    """Lowest cosine between the two embeddings of a face; None for different networks."""
    cosine_p1: float | None
    """Its first percentile."""
    cosine_mean: float | None
    """Its mean."""
    score_correlation: float | None
    """Pearson's, over the scores of all pairs of faces; None where all scores of a side are alike."""
    score_change_max: float
    """Largest absolute difference of a pair's scores."""
    genuine_mean: tuple[float, float] | None
    """Mean score of pairs of one person: the first side's, this one's. None where people are not known."""
    impostor_mean: tuple[float, float] | None
    """The same of pairs of two people."""


def agreement(first: Floats, other: Floats, people: NDArray[np.int64] | None, by_cosine: bool) -> Agreement:
    """Compare unit embeddings of the same faces.

    Args:
        first: (N, E) float32, N >= 2.
        other: (N, F) float32; F may differ from E only where `by_cosine` is False.
        people: (N,) who each face is, or None.
        by_cosine: whether both are of one network.
    """
    cosines = np.einsum("ij,ij->i", first, other, dtype=np.float64) if by_cosine else None
    upper = np.triu_indices(len(first), 1)
    ours, theirs = (np.asarray(rows @ rows.T, np.float64)[upper] for rows in (first, other))
    alike = ours.std() < 1e-9 or theirs.std() < 1e-9
    genuine = None if people is None else people[upper[0]] == people[upper[1]]
    return Agreement(
        len(first),
        None if cosines is None else float(cosines.min()),
        None if cosines is None else float(np.percentile(cosines, 1)),
        None if cosines is None else float(cosines.mean()),
        None if alike else float(np.corrcoef(ours, theirs)[0, 1]),
        float(np.abs(ours - theirs).max()),
        _means(ours, theirs, genuine),
        _means(ours, theirs, None if genuine is None else ~genuine),
    )


def _means(
    ours: NDArray[np.float64], theirs: NDArray[np.float64], chosen: NDArray[np.bool_] | None
) -> tuple[float, float] | None:
    if chosen is None or not chosen.any():
        return None
    return float(ours[chosen].mean()), float(theirs[chosen].mean())
