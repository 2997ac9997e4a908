"""The mask generator of PDSN (Song et al. 2019): from the difference a cover makes to the features to keep."""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["MaskGenerator"]


class MaskGenerator(nn.Module):
    """conv3x3, PReLU, BN, sigmoid: |f(clean) - f(occluded)| (N, C, h, w) -> mask (N, C, h, w) in (0, 1).

    One is trained per region of the face; only the dictionary made from it is used afterwards.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.prelu = nn.PReLU(channels)
        self.bn = nn.BatchNorm2d(channels)
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, difference: Tensor) -> Tensor:
        return torch.sigmoid(self.bn(self.prelu(self.conv(difference))))
