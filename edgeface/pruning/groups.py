"""Which channels must leave together: one group per kept set.

A block's inner width is a group of its own; an inverted block's expanding 1x1 and its depthwise 3x3 make it together.
The last convolution of every block of a stage and the stage's shortcut share one group, because their outputs are
added. The top map's group (the last stage's, or the 1x1 after it) also holds what is tied to its channels: a
depthwise head, and the last convolution of a mask with one value per channel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from edgeface.models.spec import ArchSpec

__all__ = ["Cut", "Group", "cuts", "groups", "resized", "top_group"]

INNER_CONVS = {"bottle": ("conv1",), "basic": ("conv1",), "inverted": ("conv1", "conv2")}
OUT_CONV = {"bottle": "conv2", "basic": "conv2", "inverted": "conv3"}


@dataclass(frozen=True)
class Group:
    """Channels with one kept set."""

    name: str
    width: int
    convs: tuple[str, ...]
    """Modules whose filters make these channels; removing a channel removes one filter of each."""

    @property
    def filters(self) -> int:
        return self.width * len(self.convs)


@dataclass(frozen=True)
class Cut:
    """Dimension `dim` of a tensor runs over a group's channels, each taking `repeat` consecutive entries."""

    dim: int
    group: str
    repeat: int = 1


def top_group(spec: ArchSpec) -> str:
    """Name of the group of the top map's channels."""
    return "top" if spec.top else f"stages.{len(spec.stages) - 1}.out"


def groups(spec: ArchSpec) -> list[Group]:
    """Every group of the network, in the order of the data."""
    found = [Group("stem", spec.stem, ("stem.0", "stem.3") if spec.stem_depthwise else ("stem.0",))]
    tied = ("decoder.conv2",) if spec.mask and spec.mask.kind == "decoder" else ()
    if spec.head == "depthwise":
        tied = ("head.0", *tied)
    for index, stage in enumerate(spec.stages):
        blocks = [f"stages.{index}.{number}" for number in range(len(stage.inner))]
        found += [
            Group(f"{block}.inner", inner, tuple(f"{block}.{conv}" for conv in INNER_CONVS[spec.block]))
            for block, inner in zip(blocks, stage.inner, strict=True)
        ]
        shortcut = () if spec.block == "inverted" else (f"{blocks[0]}.shortcut.0",)
        convs = (*shortcut, *(f"{block}.{OUT_CONV[spec.block]}" for block in blocks))
        name = f"stages.{index}.out"
        found.append(Group(name, stage.out, convs + (tied if name == top_group(spec) else ())))
    if spec.top:
        found.append(Group("top", spec.top, ("top.0", *tied)))
    if spec.mask:
        found += [
            Group("decoder.pyramid", spec.mask.pyramid, tuple(f"decoder.lateral.{level}" for level in range(3))),
            Group("decoder.smooth", spec.mask.smooth, ("decoder.smooth",)),
            Group("decoder.inner", spec.mask.decoder, ("decoder.conv1",)),
        ]
        if spec.mask.kind != "decoder":  # a spatial mask's one filter stays, being its group's last
            width = spec.mask.cells if spec.mask.kind == "vector" else 1
            found.append(Group("decoder.cells", width, ("decoder.conv2",)))
    return found


class _Table:
    """Collects the cuts of a network's tensors by layer."""

    def __init__(self) -> None:
        self.cuts: dict[str, tuple[Cut, ...]] = {}

    def conv(self, name: str, group: str, source: str | None = None, bias: bool = False) -> None:
        """`source` None: the input is not a group's, as in a depthwise convolution."""
        self.cuts[f"{name}.weight"] = (Cut(0, group), *([Cut(1, source)] if source else []))
        if bias:
            self.cuts[f"{name}.bias"] = (Cut(0, group),)

    def norm(self, name: str, group: str, repeat: int = 1) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            self.cuts[f"{name}.{part}"] = (Cut(0, group, repeat),)

    def prelu(self, name: str, group: str) -> None:
        self.cuts[f"{name}.weight"] = (Cut(0, group),)

    def linear(self, name: str, source: str, repeat: int = 1) -> None:
        self.cuts[f"{name}.weight"] = (Cut(1, source, repeat),)


