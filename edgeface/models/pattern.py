"""FROM's occlusion-pattern head (Qiu et al. 2021): which rectangle of a K x K grid is covered, read off the mask.

It exists for training, where it teaches the mask to be about the occluder, and is dropped at export unless asked for.
Classes: every axis-aligned rectangle of the grid, and "none": (K(K+1)/2)^2 + 1.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from edgeface.models.spec import ArchSpec, pattern_classes

__all__ = ["PatternHead"]


EPSILON = 1e-2
"""Of the BN: a new mask is nearly even, and without a floor its noise would be blown up to full size and sent back
into the mask a thousandfold."""

STEP = 64.0
"""The weights' gradient is scaled by this over their inputs. With thousands of normalised inputs one step at the
network's learning rate would move a logit by hundreds (seen: the loss of K = 5 rose from 5 to 30 in one epoch)."""


class PatternHead(nn.Module):
    """A mask of any kind (N, ...) -> (N, classes) logits: flatten, BN, dropout .5, linear."""

    def __init__(self, spec: ArchSpec) -> None:
        super().__init__()
        if spec.mask is None or not spec.mask.patterns:
            raise ValueError("the architecture has no pattern head")
        flat = math.prod(spec.mask_shape)
        self.bn: nn.Module = nn.BatchNorm1d(flat, eps=EPSILON)
        self.dropout = nn.Dropout(0.5)
        self.linear = nn.Linear(flat, pattern_classes(spec.mask.patterns))

    def forward(self, mask: Tensor) -> Tensor:
        inputs = self.dropout(self.bn(mask.flatten(1)))
        if not self.training:
            return self.linear(inputs)
        weight = self.linear.weight
        scale = min(1.0, STEP / weight.shape[1])
        return nn.functional.linear(inputs, weight.detach() + scale * (weight - weight.detach()), self.linear.bias)
