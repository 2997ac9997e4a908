"""The loss of the pairwise differential network: Johnston & Ngxande 2022, eqs. (1) to (3), after Song et al. 2019."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from edgeface.training.margin import MarginSoftmax

__all__ = ["PairLoss", "difference_loss", "pair_loss"]


class PairLoss(NamedTuple):
    """Scalars."""

    total: Tensor
    """Eq. (3)."""
    classification: Tensor
    """Eq. (2)."""
    difference: Tensor
    """Eq. (1)."""


def difference_loss(mask: Tensor, clean: Tensor, occluded: Tensor) -> Tensor:
    """Eq. (1): mean of |mask * clean - mask * occluded| over all features (N, C, h, w), a scalar."""
    return (mask * clean - mask * occluded).abs().mean()


def pair_loss(
    head: nn.Module,
    margin: MarginSoftmax,
    mask: Tensor,
    clean: Tensor,
    occluded: Tensor,
    labels: Tensor,
    weight: float,
) -> PairLoss:
    """Eq. (3): the mean classification loss of both masked faces plus `weight` times eq. (1).

    Args:
        head: (N, C, h, w) -> (N, embedding), frozen and in evaluation mode.
        mask: (N, C, h, w) in (0, 1), the generator's output; `clean` and `occluded` are trunk features alike.
        labels: (N,) int64.
        weight: lambda.
    """
    masked = torch.cat((mask * clean, mask * occluded))
    classification, _ = margin(head(masked), torch.cat((labels, labels)))
    difference = difference_loss(mask.float(), clean.float(), occluded.float())
    return PairLoss(classification + weight * difference, classification, difference)
