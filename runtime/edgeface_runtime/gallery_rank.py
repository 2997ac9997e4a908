"""The k best people of a gallery from bounds of their rows: exactly those, and few rows scored.

Rows are scored exactly, from the gallery's own templates, in falling order of their bounds, until no bound that is
left reaches the score of the k-th person found.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["best_people"]

Floats = npt.NDArray[np.float32]
Fetch = Callable[[npt.NDArray[np.int64]], tuple[list[str], Floats]]

GROUP = 64
"""The first cut is made by the maxima of groups of rows: a thousandth of sorting them all."""
AT_ONCE = 256
LOWEST = -4.0
"""Below every bound of a row that is there."""


def best_people(
    bounds: Floats, ids: npt.NDArray[np.int64], probe: Floats, top: int, fetch: Fetch, slack: float = 0.0
) -> list[tuple[str, float]]:
    """(name, score) of the `top` best people, best first, equal ones by name; scores by float64 sums.

    Args:
        bounds: (T,) what each row's score is at most.
        ids: (T,) of the rows.
        probe: (E,) float32.
        top: how many, at least 1.
        fetch: ids -> names and templates (N, E) float32 of the rows that are there.
        slack: how far bounds lie above scores, about: a good guess saves a second look, a bad one costs nothing else.
    """
    exact = probe.astype(np.float64)
    best: dict[str, float] = {}
    above = np.inf
    first = top
    cut = max(LOWEST, _cut(bounds, first) - slack)
    while True:
        rows = np.flatnonzero((bounds >= cut) & (bounds < above))
        rows = rows[np.argsort(-bounds[rows], kind="stable")]
        for start in range(0, len(rows), AT_ONCE):
            some = rows[start : start + AT_ONCE]
            if bounds[some[0]] < _least(best, top):
                break
            names, templates = fetch(ids[some])
            for name, score in zip(names, (templates.astype(np.float64) @ exact).tolist(), strict=True):
                if score > best.get(name, -np.inf):
                    best[name] = score
            # Whoever falls out comes back by a better row only.
            best = dict(_first(best, top))
        least = _least(best, top)
        if least >= cut or cut <= LOWEST:
            return _first(best, top)
        above = cut
        first *= 16
        # Below any float64 score that rounds to it, so that a bound equal to the score stays in.
        cut = (
            float(np.nextafter(np.float32(least), np.float32(LOWEST)))
            if least > LOWEST
            else min(_cut(bounds, first), cut)
        )


def _first(best: dict[str, float], top: int) -> list[tuple[str, float]]:
    return heapq.nsmallest(top, best.items(), key=lambda entry: (-entry[1], entry[0]))


def _least(best: dict[str, float], top: int) -> float:
    """Score of the person in place `top`, the last that is kept; minus infinity while there are fewer."""
    return min(best.values()) if len(best) >= top else float("-inf")


def _cut(bounds: Floats, wanted: int) -> float:
    """A bound that at least `wanted` rows reach; the lowest of all where there are not so many groups."""
    groups = len(bounds) // GROUP
    if groups <= wanted:
        return LOWEST
    maxima = bounds[: groups * GROUP].reshape(GROUP, groups).max(axis=0)
    return max(LOWEST, float(np.partition(maxima, groups - wanted)[groups - wanted]))
