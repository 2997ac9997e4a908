"""Sharing a ratio out to the groups, so that the total is met.

uniform       every group loses the same share
sensitivity   the paper's: sensitive groups lose less
global        the lowest-scored channels of the whole network leave, wherever they are

R is the share of all convolution filters removed. A group of width w whose channels are made by m convolutions
holds w x m of them. Channels leave one multiple at a time along one path that does not depend on R, so a higher
ratio only ever removes more: no count rises with R, at any width.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping

from torch import Tensor

from edgeface.pruning.groups import Group
from edgeface_runtime.errors import InputError

__all__ = ["ALLOCATIONS", "achieved_ratio", "allocate", "allocate_global", "check_allocation"]

ALLOCATIONS = ("sensitivity", "uniform", "global")
SPREAD = 1.4
"""A group's share of removed channels lies within R / SPREAD and R x SPREAD, up to rounding: a group cut to the bone
would be a bottleneck, and one left whole would keep the time that pruning is to save."""
MAX_RATIO = 0.9
"""No ratio is above it, nor is a group's own share by `allocate_global`."""


def check_allocation(name: str) -> None:
    """Raise InputError unless `name` is one of ALLOCATIONS."""
    if name not in ALLOCATIONS:
        raise InputError(f"unknown --allocation {name!r}: choose one of {', '.join(ALLOCATIONS)}")


def allocate(
    parts: list[Group],
    ratio: float,
    round_to: int,
    sensitivity: dict[str, float] | None,
    whole: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Width of every group after pruning, by sensitivity or uniformly.

    Args:
        parts: all groups of the network.
        ratio: R in [0, 0.9]: share of the whole network's convolution filters that is gone in the end.
        round_to: widths become multiples of this (a group narrower than it keeps its width).
        sensitivity: from `edgeface.pruning.sensitivity`; None gives every group the same ratio.
        whole: widths of the groups before any pruning, which shares are of. Default: the network is whole.

    Raises:
        InputError: the ratio or the multiple is out of range.
    """
    pace, first = _pace(parts, sensitivity), _first(parts, whole)
    # The next multiple leaves the group that is furthest behind its own pace.
    return _walk(
        parts, ratio, round_to, lambda part, _, width: (1 - width / first[part.name]) / pace[part.name], first
    )


def allocate_global(
    parts: list[Group],
    ratio: float,
    round_to: int,
    scores: Mapping[str, Tensor],
    one_unit: bool,
    whole: Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Width of every group after pruning: what leaves is what scores lowest in the whole network.

    Groups are compared by the mean score of their next channels to leave, per filter. Scores in one unit (what the
    removal costs) are divided by the filters that leave with a channel: the greedy answer to a knapsack. Others say
    only which channels of a group are weak, so a channel counts by its share of its group's mean.

    Args:
        scores: (width,) of every group, 0 or more, larger = kept.
        one_unit: scores of different groups are in one unit.
        whole: as in `allocate`; a group never loses more than MAX_RATIO of its own.

    Raises:
        InputError: the ratio or the multiple is out of range.
    """
    first, lost = _first(parts, whole), {}
    """Widths at first; group -> what its n lowest channels score together, for n = 0 to all."""
    for part in parts:
        own = scores[part.name].double().sort().values
        own = own / (len(part.convs) if one_unit else own.mean().clamp_min(1e-12))
        lost[part.name] = [0.0, *own.cumsum(0).tolist()]

    def cost(part: Group, now: int, width: int) -> float:
        if width < (1 - MAX_RATIO) * first[part.name]:
            return math.inf
        return (lost[part.name][part.width - width] - lost[part.name][part.width - now]) / (now - width)

    return _walk(parts, ratio, round_to, cost, first)


def achieved_ratio(parts: list[Group], widths: dict[str, int]) -> float:
    """Share of convolution filters that `widths` removes."""
    return 1 - sum(widths[part.name] * len(part.convs) for part in parts) / sum(part.filters for part in parts)


def _first(parts: list[Group], whole: Mapping[str, int] | None) -> Mapping[str, int]:
    return whole or {part.name: part.width for part in parts}


def _walk(
    parts: list[Group],
    ratio: float,
    round_to: int,
    cost: Callable[[Group, int, int], float],
    first: Mapping[str, int],
) -> dict[str, int]:
    """Take the step of least cost(group, width, next smaller width) until the ratio is met; infinite ones never."""
    if not (math.isfinite(ratio) and 0 <= ratio <= MAX_RATIO):
        raise InputError(f"--ratio must lie between 0 and {MAX_RATIO} (share of filters removed), got {ratio}")
    if round_to < 1:
        raise InputError(f"--round-to must be at least 1, got {round_to}")
    widths = {part.name: part.width for part in parts}
    left, total = sum(part.filters for part in parts), sum(first[part.name] * len(part.convs) for part in parts)
    while True:
        options = [(part, _smaller(widths[part.name], round_to)) for part in parts]
        steps = [(cost(part, widths[part.name], width), part, width) for part, width in options if width]
        steps = [step for step in steps if math.isfinite(step[0])]
        if not steps:
            return widths
        _, part, width = min(steps, key=lambda step: step[0])
        after = left - (widths[part.name] - width) * len(part.convs)
        if abs(1 - after / total - ratio) > abs(1 - left / total - ratio):
            return widths
        widths[part.name], left = width, after


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