def cuts(spec: ArchSpec) -> dict[str, tuple[Cut, ...]]:
    """For every tensor of the state dict that pruning makes smaller, which dimensions follow which group."""
    table = _Table()
    for start in (0, 3) if spec.stem_depthwise else (0,):
        table.conv(f"stem.{start}", "stem")
        table.norm(f"stem.{start + 1}", "stem")
        table.prelu(f"stem.{start + 2}", "stem")
    source = "stem"
    for index, stage in enumerate(spec.stages):
        out = f"stages.{index}.out"
        for number in range(len(stage.inner)):
            _cut_block(table, spec.block, f"stages.{index}.{number}", source, out)
            if number == 0 and spec.block != "inverted":
                table.conv(f"stages.{index}.0.shortcut.0", out, source)
                table.norm(f"stages.{index}.0.shortcut.1", out)
            source = out
    if spec.top:
        table.conv("top.0", "top", source)
        table.norm("top.1", "top")
        table.prelu("top.2", "top")
    _cut_mask(table, spec)
    _cut_head(table, spec)
    return table.cuts


def _cut_block(table: _Table, kind: str, block: str, source: str, out: str) -> None:
    inner = f"{block}.inner"
    table.conv(f"{block}.conv1", inner, source)
    if kind == "bottle":
        table.norm(f"{block}.bn1", source)
        table.norm(f"{block}.bn2", inner)
        table.prelu(f"{block}.prelu", inner)
        table.conv(f"{block}.conv2", out, inner)
        table.norm(f"{block}.bn3", out)
        return
    table.norm(f"{block}.bn1", inner)
    table.prelu(f"{block}.prelu1", inner)
    if kind == "basic":
        table.conv(f"{block}.conv2", out, inner)
        table.norm(f"{block}.bn2", out)
        table.prelu(f"{block}.prelu2", out)
        return
    table.conv(f"{block}.conv2", inner)
    table.norm(f"{block}.bn2", inner)
    table.prelu(f"{block}.prelu2", inner)
    table.conv(f"{block}.conv3", out, inner)
    table.norm(f"{block}.bn3", out)


def _cut_mask(table: _Table, spec: ArchSpec) -> None:
    if spec.mask is None:
        return
    top, positions = top_group(spec), math.prod(spec.top_size)
    sources = [*(f"stages.{index}.out" for index in range(len(spec.stages) - 1)), top]
    for level, source in enumerate(sources[-3:]):
        table.conv(f"decoder.lateral.{level}", "decoder.pyramid", source, bias=True)
    table.conv("decoder.smooth", "decoder.smooth", "decoder.pyramid", bias=True)
    table.conv("decoder.conv1", "decoder.inner", "decoder.smooth")
    table.prelu("decoder.prelu", "decoder.inner")
    table.norm("decoder.bn", "decoder.inner")
    last = top if spec.mask.kind == "decoder" else "decoder.cells"
    table.conv("decoder.conv2", last, "decoder.inner", bias=True)
    if spec.mask.kind == "vector":
        table.linear("decoder.linear", last, positions)
    elif spec.mask.patterns:
        table.norm("pattern.bn", last, positions)
        table.linear("pattern.linear", last, positions)


def _cut_head(table: _Table, spec: ArchSpec) -> None:
    top, positions = top_group(spec), math.prod(spec.top_size)
    if spec.head == "flatten":
        table.norm("head.1", top, positions)
        table.linear("head.2", top, positions)
    elif spec.head == "depthwise":
        table.conv("head.0", top)
        table.norm("head.1", top)
        table.linear("head.3", top)
    else:
        table.linear("head.2", top)


def resized(spec: ArchSpec, widths: dict[str, int]) -> ArchSpec:
    """The same network with every group at its new width."""
    stages = tuple(
        replace(
            stage,
            out=widths[f"stages.{index}.out"],
            inner=tuple(widths[f"stages.{index}.{number}.inner"] for number in range(len(stage.inner))),
        )
        for index, stage in enumerate(spec.stages)
    )
    mask = spec.mask
    if mask is not None:
        mask = replace(
            mask,
            pyramid=widths["decoder.pyramid"],
            smooth=widths["decoder.smooth"],
            decoder=widths["decoder.inner"],
            cells=widths["decoder.cells"] if mask.kind == "vector" else mask.cells,
        )
    return replace(spec, stem=widths["stem"], stages=stages, mask=mask, top=widths.get("top", 0))
