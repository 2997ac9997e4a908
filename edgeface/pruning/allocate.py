"""Sharing a global ratio out to the groups: sensitive ones lose less, and the total is met.

R is the share of all convolution filters removed. A group of width w whose channels are made by m convolutions
holds w x m of them. Channels leave one multiple at a time along one path that does not depend on R, so a higher
ratio only ever removes more: no count rises with R, at any width.
"""

from __future__ import annotations

import math
import statistics

from edgeface.pruning.groups import Group
from edgeface_runtime.errors import InputError

__all__ = ["achieved_ratio", "allocate"]

SPREAD = 1.4
"""A group's share of removed channels lies within R / SPREAD and R x SPREAD, up to rounding: a group cut to the bone
would be a bottleneck, and one left whole would keep the time that pruning is to save."""
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
    pace = _pace(parts, sensitivity)
    widths = {part.name: part.width for part in parts}
    left = total = sum(part.filters for part in parts)
    while True:
        # The next multiple leaves the group that is furthest behind its own pace.
        options = [(part, _smaller(widths[part.name], round_to)) for part in parts]
        steps = [((1 - width / part.width) / pace[part.name], part, width) for part, width in options if width]
        if not steps:
            return widths
        _, part, width = min(steps, key=lambda step: step[0])
        after = left - (widths[part.name] - width) * len(part.convs)
        if abs(1 - after / total - ratio) > abs(1 - left / total - ratio):
            return widths
        widths[part.name], left = width, after


def achieved_ratio(parts: list[Group], widths: dict[str, int]) -> float:
    """Share of convolution filters that `widths` removes."""
    return 1 - sum(widths[part.name] * len(part.convs) for part in parts) / sum(part.filters for part in parts)


def _pace(parts: list[Group], sensitivity: dict[str, float] | None) -> dict[str, float]:
    """How fast each group shrinks against the others: the root of median over own sensitivity, within SPREAD."""
    if sensitivity is None:
        return {part.name: 1.0 for part in parts}
    own = {part.name: math.sqrt(max(sensitivity[part.name], 1e-6)) for part in parts}
    middle = statistics.median(own.values())
    return {name: min(max(middle / value, 1 / SPREAD), SPREAD) for name, value in own.items()}


def _smaller(width: int, multiple: int) -> int:
    """The next smaller multiple, 0 if there is none."""
    return (width - 1) // multiple * multiple
