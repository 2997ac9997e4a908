"""The network any `ArchSpec` describes: stem, stages of residual blocks, FROM's mask, head.

Its first family is the improved residual network of Liu et al. 2023 (Table 1, right column); ResNet-34 and
MobileFaceNet differ in their blocks (`edgeface.models.blocks`) and ends.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor, nn

from edgeface.models.blocks import BLOCK_MODULES, Block
from edgeface.models.decoder import MaskDecoder
from edgeface.models.pattern import PatternHead
from edgeface.models.spec import ArchSpec
from edgeface_runtime.errors import InputError

__all__ = ["Block", "FaceNet", "Output"]


class Output(NamedTuple):
    """What a masked forward gives."""

    embedding: Tensor
    """(N, embedding) float."""
    mask: Tensor | None
    """In (0, 1): (N, C, h, w) decoder, (N, 1, h, w) spatial, (N, embedding) vector; None without a mask."""
    pattern: Tensor | None = None
    """(N, classes) logits of the occlusion pattern, None where they were not asked for."""


class FaceNet(nn.Module):
    """(N, 3, H, W) float RGB in [-1, 1] -> (N, embedding) float, not normalised.

    `spec` gives every width. With `spec.mask`, the top map (or the embedding, for a vector mask) is multiplied by the
    decoder's mask.
    """

    def __init__(self, spec: ArchSpec) -> None:
        super().__init__()
        self.spec = spec
        self.stem = _stem(spec)
        stages, channels = [], spec.stem
        for index, stage in enumerate(spec.stages):
            blocks = []
            for number, inner in enumerate(stage.inner):
                first = number == 0
                stride = spec.stage_stride(index) if first else 1
                blocks.append(BLOCK_MODULES[spec.block](channels, inner, stage.out, stride, first))
                channels = stage.out
            stages.append(nn.Sequential(*blocks))
        self.stages = nn.ModuleList(stages)
        self.top = _conv(channels, spec.top, 1) if spec.top else None
        self.decoder = MaskDecoder(spec) if spec.mask else None
        self.head = _head(spec)
        self.pattern = PatternHead(spec) if spec.mask and spec.mask.patterns else None
        _initialise(self)
        if self.decoder is not None:
            self.decoder.open()

    def maps(self, x: Tensor) -> list[Tensor]:
        """What every stage gives, finest first; the last is the top map (N, C, h, w), which masks apply to."""
        found = []
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
            found.append(x)
        if self.top is not None:
            found[-1] = self.top(x)
        return found

    def top_map(self, x: Tensor) -> Tensor:
        """The top map (N, C, h, w), without any mask: what a mask dictionary works on."""
        return self.maps(x)[-1]

    def forward_masked(self, x: Tensor, use_mask: bool = True, patterns: bool = False) -> Output:
        """Embedding, mask and, if asked for, the logits of the occlusion pattern.

        Args:
            use_mask: False leaves the features as they are (for looking at, not a baseline).
            patterns: also run the pattern head.

        Raises:
            InputError: `patterns` of a network without a pattern head, or without its mask.
        """
        if patterns and (self.pattern is None or not use_mask):
            raise InputError("the network has no pattern head: add one with patterns (--patterns)")
        maps = self.maps(x)
        top = maps[-1]
        mask = self.decoder(maps[-3:]) if self.decoder is not None and use_mask else None
        logits = self.pattern(mask) if patterns and self.pattern is not None else None
        if mask is None:
            return Output(self.head(top), None)
        if mask.dim() == 2:
            return Output(self.head(top) * mask, mask, logits)
        return Output(self.head(top * mask), mask, logits)

    def forward(self, x: Tensor) -> Tensor:
        return self.forward_masked(x).embedding


def _conv(channels: int, filters: int, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, filters, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(filters),
        nn.PReLU(filters),
    )


def _stem(spec: ArchSpec) -> nn.Sequential:
    stem = _conv(3, spec.stem, 3, spec.stem_stride)
    return nn.Sequential(*stem, *_conv(spec.stem, spec.stem, 3, groups=spec.stem)) if spec.stem_depthwise else stem


def _head(spec: ArchSpec) -> nn.Sequential:
    channels, (height, width) = spec.top_channels, spec.top_size
    if spec.head == "pool":
        return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, spec.embedding))
    if spec.head == "depthwise":
        return nn.Sequential(
            nn.Conv2d(channels, channels, (height, width), groups=channels, bias=False),
            nn.BatchNorm2d(channels),
            nn.Flatten(),
            nn.Linear(channels, spec.embedding, bias=False),
            nn.BatchNorm1d(spec.embedding),
        )
    flat = channels * height * width
    return nn.Sequential(
        nn.Flatten(), nn.BatchNorm1d(flat), nn.Linear(flat, spec.embedding), nn.BatchNorm1d(spec.embedding)
    )


def _initialise(model: nn.Module) -> None:
    """He for convolutions, small normal for linear layers, slopes of .25."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            # PyTorch's fan out does not know groups: of a depthwise filter it would be too large by all its channels.
            fan: Literal["fan_in", "fan_out"] = "fan_out" if module.groups == 1 else "fan_in"
            nn.init.kaiming_normal_(module.weight, mode=fan, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.01)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
