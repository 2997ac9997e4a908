"""Pruning to a latency in steps, each a part of the way with losses measured anew.

A block that is hardly missed alone may be all that is left of its kind once others are gone. Where there are faces to
refit on, the network is refitted before it is measured again: of one that a deep cut left without its bearings, no
loss can be told.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from edgeface.models.iresnet import FaceNet
from edgeface.pruning.importance import importance
from edgeface.pruning.latency.choices import predicted_ms
from edgeface.pruning.latency.losses import Losses, measure_losses
from edgeface.pruning.latency.origin import Origin
from edgeface.pruning.latency.prune import prune_to_latency
from edgeface_calibration.device_profile import DeviceProfile

__all__ = ["STEPS", "Halfway", "halfway"]

STEPS = 3
"""How often losses are measured on the way."""


@dataclass(frozen=True)
class Halfway:
    """A network before its last step, and the losses that step is chosen by."""

    model: FaceNet
    losses: Losses
    origin: Origin


def halfway(
    model: FaceNet,
    profile: DeviceProfile,
    target_ms: float,
    faces: Tensor,
    *,
    steps: int = STEPS,
    method: str = "l1",
    round_to: int = 8,
    keep_blocks: bool = False,
    first: Losses | None = None,
    refit: Tensor | None = None,
    progress: Callable[[str], None] | None = None,
) -> Halfway:
    """All steps but the last, each by the same factor of latency; losses are measured before every step.

    Args:
        model: in evaluation mode, on the CPU, as the smaller networks are.
        faces: (N, 3, H, W) float in [-1, 1].
        first: losses of `model` itself where they are known.
        refit: (M, 3, H, W), to refit the layers on after every step (`edgeface.pruning.reconstruct`).
        progress: called with a name as each loss is known, and as each part is refitted.

    Raises:
        InputError: as `prune_to_latency`.
    """
    rank, present, origin = importance(method), model, Origin.of(model.spec)
    now = predicted_ms(profile, model.spec)
    with torch.inference_mode():
        target = model(faces)
    losses = first or measure_losses(model, faces, rank, progress, refit=refit)
    for step in range(1, steps):
        goal = now * (target_ms / now) ** (step / steps)
        done = prune_to_latency(
            present,
            profile,
            goal,
            losses,
            method=method,
            round_to=round_to,
            keep_blocks=keep_blocks,
            origin=origin,
        )
        if refit is not None:
            done.refit(model, refit, progress)
        present, origin = done.model, done.origin
        losses = measure_losses(present, faces, rank, progress, target, refit)
    return Halfway(present, losses, origin)
