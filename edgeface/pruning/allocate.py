"""Sharing a global ratio out to the groups: sensitive ones lose less, and the total is met.

R is the share of all convolution filters removed. A group of width w whose channels are made by m convolutions
holds w x m of them.
"""

from __future__ import annotations

import math

from edgeface.pruning.groups import Group
from edgeface_runtime.errors import InputError

__all__ = ["achieved_ratio", "allocate"]

SPREAD = 1.4
"""A group's ratio lies between R / SPREAD and R x SPREAD: a group cut to the bone would be a bottleneck, and one
left whole would cost most of the time that pruning is for."""
MAX_RATIO = 0.9


def allocate(parts: list[Group], ratio: float, round_to: int, sensitivity: dict[str, float] | None) -> dict[str, int]:
    """Width of every group after pruning.

    Args:
        parts: all groups of the network.
        ratio: R in [0, 0.9]: share of convolution filters to remove.
        round_to: widths become multiples of this (a group narrower than it keeps its width).
        sensitivity: from `edgeface.pruning.sensitivity`; None gives every group the same ratio.

    Raises:
        InputError: the ratio or the multiple is out of range.
    """
    if not (math.isfinite(ratio) and 0 <= ratio <= MAX_RATIO):
        raise InputError(f"--ratio must lie between 0 and {MAX_RATIO} (share of filters removed), got {ratio}")
    if round_to < 1:
        raise InputError(f"--round-to must be at least 1, got {round_to}")
    if ratio == 0:
        return {part.name: part.width for part in parts}
    shares = _shares(parts, ratio, sensitivity)
    widths = {part.name: _rounded(part.width * (1 - shares[part.name]), part.width, round_to) for part in parts}
    return _repaired(parts, widths, ratio, round_to, shares)


def achieved_ratio(parts: list[Group], widths: dict[str, int]) -> float:
    """Share of convolution filters that `widths` removes."""
    return 1 - sum(widths[part.name] * len(part.convs) for part in parts) / sum(part.filters for part in parts)


def _shares(parts: list[Group], ratio: float, sensitivity: dict[str, float] | None) -> dict[str, float]:
    """Ratio per group: R x scale / sqrt(sensitivity), clipped, with the scale found by bisection."""
    low, high = ratio / SPREAD, min(ratio * SPREAD, (1 + ratio) / 2)
    wish = {part.name: 1 / math.sqrt(max(sensitivity[part.name], 1e-6)) if sensitivity else 1.0 for part in parts}
    total = sum(part.filters for part in parts)

    def share(part: Group, scale: float) -> float:
        return min(max(scale * wish[part.name], low), high)

    bottom, top = 0.0, high / min(wish.values())
    for _ in range(60):
        scale = (bottom + top) / 2
        removed = sum(share(part, scale) * part.filters for part in parts) / total
        bottom, top = (scale, top) if removed < ratio else (bottom, scale)
    return {part.name: share(part, top) for part in parts}


def _rounded(width: float, limit: int, multiple: int) -> int:
    return min(limit, max(multiple, int(width / multiple + 0.5) * multiple))


def _repaired(
    parts: list[Group], widths: dict[str, int], ratio: float, round_to: int, shares: dict[str, float]
) -> dict[str, int]:
    """Move single groups by one multiple while that brings the total nearer to R.

    Among the moves that help, the one that leaves a group nearest to its own share is taken.
    """
    total = sum(part.filters for part in parts)
    while True:
        error = achieved_ratio(parts, widths) - ratio
        step = round_to if error > 0 else -round_to
        moves = []
        for part in parts:
            width = _rounded(widths[part.name] + step, part.width, round_to)
            change = (widths[part.name] - width) * len(part.convs) / total
            if change and abs(error + change) < abs(error) - 1e-12:
                moves.append((abs(1 - width / part.width - shares[part.name]), part.name, width))
        if not moves:
            return widths
        _, name, width = min(moves)
        widths = {**widths, name: width}
