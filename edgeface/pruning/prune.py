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
from edgeface.pruning.allocate import achieved_ratio, allocate
from edgeface.pruning.groups import cuts, groups, resized
from edgeface.pruning.importance import importance
from edgeface.pruning.sensitivity import sensitivity

__all__ = ["GroupReport", "PruneReport", "Pruned", "kept_channels", "prune", "shrink"]


@dataclass(frozen=True)
class GroupReport:
    """What happened to one group."""

    name: str
    before: int
    after: int
    sensitivity: float | None
    """1 - mean cosine with half of it silenced; None where it was not measured."""


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
    round_to: int = 8,
    faces: Tensor | None = None,
    progress: Callable[[str], None] | None = None,
) -> Pruned:
    """Remove the share `ratio` of the network's convolution filters; `model` itself is left as it is.

    Args:
        faces: (N, 3, H, W) float in [-1, 1] to measure sensitivity on; None gives every group the same ratio.
        progress: called with each group's name as its sensitivity is known.

    Raises:
        InputError: ratio, method or rounding out of range.
    """
    rank = importance(method)
    parts = groups(model.spec)
    allocate(parts, ratio, round_to, None)  # refuse bad settings before the long part
    model.eval()
    measured = sensitivity(model, faces, rank, progress=progress) if faces is not None and ratio > 0 else None
    widths = allocate(parts, ratio, round_to, measured)
    kept = {part.name: kept_channels(rank(model, part), widths[part.name]) for part in parts}
    smaller = shrink(model, kept)
    return Pruned(
        smaller,
        kept,
        PruneReport(
            method,
            ratio,
            achieved_ratio(parts, widths),
            count(model.spec),
            count(smaller.spec),
            tuple(
                GroupReport(part.name, part.width, widths[part.name], measured[part.name] if measured else None)
                for part in parts
            ),
        ),
    )


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
