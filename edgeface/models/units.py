"""A network as a list of units, the parts whose latency is measured one by one: stem, blocks, mask, head.

A unit is what a place in the network computes (`key`) and the channel counts that pruning changes (`widths`). Two
places with one key cost the same at the same widths, so the fourteen blocks of a stage are one measurement.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeface.models.spec import ArchSpec

__all__ = ["Unit", "units"]


@dataclass(frozen=True)
class Unit:
    """One part of a network."""

    kind: str
    """What it computes: stem, `bottle`, `bottle first`, lateral, ..."""
    size: tuple[int, int]
    """Height and width of its input, pixels."""
    stride: int
    widths: tuple[int, ...]
    """Channels, in the order of the data: of a block (in and out, inner), of a first block (in, inner, out)."""
    fixed: int = 0
    """Outputs that pruning never changes: the embedding's, a spatial mask's one; 0 where there are none."""

    @property
    def key(self) -> str:
        """The unit without its widths."""
        height, width = self.size
        return f"{self.kind} {height}x{width} stride {self.stride}" + (f" to {self.fixed}" if self.fixed else "")


def units(spec: ArchSpec) -> list[Unit]:
    """Every unit of the network as it is deployed, in the order of the data."""
    size, channels, sizes = spec.input_size, spec.stem, []
    found = [Unit("stem depthwise" if spec.stem_depthwise else "stem", size, spec.stem_stride, (spec.stem,))]
    size = _smaller(size, spec.stem_stride)
    for index, stage in enumerate(spec.stages):
        stride = spec.stage_stride(index)
        found.append(Unit(f"{spec.block} first", size, stride, (channels, stage.inner[0], stage.out)))
        size, channels = _smaller(size, stride), stage.out
        found += [Unit(spec.block, size, 1, (channels, inner)) for inner in stage.inner[1:]]
        sizes.append(size)
    if spec.top:
        found.append(Unit("top", size, 1, (channels, spec.top)))
    if spec.mask:
        pyramid = spec.mask.pyramid
        fine, middle, top = sizes[-3:]
        for kind, at, width in zip(
            ("lateral", "lateral up", "lateral up"), (fine, middle, top), spec.map_widths[-3:], strict=True
        ):
            found.append(Unit(kind, at, 1, (width, pyramid)))
        found.append(Unit("smooth", fine, 1, (pyramid, spec.mask.smooth)))
        found.append(Unit("decode", fine, 2, (spec.mask.smooth, spec.mask.decoder)))
        found.append(_mask_unit(spec, middle))
    found.append(Unit(f"head {spec.head}", spec.top_size, 1, (spec.top_channels,), spec.embedding))
    return found


def _mask_unit(spec: ArchSpec, size: tuple[int, int]) -> Unit:
    assert spec.mask is not None
    inner, kind = spec.mask.decoder, f"mask {spec.mask.kind}"
    if spec.mask.kind == "spatial":
        return Unit(kind, size, 2, (inner,), 1)
    if spec.mask.kind == "vector":
        return Unit(kind, size, 2, (inner, spec.mask.cells), spec.embedding)
    return Unit(kind, size, 2, (inner, spec.top_channels))


def _smaller(size: tuple[int, int], stride: int) -> tuple[int, int]:
    return size[0] // stride, size[1] // stride
