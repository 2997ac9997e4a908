"""Linear maps from channels to channels, alike at every place, from means and products gathered on the way."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["Line", "Moments"]

RIDGE = 1e-2
"""Added to the variances, in parts of their mean."""


class Moments:
    """Means and products of what is predicted from and what is predicted, summed over places."""

    def __init__(self) -> None:
        self.rows = 0
        self.sums: list[Tensor] = []

    def add(self, reads: Tensor, gives: Tensor) -> None:
        """(N, C, h, w) and (N, D, h, w)."""
        x = reads.transpose(0, 1).flatten(1)
        y = x if gives is reads else gives.transpose(0, 1).flatten(1)
        own = x @ x.T
        shared = own if gives is reads else x @ y.T
        found = [entry.double() for entry in (x.sum(1), y.sum(1), own, shared)]
        self.sums = [a + b for a, b in zip(self.sums, found, strict=True)] if self.sums else found
        self.rows += x.shape[1]

    def line(self, reads: Tensor | None = None, gives: Tensor | None = None) -> Line:
        """The nearest linear map from channels `reads` to channels `gives`, or all to all."""
        mean_x, mean_y, xx, xy = (entry / self.rows for entry in self.sums)
        if reads is not None and gives is not None:
            mean_x, mean_y, xx, xy = mean_x[reads], mean_y[gives], xx[reads][:, reads], xy[reads][:, gives]
        spread, shared = xx - mean_x[:, None] * mean_x, xy - mean_x[:, None] * mean_y
        spread.diagonal().add_(RIDGE * spread.diagonal().mean() + 1e-12)
        weight = torch.linalg.solve(spread, shared)
        return Line(weight.T.float(), (mean_y - mean_x @ weight).float())


@dataclass(frozen=True)
class Line:
    """Channels from channels, alike at every place."""

    weight: Tensor
    """(D, C)."""
    offset: Tensor
    """(D,)."""

    def __call__(self, reads: Tensor) -> Tensor:
        """(N, C, h, w) -> (N, D, h, w)."""
        return nn.functional.conv2d(reads, self.weight[:, :, None, None], self.offset)
