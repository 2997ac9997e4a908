"""Structured pruning as in Liu et al. 2023, for all our networks: filters leave together with the maps they feed.

Written here rather than on Torch-Pruning: the kept sets of these networks are a page of data
(`edgeface.pruning.groups`) that the checkpoint, the sensitivity analysis and the exporter also read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from edgeface.models.count import Counts, count
from edgeface.models.iresnet import FaceNet
from edgeface.pruning.allocate import achieved_ratio, allocate, allocate_global, check_allocation
from edgeface.pruning.groups import cuts, groups, resized
from edgeface.pruning.importance import find_method, importance
from edgeface.pruning.sensitivity import sensitivity
from edgeface_runtime.errors import InputError

__all__ = ["GroupReport", "PruneReport", "Pruned", "check_settings", "kept_channels", "prune", "shrink"]


MAX_STEPS = 100


@dataclass(frozen=True)
class GroupReport:
    """What happened to one group."""

    name: str
    before: int
    after: int
    sensitivity: float | None
    """1 - mean cosine without half of it, in the network as it came; None where it was not measured."""


@dataclass(frozen=True)
class PruneReport:
    """What was asked for, what was done, what it saves."""

    method: str
    requested: float
    achieved: float
    """Share of convolution filters removed, after rounding."""
    before: Counts
    after: Counts
    groups: tuple[GroupReport, ...]
    allocation: str = "uniform"
    """One of `edgeface.pruning.allocate.ALLOCATIONS`."""
    steps: int = 1

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Pruned:
    """The smaller network, in evaluation mode, and what was done."""

    model: FaceNet
    kept: dict[str, Tensor]
    """Sorted indices of the channels that stayed, per group."""
    report: PruneReport


def prune(
    model: FaceNet,
    ratio: float,
    *,
    method: str = "l1",
    allocation: str | None = None,
    steps: int = 1,
    round_to: int = 8,
    faces: Tensor | None = None,
    refit: Tensor | None = None,
    progress: Callable[[str], None] | None = None,
) -> Pruned:
    """Remove the share `ratio` of the network's convolution filters; `model` itself is left as it is.

    Args:
        method: how channels are ranked, one of `edgeface.pruning.METHODS`.
        allocation: how the ratio is shared out; None: sensitivity where there are faces, else uniform.
        steps: remove an equal share of filters each time, ranking and measuring again on the smaller network between;
            1 to MAX_STEPS.
        faces: (N, 3, H, W) float in [-1, 1], for the sensitivity and for methods that measure.
        refit: others, where the result will be refitted: the sensitivity is then what that leaves.
        progress: called with each group's name as its sensitivity is known, in every step.

    Raises:
        InputError: ratio, method, allocation, steps or rounding out of range, or no faces where they are needed.
    """
    allocation = allocation or ("uniform" if faces is None else "sensitivity")
    check_settings(method, allocation, steps)
    whole = groups(model.spec)
    allocate(whole, ratio, round_to, None)  # refuse bad settings before the long part
    if allocation == "sensitivity" and faces is None and ratio > 0:
        raise InputError("--allocation sensitivity is measured on faces: give them with --data")
    rank = importance(method, faces)
    widths = {part.name: part.width for part in whole}
    kept = {name: torch.arange(width) for name, width in widths.items()}
    smaller, first = model.eval(), None
    for step in range(1, steps + 1):
        parts, share = groups(smaller.spec), ratio * step / steps
        scores = {part.name: rank(smaller, part) for part in parts}
        if allocation == "global":
            now = allocate_global(parts, share, round_to, scores, find_method(method).one_unit, widths)
        else:
            measured = None
            if allocation == "sensitivity" and faces is not None and ratio > 0:
                measured = sensitivity(smaller, faces, rank, progress=progress, refit=refit)
            now, first = allocate(parts, share, round_to, measured, widths), first or measured
        stay = {name: kept_channels(values, now[name]) for name, values in scores.items()}
        kept = {name: kept[name][indices] for name, indices in stay.items()}
        smaller = shrink(smaller, stay)
    after = {name: len(indices) for name, indices in kept.items()}
    report = PruneReport(
        method,
        ratio,
        achieved_ratio(whole, after),
        count(model.spec),
        count(smaller.spec),
        tuple(
            GroupReport(name, width, after[name], first[name] if first else None) for name, width in widths.items()
        ),
        allocation,
        steps,
    )
    return Pruned(smaller, kept, report)


def check_settings(method: str, allocation: str, steps: int) -> None:
    """Raise InputError where a method or an allocation is unknown, or there is no step."""
    find_method(method)
    check_allocation(allocation)
    if not 1 <= steps <= MAX_STEPS:
        raise InputError(f"--steps must lie between 1 and {MAX_STEPS}, got {steps}")


def kept_channels(scores: Tensor, width: int) -> Tensor:
    """Indices of the `width` best-scored channels, ascending; ties go to the lower index."""
    return torch.argsort(scores, descending=True, stable=True)[:width].sort().values


def shrink(model: FaceNet, kept: dict[str, Tensor]) -> FaceNet:
    """A new network with only the kept channels of every group, weights copied."""
    smaller = FaceNet(resized(model.spec, {name: len(indices) for name, indices in kept.items()}))
    table = cuts(model.spec)
    state = {}
    for name, source in model.state_dict().items():
        tensor = source.cpu()
        for cut in table.get(name, ()):
            where = (kept[cut.group][:, None] * cut.repeat + torch.arange(cut.repeat)).flatten()
            tensor = tensor.index_select(cut.dim, where)
        state[name] = tensor.clone()
    smaller.load_state_dict(state)
    return smaller.eval()
