"""The segmenter's loss: binary cross entropy and soft Dice."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["segment_loss", "soft_dice"]


def soft_dice(logits: Tensor, truth: Tensor) -> Tensor:
    """1 - (2 sum(p t) + 1) / (sum(p) + sum(t) + 1) over all pixels of a batch, p = sigmoid(logits); a scalar.

    Over the batch and not each picture, so that a clean face among covered ones does not count as a lost one for a
    single pixel.
    """
    p = torch.sigmoid(logits)
    return 1 - (2 * (p * truth).sum() + 1) / (p.sum() + truth.sum() + 1)


def segment_loss(logits: Tensor, truth: Tensor, dice: float = 1.0) -> Tensor:
    """Mean binary cross entropy + `dice` x soft Dice; logits and truth (N, 1, H, W) float32, truth in {0, 1}."""
    return functional.binary_cross_entropy_with_logits(logits, truth) + dice * soft_dice(logits, truth)
