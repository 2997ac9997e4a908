"""What narrowing a group or leaving a block out does to the embedding, each alone, at several shares.

Where the network is to be refitted, the loss is what is left of it when the rest makes up for what it can
(`edgeface.pruning.repair`): on iresnet50 a tenth or less for a width, a half for a block.

The loss is 1 - mean cosine to the whole network's embedding of the same faces, as in `edgeface.pruning.sensitivity`;
labels are not needed. Small turns in independent directions add up in 1 - cosine, so the loss of a plan is taken as
the sum over its parts.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from edgeface.models.iresnet import FaceNet
from edgeface.pruning.depth import removable
from edgeface.pruning.groups import Group, groups
from edgeface.pruning.importance import Importance
from edgeface.pruning.repair import as_if_gone
from edgeface.pruning.sensitivity import weakest

__all__ = ["SHARES", "Losses", "loss_steps", "measure_losses"]

SHARES = (0.25, 0.5, 0.75)
"""Shares of a group's channels that are silenced; between them the turn, the root of the loss, is a straight line."""


@dataclass(frozen=True)
class Losses:
    """1 - mean cosine by what is removed."""

    groups: dict[str, tuple[float, ...]]
    """Group -> loss at every share of SHARES, rising."""
    blocks: dict[str, float]
    """Removable block -> loss without it."""

    def of(self, group: Group, width: int) -> float:
        """Loss of a group at a width."""
        turns = np.sqrt((0.0, *self.groups[group.name]))
        return float(np.interp(1 - width / group.width, (0.0, *SHARES), turns) ** 2)


def loss_steps(model: FaceNet) -> int:
    """How often `measure_losses` reports progress."""
    return len(groups(model.spec)) + len(removable(model.spec))


def measure_losses(
    model: FaceNet,
    faces: Tensor,
    rank: Importance,
    progress: Callable[[str], None] | None = None,
    target: Tensor | None = None,
    refit: Tensor | None = None,
) -> Losses:
    """Losses of every group and removable block.

    Args:
        model: the network, in evaluation mode.
        faces: (N, 3, H, W) float in [-1, 1].
        rank: how channels are ranked.
        progress: called with a name as each is known.
        target: (N, embedding) what the embeddings are compared with, where it is not the network's own: those of the
            network this one was pruned from. Losses are then what is lost beyond the present.
        refit: (M, 3, H, W) other faces, where the network will be refitted.
    """
    lost: dict[str, tuple[float, ...]] = {}
    blocks: dict[str, float] = {}
    say = progress or (lambda word: None)
    as_if = as_if_gone(model, refit)
    with torch.inference_mode():
        own, given = _run(model, faces)
        whole = own if target is None else target
        present = _turn(whole, own)
        for group in groups(model.spec):
            scores, found = rank(model, group), []
            for share in SHARES:
                weak = weakest(scores, group, share)
                with _from_stage(model, given, _stage(model, group.name)), as_if.narrowed(group.name, weak):
                    found.append(_turn(whole, model(faces)) - present)
            lost[group.name] = tuple(float(value) for value in np.maximum.accumulate([0.0, *found])[1:])
            say(group.name)
        for block in removable(model.spec):
            with _from_stage(model, given, _stage(model, block)), as_if.without(block):
                blocks[block] = max(_turn(whole, model(faces)) - present, 0.0)
            say(block)
    return Losses(lost, blocks)


def _turn(whole: Tensor, turned: Tensor) -> float:
    return 1.0 - float(torch.nn.functional.cosine_similarity(whole, turned).mean())


def _run(model: FaceNet, faces: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The embeddings, and what the stem and every stage give."""
    given: list[Tensor] = []
    parts = [model.stem, *model.stages]
    handles = [part.register_forward_hook(lambda module, inputs, output: given.append(output)) for part in parts]
    try:
        return model(faces), given
    finally:
        for handle in handles:
            handle.remove()


def _stage(model: FaceNet, name: str) -> int:
    """The first stage that what is done to a group or block can change; -1: the stem."""
    if name.startswith("stages."):
        return int(name.split(".")[1])
    return -1 if name == "stem" else len(model.stages)


@contextlib.contextmanager
def _from_stage(model: FaceNet, given: list[Tensor], stage: int) -> Iterator[None]:
    """While open, everything in front of `stage` gives what it gave before, and is not computed again."""
    parts = [model.stem, *model.stages][: stage + 1]
    for part, output in zip(parts, given, strict=False):
        part.forward = lambda x, output=output: output
    try:
        yield
    finally:
        for part in parts:
            del part.forward
