"""First-order importance of channels (Molchanov et al. 2017, 2019), of the embedding's direction, without labels.

Their score of a channel is (activation x gradient of the loss) squared. Labels, and so a loss, are not at hand; and
1 - cosine to the whole network's own embedding has no gradient at the whole network. But its second order is known:
with u the normalised embedding, removing channel c turns it by d = J_c a_c to first order (a_c what leaves, J_c its
Jacobian), and 1 - cosine = |d|^2 / 2. For a random v of independent standard normal values, E[(v . d)^2] = |d|^2, and
v . J_c a_c is activation x gradient of the scalar u . v: one backward pass for all channels at once. So the score,

    mean over faces and draws of (sum of activation x gradient of u . v)^2 / 2,

is an unbiased estimate, in units of 1 - cosine, of what silencing the channel costs: comparable between groups.

What leaves is counted once. A stage's channel is gated where its parts come out (`edgeface.pruning.outputs`), not
where it flows, which would count what the first block adds once a block. Batch norms that read it (a bottle block
begins with one, the head too) give a constant for a zero, and removal takes that away as well: it is added.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgeface.models.iresnet import FaceNet
from edgeface.pruning.groups import Group, groups
from edgeface.pruning.outputs import outputs
from edgeface.pruning.silence import readers

__all__ = ["Taylor", "taylor"]

AT_ONCE = 16
"""Faces of one forward pass: all activations are kept for the backward ones."""


class Taylor:
    """Importance by `taylor` on given faces; the scores of the last network asked about are kept."""

    def __init__(self, faces: Tensor | None) -> None:
        assert faces is not None
        self.faces = faces
        self._of: FaceNet | None = None
        self._scores: dict[str, Tensor] = {}

    def __call__(self, model: FaceNet, group: Group) -> Tensor:
        if model is not self._of:
            self._of, self._scores = model, taylor(model, self.faces)
        return self._scores[group.name]


def taylor(model: FaceNet, faces: Tensor, draws: int = 4, seed: int = 0) -> dict[str, Tensor]:
    """About what 1 - cosine of the embedding becomes if one channel is removed, for every channel.

    Args:
        model: the network, in evaluation mode.
        faces: (N, 3, H, W) float in [-1, 1].
        draws: random directions a face; over N x draws of them, a score's relative error is about sqrt(2 / that).
        seed: of the directions.

    Returns:
        group name -> (group.width,) float, 0 or more.
    """
    parts = groups(model.spec)
    generator = torch.Generator().manual_seed(seed)
    with torch.inference_mode(False), torch.enable_grad():
        total = {part.name: torch.zeros(part.width) for part in parts}
        for batch in faces.split(AT_ONCE):
            with _taps(model, parts) as taps:
                # Gradients flow to the taps only from something that needs one.
                embedding = nn.functional.normalize(model(batch.detach().clone().requires_grad_()).float())
            places = [tap.output for tap in taps]
            for draw in range(draws):
                direction = torch.randn(embedding.shape, generator=generator).to(embedding)
                gradients = torch.autograd.grad(
                    (embedding * direction).sum(), places, retain_graph=draw + 1 < draws, allow_unused=True
                )
                turned = {part.name: torch.zeros(len(batch), part.width) for part in parts}
                for tap, gradient in zip(taps, gradients, strict=True):
                    if gradient is not None:
                        turned[tap.group] += _per_channel(gradient * tap.leaves, tap.repeat)
                for name, values in turned.items():
                    total[name] += values.square().sum(0)
    return {name: values / (2 * draws * len(faces)) for name, values in total.items()}


@dataclass
class _Tap:
    """One place where a group's channels can be turned off."""

    group: str
    leaves: Tensor
    """What removal takes away there: the output itself, or the constant a batch norm gives for a zero."""
    output: Tensor
    repeat: int = 1
    """Consecutive entries a channel takes."""


def _per_channel(values: Tensor, repeat: int) -> Tensor:
    """(N, C x repeat, ...) -> (N, C), added up."""
    return values.detach().float().cpu().flatten(1).reshape(len(values), -1, repeat * values[0, 0].numel()).sum(2)


@contextlib.contextmanager
def _taps(model: FaceNet, parts: list[Group]) -> Iterator[list[_Tap]]:
    """While open, a forward pass leaves every group's taps in the list."""
    taps: list[_Tap] = []
    handles = []
    for part in parts:
        for name in outputs(model.spec, part):
            handles.append(model.get_submodule(name).register_forward_hook(_tap(taps, part.name)))
        for norm, repeat in readers(model, part.name):
            handles.append(norm.register_forward_hook(_tap(taps, part.name, norm, repeat)))
    try:
        yield taps
    finally:
        for handle in handles:
            handle.remove()


def _tap(taps: list[_Tap], group: str, norm: nn.Module | None = None, repeat: int = 1):  # type: ignore[no-untyped-def]
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        leaves = output.detach() if norm is None else _of_zero(norm).reshape(1, -1, *[1] * (output.dim() - 2))
        taps.append(_Tap(group, leaves, output, repeat))

    return hook


def _of_zero(norm: nn.Module) -> Tensor:
    """(C,) what a batch norm in evaluation mode gives for a zero."""
    assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
    assert norm.running_mean is not None and norm.running_var is not None
    return (norm.bias - norm.weight * norm.running_mean / (norm.running_var + norm.eps).sqrt()).detach()
