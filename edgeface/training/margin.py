"""Margin softmax, eq. (1) of Liu et al. 2023: SphereFace, ArcFace and CosFace as three settings of one loss.

Logits are s * (cos(m1 * theta + m2) - m3) for the true class and s * cos(theta) for the others, theta being the angle
between an embedding and a class's weight vector. Beyond m1 * theta + m2 = pi the cosine would rise again and reward a
worse angle; there it goes on as SphereFace's psi does, (-1)^k cos(x) - 2k on [k pi, (k+1) pi], and falls all the
way.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

__all__ = ["MARGINS", "Margin", "MarginSoftmax", "margin_logits"]

EDGE = 1e-6
"""Cosines are kept this far from -1 and 1 before acos, whose slope is infinite there."""


class Margin(NamedTuple):
    """One setting of eq. (1)."""

    m1: float
    m2: float
    m3: float
    s: float


MARGINS: dict[str, Margin] = {
    "sphereface": Margin(1.35, 0.0, 0.0, 64.0),
    "arcface": Margin(1.0, 0.5, 0.0, 64.0),
    "cosface": Margin(1.0, 0.0, 0.35, 30.0),
}
"""ArcFace's paper for itself and for SphereFace with one scale for all faces (SphereFace's own m1 = 4 needs
annealing); FROM for CosFace."""


def margin_logits(cosine: Tensor, labels: Tensor, margin: Margin) -> Tensor:
    """Logits of eq. (1).

    Args:
        cosine: (N, C) float in [-1, 1].
        labels: (N,) int64, the true classes.

    Returns:
        (N, C) float, `margin.s` times the cosines, the true class's with its margin.
    """
    true = cosine.gather(1, labels[:, None])
    if margin.m1 != 1 or margin.m2 != 0:
        angle = margin.m1 * torch.acos(true.clamp(-1 + EDGE, 1 - EDGE)) + margin.m2
        half_turns = torch.floor(angle / math.pi).detach()
        sign = 1 - 2 * torch.remainder(half_turns, 2)
        true = sign * torch.cos(angle) - 2 * half_turns
    return margin.s * cosine.scatter(1, labels[:, None], true - margin.m3)


class MarginSoftmax(nn.Module):
    """The training-only head: class weights and eq. (1).

    Always computes in float32: bfloat16 has no room for cosines near 1.
    """

    def __init__(self, embedding: int, classes: int, m1: float, m2: float, m3: float, s: float) -> None:
        super().__init__()
        self.margin = Margin(m1, m2, m3, s)
        self.weight = nn.Parameter(torch.empty(classes, embedding))
        nn.init.normal_(self.weight, std=0.01)

    def cosine(self, embedding: Tensor) -> Tensor:
        """(N, E) float -> (N, C) float32 cosines to every class."""
        with torch.autocast(embedding.device.type, enabled=False):
            faces = nn.functional.normalize(embedding.float())
            return faces @ nn.functional.normalize(self.weight.float()).T

    def forward(self, embedding: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Mean cross entropy, a scalar; and the cosines (N, C) without margin."""
        cosine = self.cosine(embedding)
        with torch.autocast(embedding.device.type, enabled=False):
            loss = nn.functional.cross_entropy(margin_logits(cosine, labels, self.margin), labels)
        return loss, cosine
