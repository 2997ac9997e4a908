"""The improved residual network of Liu et al. 2023 (Table 1, right column), with FROM's mask on its top map.

A block is BN, 1x1, BN, PReLU, 3x3 (stride), BN added to the shortcut, as in the face networks the paper builds on;
the paper names widths only. Each stage's first block has a 1x1 shortcut with BN, because it changes size or width.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from edgeface.models.decoder import MaskDecoder
from edgeface.models.spec import ArchSpec

__all__ = ["Block", "FaceNet", "Output"]


class Output(NamedTuple):
    """What a masked forward gives."""

    embedding: Tensor
    """(N, embedding) float."""
    mask: Tensor | None
    """(N, C, 7, 6) in (0, 1), None for a network without a mask."""


class Block(nn.Module):
    """Residual block (1x1 `inner`; 3x3 `out`). (N, C, H, W) -> (N, out, H/stride, W/stride)."""

    def __init__(self, channels: int, inner: int, out: int, stride: int, project: bool) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.prelu = nn.PReLU(inner)
        self.conv2 = nn.Conv2d(inner, out, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.shortcut: nn.Module = (
            nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
            if project
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(y)) + self.shortcut(x)


class FaceNet(nn.Module):
    """(N, 3, 112, 96) float RGB in [-1, 1] -> (N, 512) float embedding, not normalised.

    `spec` gives every width. With `spec.mask`, the top map is multiplied by the decoder's mask before the head.
    """

    def __init__(self, spec: ArchSpec) -> None:
        super().__init__()
        self.spec = spec
        self.stem = nn.Sequential(
            nn.Conv2d(3, spec.stem, 3, spec.stem_stride, 1, bias=False),
            nn.BatchNorm2d(spec.stem),
            nn.PReLU(spec.stem),
        )
        stages, channels = [], spec.stem
        for index, stage in enumerate(spec.stages):
            blocks = []
            for number, inner in enumerate(stage.inner):
                first = number == 0
                stride = spec.stage_stride(index) if first else 1
                blocks.append(Block(channels, inner, stage.out, stride, project=first))
                channels = stage.out
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.decoder = MaskDecoder(spec) if spec.mask else None
        self.head = _head(spec, channels)
        _initialise(self)
        if self.decoder is not None:
            self.decoder.open()

    def forward_masked(self, x: Tensor, use_mask: bool = True) -> Output:
        """Embedding and mask. `use_mask=False` leaves the top map as it is (for looking at, not a baseline)."""
        maps = []
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        mask = self.decoder(maps[-3:]) if self.decoder is not None and use_mask else None
        if mask is not None:
            x = x * mask
        return Output(self.head(x), mask)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_masked(x).embedding


def _head(spec: ArchSpec, channels: int) -> nn.Sequential:
    if spec.head == "pool":
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, spec.embedding))
    height, width = spec.top_size
    flat = channels * height * width
    return nn.Sequential(
        nn.Flatten(), nn.BatchNorm1d(flat), nn.Linear(flat, spec.embedding), nn.BatchNorm1d(spec.embedding)
    )


def _initialise(model: nn.Module) -> None:
    """He for convolutions, small normal for the linear head, slopes of .25."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)
