"""Parameters, MACs and filters, counted from the spec alone: exact, no forward pass.

A multiply-add is one MAC. Counted: convolutions and the linear head. Not counted as MACs: BN (folded at export),
PReLU, additions, upsampling, the sigmoid and the product with the mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgeface.models.spec import ArchSpec

__all__ = ["Conv", "Counts", "convolutions", "count"]


@dataclass(frozen=True)
class Conv:
    """One convolution: where its output lies and how wide it is."""

    name: str
    inputs: int
    filters: int
    kernel: int
    positions: int
    """Output height x width."""
    bias: bool = False

    @property
    def weights(self) -> int:
        return self.inputs * self.filters * self.kernel**2

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
    channels, sizes = spec.stem, []
    for index, stage in enumerate(spec.stages):
        for number, inner in enumerate(stage.inner):
            name = f"stages.{index}.{number}"
            yield Conv(f"{name}.conv1", channels, inner, 1, height * width)
            if number == 0:
                stride = spec.stage_stride(index)
                height, width = height // stride, width // stride
                yield Conv(f"{name}.shortcut.0", channels, stage.out, 1, height * width)
            yield Conv(f"{name}.conv2", inner, stage.out, 3, height * width)
            channels = stage.out
        sizes.append(height * width)
    if spec.mask:
        pyramid, smooth, inner = spec.mask.pyramid, spec.mask.smooth, spec.mask.decoder
        for index, (stage, size) in enumerate(zip(spec.stages[-3:], sizes[-3:], strict=True)):
            yield Conv(f"decoder.lateral.{index}", stage.out, pyramid, 1, size, bias=True)
        yield Conv("decoder.smooth", pyramid, smooth, 3, sizes[-3], bias=True)
        yield Conv("decoder.conv1", smooth, inner, 3, sizes[-2])
        yield Conv("decoder.conv2", inner, channels, 3, sizes[-1], bias=True)


def count(spec: ArchSpec) -> Counts:
    """Parameters, MACs for one face, and convolution filters."""
    convs = list(convolutions(spec))
    parameters = sum(conv.weights + conv.filters * conv.bias for conv in convs)
    parameters += 3 * spec.stem  # BN scale and shift, PReLU slope
    channels = spec.stem
    for stage in spec.stages:
        for number, inner in enumerate(stage.inner):
            parameters += 2 * channels + 3 * inner + 2 * stage.out + (2 * stage.out if number == 0 else 0)
            channels = stage.out
    if spec.mask:
        parameters += 3 * spec.mask.decoder
    height, width = spec.top_size
    flat = channels * height * width if spec.head == "flatten" else channels
    linear = flat * spec.embedding
    parameters += linear + spec.embedding
    if spec.head == "flatten":
        parameters += 2 * flat + 2 * spec.embedding
    macs = sum(conv.macs for conv in convs) + linear
    return Counts(parameters, macs, sum(conv.filters for conv in convs))
