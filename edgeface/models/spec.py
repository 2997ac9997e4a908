"""The architecture as data: the width of every convolution, so that any pruned network can be built from its file.

Three families differ only in their block and their ends: the improved ResNet-50 of Liu et al. 2023 (Table 1, right
column), ResNet-34 (He et al. 2015) and MobileFaceNet (Chen et al. 2018, arXiv 1804.07573, Table 1).
`edgeface.models.variants` names the unpruned networks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from edgeface_runtime.errors import ArtefactError

__all__ = ["BLOCKS", "HEADS", "MASKS", "ArchSpec", "MaskSpec", "StageSpec", "pattern_classes"]

BLOCKS = ("bottle", "basic", "inverted")
HEADS = ("flatten", "pool", "depthwise")
MASKS = ("decoder", "spatial", "vector")
MAX_GRID = 16


def pattern_classes(grid: int) -> int:
    """Occlusion patterns of a `grid` x `grid` grid: every rectangle, and none. 37, 101, 226 for 3, 4, 5."""
    return (grid * (grid + 1) // 2) ** 2 + 1


@dataclass(frozen=True)
class StageSpec:
    """One stage of residual blocks; `inner` are the filters that are a block's own, `out` those it adds up."""

    out: int
    """Channels of the stage's output; the last convolution of every block and the shortcut share them."""
    inner: tuple[int, ...]
    """Inner filters of each block; its length is the number of blocks."""

    def __post_init__(self) -> None:
        if not self.inner or min(self.inner) < 1 or self.out < 1:
            raise ValueError(f"a stage needs blocks and positive widths, got {self.inner} -> {self.out}")


@dataclass(frozen=True)
class MaskSpec:
    """The feature mask of FROM: a pyramid over the last three maps and a decoder on its finest level."""

    kind: str = "decoder"
    """decoder: a value per channel and cell of the top map. spatial: per cell. vector: per value of the embedding."""
    pyramid: int = 256
    """Channels of the lateral 1x1 convolutions, which are added up."""
    smooth: int = 256
    """Filters of the finest level's 3x3."""
    decoder: int = 256
    """Filters of the decoder's first 3x3."""
    cells: int = 32
    """Filters of the second 3x3 of a vector mask, whose map a linear layer reads; other kinds do not use it."""
    patterns: int = 0
    """Side of the grid whose rectangles the training-only pattern head tells apart; 0: no such head."""

    def __post_init__(self) -> None:
        if self.kind not in MASKS:
            raise ValueError(f"mask must be one of {', '.join(MASKS)}, got {self.kind!r}")
        if min(self.pyramid, self.smooth, self.decoder, self.cells) < 1:
            raise ValueError("mask widths must be positive")
        if not 0 <= self.patterns <= MAX_GRID:
            raise ValueError(f"--patterns must be 0 (none) to {MAX_GRID}, got {self.patterns}")


