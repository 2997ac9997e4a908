"""Parameters and MACs of a segmenter, counted from the spec alone. One multiply-add is one MAC; BN, ReLU, pooling,
enlarging and the sigmoid are not counted as MACs, as in `edgeface.models.count`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from edgeface.models.count import Conv, Counts
from edgeface.models.segmenter_spec import SegmenterSpec

__all__ = ["count_segmenter", "segmenter_convolutions"]


def segmenter_convolutions(spec: SegmenterSpec) -> Iterator[Conv]:
    """Every convolution of the network, in the order of its forward pass."""
    height, width = spec.input_size
    area = [(height >> level) * (width >> level) for level in range(len(spec.widths))]
    plain = spec.block == "plain"
    made = [spec.widths[0] if plain else 3, *spec.widths[1:]]
    for level, depth in enumerate(spec.depths):
        name, inputs = f"encoder.{level}", made[level - 1] if level else 3
        if plain or depth == 0:
            yield from _plain(name, inputs, made[level], depth, area[level])
        elif inputs == 3:
            yield Conv(f"{name}.0", 3, made[level], 3, area[level])
            yield from _separable(name, made[level], made[level], depth - 1, area[level])
        else:
            yield from _separable(name, inputs, made[level], depth, area[level])
    for level, (filters, coarser) in reversed(list(enumerate(pairwise(spec.widths)))):
        name = f"decoder.{level}"
        if plain:
            yield from _plain(name, made[level] + coarser, filters, spec.decoder, area[level])
        else:
            yield Conv(f"reduce.{level}", coarser, filters, 1, area[level + 1])
            yield from _separable(name, made[level] + filters, filters, spec.decoder, area[level])
    yield Conv("out", spec.widths[0], 1, 1, area[0], bias=True)


def count_segmenter(spec: SegmenterSpec) -> Counts:
    """Parameters (BN's scale and shift included), MACs for one face of the spec's input size, and filters."""
    convs = list(segmenter_convolutions(spec))
    parameters = sum(conv.weights + (conv.filters if conv.bias else 2 * conv.filters) for conv in convs)
    return Counts(parameters, sum(conv.macs for conv in convs), sum(conv.filters for conv in convs))


def _plain(name: str, inputs: int, filters: int, depth: int, area: int) -> Iterator[Conv]:
    for number in range(depth):
        yield Conv(f"{name}.{number}", filters if number else inputs, filters, 3, area)


def _separable(name: str, inputs: int, filters: int, depth: int, area: int) -> Iterator[Conv]:
    for number in range(depth):
        width = filters if number else inputs
        yield Conv(f"{name}.{2 * number}", width, width, 3, area, depthwise=True)
        yield Conv(f"{name}.{2 * number + 1}", width, filters, 1, area)
