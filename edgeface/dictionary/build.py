"""From trained generators to the binary dictionary: min-max, mean, percentile (Song et al. 2019; eq. 4 of Johnston &
Ngxande 2022)."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeface.models.generator import MaskGenerator

__all__ = ["binary_mask", "mean_mask", "min_max"]


def min_max(outputs: Tensor) -> Tensor:
    """Each output (N, C, h, w) scaled by its own smallest and largest value to [0, 1]; a constant one becomes 1."""
    flat = outputs.flatten(1)
    low, high = flat.min(1, keepdim=True).values, flat.max(1, keepdim=True).values
    span = high - low
    scaled = torch.where(span > 0, (flat - low) / span.clamp(min=torch.finfo(flat.dtype).tiny), torch.ones_like(flat))
    return scaled.view_as(outputs)


@torch.no_grad()
def mean_mask(generator: MaskGenerator, clean: Tensor, occluded: Tensor, batch: int = 64) -> NDArray[np.float32]:
    """The mean (C, h, w) over all pairs of the generator's outputs, each min-max scaled.

    Args:
        generator: in evaluation mode.
        clean, occluded: (N, C, h, w) trunk features, N >= 1.
    """
    device = next(generator.parameters()).device
    total = torch.zeros(clean.shape[1:], dtype=torch.float64)
    for start in range(0, len(clean), batch):
        first, second = (part[start : start + batch].to(device).float() for part in (clean, occluded))
        total += min_max(generator((first - second).abs())).double().sum(0).cpu()
    return np.asarray((total / len(clean)).float().numpy())


def binary_mask(mean: NDArray[np.floating], tau: float) -> NDArray[np.bool_]:
    """Eq. (4): True (keep) where the mean mask is above its own `tau` quantile, False (discard) elsewhere."""
    return np.asarray(mean > np.quantile(mean, tau), np.bool_)
