"""Parameters, MACs and filters, counted from the spec alone: exact, no forward pass.

A multiply-add is one MAC. Counted: convolutions and linear layers. Not counted as MACs: BN (folded at export), PReLU,
additions, upsampling, the sigmoid and the product with the mask. The pattern head is for training only and counted
only where asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from edgeface.models.spec import ArchSpec, pattern_classes

__all__ = ["Conv", "Counts", "convolutions", "count"]


@dataclass(frozen=True)
class Conv:
    """One convolution: where its output lies and how wide it is."""

    name: str
    inputs: int
    filters: int
    kernel: int | tuple[int, int]
    """Side, or height and width."""
    positions: int
    """Output height x width."""
    bias: bool = False
    depthwise: bool = False
    """Every filter sees one channel only."""

    @property
    def weights(self) -> int:
        taps = self.kernel**2 if isinstance(self.kernel, int) else math.prod(self.kernel)
        return (1 if self.depthwise else self.inputs) * self.filters * taps

    @property
    def macs(self) -> int:
        return self.weights * self.positions


@dataclass(frozen=True)
class Counts:
    """The cost of a network, for one face."""

    parameters: int
    """Trainable scalars (BN statistics are not parameters)."""
    macs: int
    filters: int
    """Convolution filters: what the pruning ratio is a share of."""


def convolutions(spec: ArchSpec) -> Iterator[Conv]:
    """Every convolution of the network, named as its module is."""
    height, width = (side // spec.stem_stride for side in spec.input_size)
    yield Conv("stem.0", 3, spec.stem, 3, height * width)
    if spec.stem_depthwise:
        yield Conv("stem.3", spec.stem, spec.stem, 3, height * width, depthwise=True)
    channels, sizes = spec.stem, []
    for index, stage in enumerate(spec.stages):
        for number, inner in enumerate(stage.inner):
            before = height * width
            if number == 0:
                stride = spec.stage_stride(index)
                height, width = height // stride, width // stride
            name = f"stages.{index}.{number}"
            yield from _block(spec.block, name, (channels, inner, stage.out), before, height * width, number == 0)
            channels = stage.out
        sizes.append(height * width)
    if spec.top:
        yield Conv("top.0", channels, spec.top, 1, height * width)
    if spec.head == "depthwise":
        yield Conv("head.0", spec.top_channels, spec.top_channels, (height, width), 1, depthwise=True)
    if spec.mask:
        pyramid, smooth, inner = spec.mask.pyramid, spec.mask.smooth, spec.mask.decoder
        for index, (out, size) in enumerate(zip(spec.map_widths[-3:], sizes[-3:], strict=True)):
            yield Conv(f"decoder.lateral.{index}", out, pyramid, 1, size, bias=True)
        yield Conv("decoder.smooth", pyramid, smooth, 3, sizes[-3], bias=True)
        yield Conv("decoder.conv1", smooth, inner, 3, sizes[-2])
        last = spec.mask.cells if spec.mask.kind == "vector" else spec.mask_shape[0]
        yield Conv("decoder.conv2", inner, last, 3, sizes[-1], bias=True)


def _block(
    kind: str, name: str, widths: tuple[int, int, int], before: int, after: int, first: bool
) -> Iterator[Conv]:
    """One block's convolutions; `before` and `after` are its positions in front of and behind its stride."""
    channels, inner, out = widths
    if kind == "inverted":
        yield Conv(f"{name}.conv1", channels, inner, 1, before)
        yield Conv(f"{name}.conv2", inner, inner, 3, after, depthwise=True)
        yield Conv(f"{name}.conv3", inner, out, 1, after)
        return
    bottle = kind == "bottle"  # strides in its second convolution, basic in its first
    yield Conv(f"{name}.conv1", channels, inner, 1 if bottle else 3, before if bottle else after)
    if first:
        yield Conv(f"{name}.shortcut.0", channels, out, 1, after)
    yield Conv(f"{name}.conv2", inner, out, 3, after)


def count(spec: ArchSpec, *, patterns: bool = False) -> Counts:
    """Parameters, MACs for one face, and convolution filters; with `patterns` the pattern head's too."""
    convs = list(convolutions(spec))
    linears = _linears(spec, patterns)
    parameters = sum(conv.weights + conv.filters * conv.bias for conv in convs)
    parameters += sum(inputs * outputs + outputs * bias for inputs, outputs, bias in linears)
    parameters += _other_parameters(spec, patterns)
    macs = sum(conv.macs for conv in convs) + sum(inputs * outputs for inputs, outputs, _ in linears)
    return Counts(parameters, macs, sum(conv.filters for conv in convs))


def _linears(spec: ArchSpec, patterns: bool) -> list[tuple[int, int, bool]]:
    """Inputs, outputs and whether there is a bias."""
    positions = math.prod(spec.top_size)
    flat = spec.top_channels * (positions if spec.head == "flatten" else 1)
    found = [(flat, spec.embedding, spec.head != "depthwise")]
    if spec.mask and spec.mask.kind == "vector":
        found.append((spec.mask.cells * positions, spec.embedding, True))
    if patterns and spec.mask and spec.mask.patterns:
        found.append((math.prod(spec.mask_shape), pattern_classes(spec.mask.patterns), True))
    return found


def _other_parameters(spec: ArchSpec, patterns: bool) -> int:
    """Of BN (scale and shift) and PReLU (slope)."""
    total = 3 * spec.stem * (2 if spec.stem_depthwise else 1)
    channels = spec.stem
    for stage in spec.stages:
        for number, inner in enumerate(stage.inner):
            shortcut = 2 * stage.out if number == 0 else 0
            total += {
                "bottle": 2 * channels + 3 * inner + 2 * stage.out + shortcut,
                "basic": 3 * inner + 2 * stage.out + shortcut + stage.out,
                "inverted": 3 * inner + 3 * inner + 2 * stage.out,
            }[spec.block]
            channels = stage.out
    total += 3 * spec.top
    if spec.head == "flatten":
        total += 2 * spec.top_channels * math.prod(spec.top_size) + 2 * spec.embedding
    elif spec.head == "depthwise":
        total += 2 * spec.top_channels + 2 * spec.embedding
    if spec.mask:
        total += 3 * spec.mask.decoder
        if patterns and spec.mask.patterns:
            total += 2 * math.prod(spec.mask_shape)
    return total