@dataclass(frozen=True)
class ArchSpec:
    """Everything that is needed to build a network."""

    name: str
    stem: int
    """Filters of conv1 (3x3)."""
    stages: tuple[StageSpec, ...]
    stem_stride: int = 1
    """1: conv1 keeps the size and every stage halves it. 2: conv1 halves it and the first stage does not, except
    that every stage of inverted blocks does."""
    head: str = "flatten"
    """flatten: BN, linear on the whole top map, BN (as FROM). pool: average pool, linear (the paper's one cell).
    depthwise: depthwise convolution over the whole top map, BN, linear, BN (MobileFaceNet)."""
    embedding: int = 512
    input_size: tuple[int, int] = (112, 96)
    """Height, width in pixels."""
    mask: MaskSpec | None = None
    block: str = "bottle"
    """bottle: 1x1, 3x3. basic: 3x3, 3x3. inverted: 1x1, depthwise 3x3, 1x1."""
    stem_depthwise: bool = False
    """A depthwise 3x3 follows conv1."""
    top: int = 0
    """Filters of a 1x1 after the last stage, whose output is then the top map; 0: none."""

    def __post_init__(self) -> None:
        if self.block not in BLOCKS:
            raise ValueError(f"block must be one of {', '.join(BLOCKS)}, got {self.block!r}")
        if self.stem_stride not in (1, 2):
            raise ValueError(f"--stem-stride must be 1 or 2, got {self.stem_stride}")
        if self.head not in HEADS:
            raise ValueError(f"--head must be one of {', '.join(HEADS)}, got {self.head!r}")
        if min(self.stem, self.embedding) < 1 or self.top < 0 or not self.stages:
            raise ValueError("widths must be positive and there must be a stage")
        if any(side % self.total_stride or side < 1 for side in self.input_size):
            height, width = self.input_size
            raise ValueError(f"--input-size must be multiples of {self.total_stride}, got {height}x{width}")
        if self.mask and len(self.stages) < 3:
            raise ValueError("the mask decoder needs three stages")

    @property
    def total_stride(self) -> int:
        """Pixels of the input per cell of the top map, along a side."""
        return self.stem_stride * math.prod(self.stage_stride(index) for index in range(len(self.stages)))

    @property
    def top_size(self) -> tuple[int, int]:
        """Height and width of the top map: (7, 6) on 112x96, (8, 6) on 128x96."""
        height, width = self.input_size
        return height // self.total_stride, width // self.total_stride

    @property
    def top_channels(self) -> int:
        """Channels of the top map."""
        return self.top or self.stages[-1].out

    @property
    def map_widths(self) -> tuple[int, ...]:
        """Channels of what every stage gives, as `FaceNet.maps`; the last are the top map's."""
        return (*(stage.out for stage in self.stages[:-1]), self.top_channels)

    @property
    def mask_shape(self) -> tuple[int, ...]:
        """Shape of one face's mask: (C, h, w), (1, h, w) or (embedding,).

        Raises:
            ValueError: the network has no mask.
        """
        if self.mask is None:
            raise ValueError("the architecture has no mask")
        if self.mask.kind == "vector":
            return (self.embedding,)
        return (self.top_channels if self.mask.kind == "decoder" else 1, *self.top_size)

    @property
    def deployed(self) -> ArchSpec:
        """What runs on a device: without the training-only pattern head."""
        return replace(self, mask=replace(self.mask, patterns=0)) if self.mask else self

    def stage_stride(self, index: int) -> int:
        """Stride of the first block of a stage."""
        return 1 if index == 0 and self.stem_stride == 2 and self.block != "inverted" else 2

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data. Newer fields are written only where they say something, so that the description of an
        older network, and what is derived from it, stays as it was."""
        data = asdict(self)
        newer = {"block": "bottle", "stem_depthwise": False, "top": 0}
        for key, plain in newer.items():
            if data[key] == plain:
                del data[key]
        if self.mask:
            if self.mask.kind != "vector":
                del data["mask"]["cells"]
            if not self.mask.patterns:
                del data["mask"]["patterns"]
        return data

    @staticmethod
    def from_dict(data: dict[str, Any]) -> ArchSpec:
        """Inverse of `to_dict`; what older files do not hold has its default.

        Raises:
            ArtefactError: the description is not one of a network this version can build.
        """
        try:
            _refuse_unknown(data, ArchSpec)
            mask = data.get("mask")
            return ArchSpec(
                name=str(data["name"]),
                stem=int(data["stem"]),
                stages=tuple(
                    StageSpec(int(stage["out"]), tuple(int(width) for width in stage["inner"]))
                    for stage in data["stages"]
                ),
                stem_stride=int(data["stem_stride"]),
                head=str(data["head"]),
                embedding=int(data["embedding"]),
                input_size=(int(data["input_size"][0]), int(data["input_size"][1])),
                mask=None if mask is None else _mask(mask),
                block=str(data.get("block", "bottle")),
                stem_depthwise=bool(data.get("stem_depthwise", False)),
                top=int(data.get("top", 0)),
            )
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as exc:
            raise ArtefactError(f"the architecture description is damaged or too new: {exc}") from exc


def _mask(data: Mapping[str, Any]) -> MaskSpec:
    _refuse_unknown(data, MaskSpec)
    return MaskSpec(
        kind=str(data["kind"]),
        pyramid=int(data["pyramid"]),
        smooth=int(data["smooth"]),
        decoder=int(data["decoder"]),
        cells=int(data.get("cells", 32)),
        patterns=int(data.get("patterns", 0)),
    )


def _refuse_unknown(data: Mapping[str, Any], kind: type) -> None:
    """A field this version does not know would build another network than the one that was written."""
    unknown = set(data) - {entry.name for entry in fields(kind)}
    if unknown:
        raise ValueError(f"unknown field {sorted(unknown)[0]!r}")
