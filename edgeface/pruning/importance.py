"""Ranking the channels of a group; a method is a function from network and group to one score a channel."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from edgeface.models.iresnet import FaceNet
from edgeface.pruning.groups import Group
from edgeface_runtime.errors import InputError

__all__ = ["METHODS", "Importance", "importance"]

Importance = Callable[[FaceNet, Group], Tensor]
"""(network, group) -> (group.width,) scores, larger = kept."""


def _norm(model: FaceNet, group: Group, order: int) -> Tensor:
    """Sum over the group's convolutions of each filter's norm, every convolution scaled to mean 1.

    Without the scaling a 3x3 over 256 channels would outvote the 1x1 shortcut it is added to.
    """
    total = torch.zeros(group.width)
    for name in group.convs:
        weight = model.get_parameter(f"{name}.weight").detach().float()
        norms = torch.linalg.vector_norm(weight.flatten(1), ord=order, dim=1)
        total += (norms / norms.mean().clamp_min(1e-12)).cpu()
    return total


METHODS: dict[str, Importance] = {
    "l1": lambda model, group: _norm(model, group, 1),
    "l2": lambda model, group: _norm(model, group, 2),
}


def importance(method: str) -> Importance:
    """A method by name.

    Raises:
        InputError: unknown; the known ones are listed.
    """
    if method not in METHODS:
        raise InputError(f"unknown --method {method!r}: choose one of {', '.join(METHODS)}")
    return METHODS[method]
