"""FROM's feature mask (Qiu et al. 2021): a pyramid over the last three maps and a decoder on its finest level.

Only what the mask needs is built: the three lateral 1x1, the 3x3 of the finest level, and the decoder (conv3x3 s2,
PReLU, BN, conv3x3 s2, sigmoid). FROM's public network also computes two coarser levels that nothing reads.

FROM compares three forms of mask without giving the layers of the smaller two. Ours: spatial has one filter in the
last 3x3; vector has a few, whose map a linear layer turns into one value per embedding value.
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
    """Three maps, finest first, each half as large -> mask (N, *spec.mask_shape) in (0, 1)."""

    def __init__(self, spec: ArchSpec) -> None:
        super().__init__()
        if spec.mask is None:
            raise ValueError("the architecture has no mask")
        pyramid, smooth, inner = spec.mask.pyramid, spec.mask.smooth, spec.mask.decoder
        widths = spec.map_widths[-3:]
        last = {"decoder": widths[-1], "spatial": 1, "vector": spec.mask.cells}[spec.mask.kind]
        self.lateral = nn.ModuleList(nn.Conv2d(width, pyramid, 1) for width in widths)
        self.smooth = nn.Conv2d(pyramid, smooth, 3, 1, 1)
        self.conv1 = nn.Conv2d(smooth, inner, 3, 2, 1, bias=False)
        self.prelu = nn.PReLU(inner)
        self.bn = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, last, 3, 2, 1)
        flat = last * spec.top_size[0] * spec.top_size[1]
        self.linear = nn.Linear(flat, spec.embedding) if spec.mask.kind == "vector" else None

    def open(self) -> None:
        """Start nearly open everywhere (see OPEN_BIAS)."""
        last = self.conv2 if self.linear is None else self.linear
        assert last.bias is not None
        nn.init.normal_(last.weight, std=1e-3)
        nn.init.constant_(last.bias, OPEN_BIAS)

    def forward(self, maps: list[Tensor]) -> Tensor:
        fine, middle, top = (lateral(x) for lateral, x in zip(self.lateral, maps, strict=True))
        middle = middle + nn.functional.interpolate(top, scale_factor=2.0, mode="nearest")
        fine = fine + nn.functional.interpolate(middle, scale_factor=2.0, mode="nearest")
        inner = self.bn(self.prelu(self.conv1(self.smooth(fine))))
        cells = self.conv2(inner)
        return torch.sigmoid(cells if self.linear is None else self.linear(cells.flatten(1)))
