"""FROM's feature mask (Qiu et al. 2021): a pyramid over the last three stages and a decoder on its finest level.

Only what the mask needs is built: the three lateral 1x1, the 3x3 of the finest level, and the decoder (conv3x3 s2,
PReLU, BN, conv3x3 s2, sigmoid). FROM's public network also computes two coarser levels that nothing reads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from edgeface.models.spec import ArchSpec

__all__ = ["MaskDecoder"]

OPEN_BIAS = 2.0
"""The last bias starts here, so an untrained mask passes about .88 of everything and the clean-trained trunk keeps
working when the mask is added (FROM does not say how it starts)."""


class MaskDecoder(nn.Module):
    """Three maps, finest first, each half the size of the one before -> mask (N, C_top, H/4, W/4) in (0, 1)."""

    def __init__(self, spec: ArchSpec) -> None:
        super().__init__()
        if spec.mask is None:
            raise ValueError("the architecture has no mask")
        pyramid, smooth, inner = spec.mask.pyramid, spec.mask.smooth, spec.mask.decoder
        widths = [stage.out for stage in spec.stages[-3:]]
        self.lateral = nn.ModuleList(nn.Conv2d(width, pyramid, 1) for width in widths)
        self.smooth = nn.Conv2d(pyramid, smooth, 3, 1, 1)
        self.conv1 = nn.Conv2d(smooth, inner, 3, 2, 1, bias=False)
        self.prelu = nn.PReLU(inner)
        self.bn = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, widths[-1], 3, 2, 1)

    def open(self) -> None:
        """Start nearly open everywhere (see OPEN_BIAS)."""
        assert self.conv2.bias is not None
        nn.init.normal_(self.conv2.weight, std=1e-3)
        nn.init.constant_(self.conv2.bias, OPEN_BIAS)

    def forward(self, maps: list[Tensor]) -> Tensor:
        fine, middle, top = (lateral(x) for lateral, x in zip(self.lateral, maps, strict=True))
        middle = middle + nn.functional.interpolate(top, scale_factor=2.0, mode="nearest")
        fine = fine + nn.functional.interpolate(middle, scale_factor=2.0, mode="nearest")
        inner = self.bn(self.prelu(self.conv1(self.smooth(fine))))
        return torch.sigmoid(self.conv2(inner))
