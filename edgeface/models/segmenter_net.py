"""The segmenter: a U-Net over five resolutions, as its spec says; see `edgeface.models.segmenter_spec`.

Going down, a plain network pools and a separable one strides. Going up, the coarser map is brought to the finer width
by 1x1 (separable only), enlarged by repeating pixels, joined with the finer level's own map, and convolved.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgeface.models.segmenter_spec import SegmenterSpec

__all__ = ["Segmenter"]


class Segmenter(nn.Module):
    """(N, 3, H, W) float32 RGB in [-1, 1] -> (N, 1, H, W) logits: above 0 where covered.

    H and W need not be the spec's input size; any multiples of 16 will do.
    """

    def __init__(self, spec: SegmenterSpec) -> None:
        super().__init__()
        self.spec = spec
        plain = spec.block == "plain"
        made = [spec.widths[0] if plain else 3, *spec.widths[1:]]  # channels each encoder level gives
        self.encoder = nn.ModuleList()
        for level, depth in enumerate(spec.depths):
            inputs = made[level - 1] if level else 3
            self.encoder.append(_plain(inputs, made[level], depth) if plain else _down(inputs, made[level], depth))
        self.pool = nn.MaxPool2d(2) if plain else nn.Identity()
        self.reduce, self.decoder = nn.ModuleList(), nn.ModuleList()
        for level, (width, coarser) in enumerate(pairwise(spec.widths)):
            self.reduce.append(nn.Identity() if plain else _unit(coarser, width, kernel=1))
            joined = made[level] + (coarser if plain else width)
            make = _plain if plain else _separable
            self.decoder.append(make(joined, width, spec.decoder))
        self.out = nn.Conv2d(spec.widths[0], 1, 1)

    @property
    def input_size(self) -> tuple[int, int]:
        """Height and width it was made for."""
        return self.spec.input_size

    def forward(self, x: Tensor) -> Tensor:
        maps: list[Tensor] = []
        for level, stage in enumerate(self.encoder):
            x = stage(self.pool(x) if level else x)
            maps.append(x)
        for level in reversed(range(len(self.decoder))):
            x = functional.interpolate(self.reduce[level](x), scale_factor=2.0, mode="nearest")
            x = self.decoder[level](torch.cat([x, maps[level]], 1))
        return self.out(x)


def _unit(inputs: int, filters: int, kernel: int = 3, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, filters, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(filters),
        nn.ReLU(inplace=True),
    )


def _plain(inputs: int, filters: int, depth: int) -> nn.Sequential:
    return nn.Sequential(*(_unit(filters if number else inputs, filters) for number in range(depth)))


def _separable(inputs: int, filters: int, depth: int, stride: int = 1) -> nn.Sequential:
    units: list[nn.Module] = []
    for number in range(depth):
        width = filters if number else inputs
        units += [_unit(width, width, stride=1 if number else stride, groups=width), _unit(width, filters, kernel=1)]
    return nn.Sequential(*units)


def _down(inputs: int, filters: int, depth: int) -> nn.Module:
    """One level of the separable encoder: nothing at the finest; from the picture, a full convolution first."""
    if depth == 0:
        return nn.Identity()
    if inputs == 3:
        return nn.Sequential(_unit(3, filters, stride=2), *_separable(filters, filters, depth - 1))
    return _separable(inputs, filters, depth, stride=2)
