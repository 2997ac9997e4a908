"""Closed-set identification: the rank a probe's person is found at, rank-k, the cumulative match characteristic.

People are ranked, not pictures: a person scores as their best gallery picture, so rank-1 is the nearest neighbour
over all gallery pictures. Another person with the same score ranks before the right one, so ties never flatter.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeface_runtime.errors import InputError

__all__ = ["check_known", "cmc", "curve_of", "rank_k", "ranks"]


def check_known(probes: Sequence[str | int], gallery: Sequence[str | int]) -> None:
    """Raises InputError: a probe's person is not in the gallery."""
    known = set(gallery)
    strangers = [probe for probe in probes if probe not in known]
    if strangers:
        raise InputError(f"{len(strangers)} probes are not in the gallery, the first is {strangers[0]!r}")


def ranks(scores: ArrayLike, probes: Sequence[str | int], gallery: Sequence[str | int]) -> NDArray[np.int64]:
    """The rank, from 1, at which each probe's person is found.

    Args:
        scores: (probes, gallery pictures), higher is more alike.
        probes: the person of each row.
        gallery: the person of each column.

    Raises:
        InputError: shapes that do not agree, scores not finite, or a probe whose person is not in the gallery.
    """
    matrix = np.asarray(scores)
    if matrix.shape != (len(probes), len(gallery)) or not matrix.size:
        raise InputError(f"scores must be ({len(probes)}, {len(gallery)}) and not empty, got {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise InputError("scores must be finite: look for failed embeddings")
    check_known(probes, gallery)
    people, person_of = np.unique(np.asarray(gallery), return_inverse=True)
    place = {person: at for at, person in enumerate(people.tolist())}
    order = np.argsort(person_of, kind="stable")  # every person's columns side by side
    starts = np.searchsorted(person_of[order], np.arange(len(people)))
    best = np.maximum.reduceat(matrix[:, order], starts, axis=1)
    own = best[np.arange(len(probes)), [place[probe] for probe in probes]]
    return np.asarray((best >= own[:, None]).sum(1), np.int64)


def curve_of(found: ArrayLike, people: int) -> NDArray[np.float64]:
    """The curve of ranks (n,) from 1 in a gallery of so many people: (people,) float64, rising to 1.

    Element k - 1 is the share of probes found within rank k.

    Raises:
        InputError: no rank, or one outside 1..people.
    """
    places = np.asarray(found, np.int64)
    if places.ndim != 1 or not len(places) or places.min() < 1 or places.max() > people:
        raise InputError(f"ranks must be (n,) with n > 0 and lie from 1 to the {people} people of the gallery")
    return np.asarray(np.cumsum(np.bincount(places, minlength=people + 1)[1:]) / len(places), np.float64)


def cmc(scores: ArrayLike, probes: Sequence[str | int], gallery: Sequence[str | int]) -> NDArray[np.float64]:
    """Cumulative match characteristic of scores (probes, gallery pictures); arguments and errors as for `ranks`.

    Returns:
        (people in the gallery,) float64, rising to 1.
    """
    return curve_of(ranks(scores, probes, gallery), len(set(gallery)))


def rank_k(scores: ArrayLike, probes: Sequence[str | int], gallery: Sequence[str | int], k: int = 1) -> float:
    """Share of probes, 0..1, whose person is among the k best; arguments and errors as for `ranks`.

    Raises:
        InputError: also when k is below 1.
    """
    if k < 1:
        raise InputError(f"a rank starts at 1, got {k}")
    return float(np.mean(ranks(scores, probes, gallery) <= k))
