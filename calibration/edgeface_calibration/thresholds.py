"""Thresholds for a false match rate (FMR), from the scores of impostor pairs.

A rate is only as good as the false matches it was seen with: below 30 expected ones its 95 % interval is wider than
a third of the rate either way, and no threshold is given.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgeface_runtime.errors import InputError

__all__ = ["MIN_FALSE_MATCHES", "check_rate", "lowest_threshold", "supported_rates", "threshold_at_fmr", "too_few"]

MIN_FALSE_MATCHES = 30
"""Expected false matches below which a rate is refused."""

RATES = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""Rates commonly reported."""


def check_rate(fmr: float) -> None:
    """Raises InputError: the rate is not between 0 and 1."""
    if not 0 < fmr < 1:
        raise InputError(f"a false match rate must lie between 0 and 1, got {fmr:g}")


def too_few(impostors: int, fmr: float) -> str | None:
    """Why this many impostor pairs cannot carry a rate, or None if they can."""
    if impostors * fmr >= MIN_FALSE_MATCHES - 1e-9:
        return None
    needed = math.ceil(MIN_FALSE_MATCHES / fmr - 1e-6)
    return (
        f"FMR {fmr:g} needs {needed} impostor pairs ({MIN_FALSE_MATCHES} expected false matches), "
        f"there are {impostors}: use more pairs or a higher rate"
    )


def supported_rates(impostors: int) -> tuple[float, ...]:
    """Those of .1, .01 ... 1e-6 that this many impostor pairs can carry."""
    return tuple(rate for rate in RATES if too_few(impostors, rate) is None)


def threshold_at_fmr(impostor_scores: ArrayLike, fmr: float) -> float:
    """The lowest threshold whose false matches are at most `fmr` of the impostor pairs.

    It lies midway between the highest impostor score to refuse and the next one, so that it stands rounding to
    float32; scores at or above it are accepted.

    Raises:
        InputError: a rate outside (0, 1), too few pairs for it, or scores not (n,) and finite.
    """
    check_rate(fmr)
    scores = np.asarray(impostor_scores, np.float64)
    if scores.ndim != 1 or not np.isfinite(scores).all():
        raise InputError(f"impostor scores must be finite and (n,), got {scores.shape}")
    reason = too_few(len(scores), fmr)
    if reason is not None:
        raise InputError(reason)
    return lowest_threshold(scores, fmr)


def lowest_threshold(scores: NDArray[np.float64], fmr: float) -> float:
    """`threshold_at_fmr` of impostor scores (n,), n > 0, for a draw of pairs: how many there are is not asked."""
    allowed = int(fmr * len(scores) + 1e-9)
    falling = np.sort(scores)[::-1]
    refuse = falling[allowed]
    higher = falling[:allowed][falling[:allowed] > refuse]
    if not len(higher):
        return float(np.nextafter(np.float32(refuse), np.float32(np.inf)))
    middle = float(refuse + 0.5 * (higher[-1] - refuse))
    return middle if middle > refuse else float(higher[-1])
