"""Ranking the channels of a group; a method is a function from network and group to one score a channel.

l1, l2     norms of the filters (Li et al. 2017)
bn         scale of the batch norm behind them (Liu et al. 2017, network slimming)
taylor     how far the embedding turns without the channel, to first order, on faces (`edgeface.pruning.taylor`)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgeface.models.iresnet import FaceNet
from edgeface.pruning.groups import Group
from edgeface.pruning.outputs import outputs
from edgeface.pruning.taylor import Taylor
from edgeface_runtime.errors import InputError

__all__ = ["METHODS", "Importance", "Method", "check_faces", "find_method", "importance"]

Importance = Callable[[FaceNet, Group], Tensor]
"""(network, group) -> (group.width,) scores, larger = kept."""


def _norm(model: FaceNet, group: Group, order: int) -> Tensor:
    """Sum over the group's convolutions of each filter's norm, every convolution scaled to mean 1.

    Without the scaling a 3x3 over 256 channels would outvote the 1x1 shortcut it is added to.
    """
    total = torch.zeros(group.width)
    for name in group.convs:
        norms = _filter_norms(model.get_parameter(f"{name}.weight"), order)
        total += norms / norms.mean().clamp_min(1e-12)
    return total


def _filter_norms(weight: Tensor, order: int) -> Tensor:
    return torch.linalg.vector_norm(weight.detach().float().flatten(1), ord=order, dim=1).cpu()


def _bn(model: FaceNet, group: Group) -> Tensor:
    """Root of the sum of squares of the scales with which the group's channels come out.

    A stage's channels are sums of many convolutions' outputs: of independent parts the variances add up, and each
    part's is its batch norm's scale squared. Where a mask has no batch norm, a filter's L2 norm stands for it: what
    its output would vary by if its inputs were independent and varied by 1.
    """
    total = torch.zeros(group.width)
    for name in outputs(model.spec, group):
        module = model.get_submodule(name)
        weight = model.get_parameter(f"{name}.weight")
        scale = weight.detach().float().cpu() if isinstance(module, nn.BatchNorm2d) else _filter_norms(weight, 2)
        total += scale.square()
    return total.sqrt()


@dataclass(frozen=True)
class Method:
    """One way to rank channels."""

    on: Callable[[Tensor | None], Importance]
    """Faces (N, 3, H, W) or None -> the ranking."""
    needs_faces: bool = False
    one_unit: bool = False
    """Scores of different groups are in one unit and can be compared; else only after scaling each group's."""


METHODS: dict[str, Method] = {
    "l1": Method(lambda faces: lambda model, group: _norm(model, group, 1)),
    "l2": Method(lambda faces: lambda model, group: _norm(model, group, 2)),
    "bn": Method(lambda faces: _bn),
    "taylor": Method(Taylor, needs_faces=True, one_unit=True),
}


def find_method(name: str) -> Method:
    """A method by name.

    Raises:
        InputError: unknown; the known ones are listed.
    """
    if name not in METHODS:
        raise InputError(f"unknown --method {name!r}: choose one of {', '.join(METHODS)}")
    return METHODS[name]


def check_faces(name: str, given: bool) -> None:
    """Raise InputError where the method is unknown, or needs faces and none were given."""
    if find_method(name).needs_faces and not given:
        raise InputError(f"--method {name} ranks filters by what they do to real faces: give them with --data")


def importance(name: str, faces: Tensor | None = None) -> Importance:
    """The ranking of a method.

    Args:
        faces: (N, 3, H, W) float in [-1, 1]; only methods that measure look at them.

    Raises:
        InputError: the method is unknown, or needs faces and there are none.
    """
    check_faces(name, faces is not None)
    return find_method(name).on(faces)
