"""Residual blocks by name: what a stage is made of, each (N, C, H, W) -> (N, out, H/stride, W/stride).

bottle: the improved block of Liu et al. 2023 (Table 1): BN, 1x1, BN, PReLU, 3x3 (stride), BN, as in the face networks
the paper builds on (it names widths only). basic: ResNet-34's, with PReLU for ReLU. inverted: MobileFaceNet's.

The first block of a bottle or basic stage has a 1x1 shortcut with BN, because it changes size or width; an inverted
stage's first block has no shortcut (there, MobileFaceNet's strides and widths differ).
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

__all__ = ["BLOCK_MODULES", "BasicBlock", "Block", "InvertedBlock"]


class Block(nn.Module):
    """bottle: 1x1 `inner`, 3x3 `out`."""

    def __init__(self, channels: int, inner: int, out: int, stride: int, first: bool) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.prelu = nn.PReLU(inner)
        self.conv2 = nn.Conv2d(inner, out, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.shortcut = _shortcut(channels, out, stride, first)

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(y)) + self.shortcut(x)


class BasicBlock(nn.Module):
    """basic: 3x3 `inner` (stride), 3x3 `out`, activated after the addition."""

    def __init__(self, channels: int, inner: int, out: int, stride: int, first: bool) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, inner, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.prelu1 = nn.PReLU(inner)
        self.conv2 = nn.Conv2d(inner, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.shortcut = _shortcut(channels, out, stride, first)
        self.prelu2 = nn.PReLU(out)

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y)) + self.shortcut(x)
        return self.prelu2(y)


class InvertedBlock(nn.Module):
    """inverted: expand 1x1 `inner`, depthwise 3x3 (stride), project 1x1 `out` without activation."""

    def __init__(self, channels: int, inner: int, out: int, stride: int, first: bool) -> None:
        super().__init__()
        self.residual = not first
        self.conv1 = nn.Conv2d(channels, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.prelu1 = nn.PReLU(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, 1, groups=inner, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.prelu2 = nn.PReLU(inner)
        self.conv3 = nn.Conv2d(inner, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)

    def forward(self, x: Tensor) -> Tensor:
        y = self.prelu1(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(self.prelu2(self.bn2(self.conv2(y)))))
        return y + x if self.residual else y


BLOCK_MODULES: dict[str, Callable[[int, int, int, int, bool], nn.Module]] = {
    "bottle": Block,
    "basic": BasicBlock,
    "inverted": InvertedBlock,
}


def _shortcut(channels: int, out: int, stride: int, first: bool) -> nn.Module:
    if not first:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))
