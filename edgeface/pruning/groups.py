"""Which channels must leave together: one group per kept set.

A block's inner width is a group of its own. The 3x3 of every block of a stage, the stage's shortcut and, for the last
stage, the mask's last convolution share one group, because their outputs are added or multiplied channel by channel.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from edgeface.models.spec import ArchSpec

__all__ = ["Cut", "Group", "cuts", "groups", "resized"]


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


def groups(spec: ArchSpec) -> list[Group]:
    """Every group of the network, in the order of the data."""
    found = [Group("stem", spec.stem, ("stem.0",))]
    last = len(spec.stages) - 1
    for index, stage in enumerate(spec.stages):
        blocks = [f"stages.{index}.{number}" for number in range(len(stage.inner))]
        found += [
            Group(f"{block}.inner", inner, (f"{block}.conv1",))
            for block, inner in zip(blocks, stage.inner, strict=True)
        ]
        convs = [f"{blocks[0]}.shortcut.0", *(f"{block}.conv2" for block in blocks)]
        if index == last and spec.mask:
            convs.append("decoder.conv2")
        found.append(Group(f"stages.{index}.out", stage.out, tuple(convs)))
    if spec.mask:
        found += [
            Group("decoder.pyramid", spec.mask.pyramid, tuple(f"decoder.lateral.{level}" for level in range(3))),
            Group("decoder.smooth", spec.mask.smooth, ("decoder.smooth",)),
            Group("decoder.inner", spec.mask.decoder, ("decoder.conv1",)),
        ]
    return found


def cuts(spec: ArchSpec) -> dict[str, tuple[Cut, ...]]:
    """For every tensor of the state dict that pruning makes smaller, which dimensions follow which group."""
    table: dict[str, tuple[Cut, ...]] = {}

    def norm(name: str, group: str, repeat: int = 1) -> None:
        for part in ("weight", "bias", "running_mean", "running_var"):
            table[f"{name}.{part}"] = (Cut(0, group, repeat),)

    def conv(name: str, group: str, source: str | None) -> None:
        table[f"{name}.weight"] = (Cut(0, group), *([Cut(1, source)] if source else []))

    conv("stem.0", "stem", None)
    norm("stem.1", "stem")
    table["stem.2.weight"] = (Cut(0, "stem"),)
    source = "stem"
    for index, stage in enumerate(spec.stages):
        out = f"stages.{index}.out"
        for number in range(len(stage.inner)):
            block = f"stages.{index}.{number}"
            norm(f"{block}.bn1", source)
            conv(f"{block}.conv1", f"{block}.inner", source)
            norm(f"{block}.bn2", f"{block}.inner")
            table[f"{block}.prelu.weight"] = (Cut(0, f"{block}.inner"),)
            conv(f"{block}.conv2", out, f"{block}.inner")
            norm(f"{block}.bn3", out)
            if number == 0:
                conv(f"{block}.shortcut.0", out, source)
                norm(f"{block}.shortcut.1", out)
            source = out
    if spec.mask:
        for level in range(3):
            conv(f"decoder.lateral.{level}", "decoder.pyramid", f"stages.{len(spec.stages) - 3 + level}.out")
            table[f"decoder.lateral.{level}.bias"] = (Cut(0, "decoder.pyramid"),)
        conv("decoder.smooth", "decoder.smooth", "decoder.pyramid")
        table["decoder.smooth.bias"] = (Cut(0, "decoder.smooth"),)
        conv("decoder.conv1", "decoder.inner", "decoder.smooth")
        table["decoder.prelu.weight"] = (Cut(0, "decoder.inner"),)
        norm("decoder.bn", "decoder.inner")
        conv("decoder.conv2", source, "decoder.inner")
        table["decoder.conv2.bias"] = (Cut(0, source),)
    if spec.head == "flatten":
        positions = spec.top_size[0] * spec.top_size[1]
        norm("head.1", source, positions)
        table["head.2.weight"] = (Cut(1, source, positions),)
    else:
        table["head.2.weight"] = (Cut(1, source),)
    return table


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
    mask = spec.mask and replace(
        spec.mask,
        pyramid=widths["decoder.pyramid"],
        smooth=widths["decoder.smooth"],
        decoder=widths["decoder.inner"],
    )
    return replace(spec, stem=widths["stem"], stages=stages, mask=mask)
