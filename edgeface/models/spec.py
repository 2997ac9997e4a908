"""The architecture as data: the width of every convolution, so that any pruned network can be built from its file.

Follows Table 1 of Liu et al. 2023 (right column). `edgeface.models.variants` names the unpruned networks.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgeface_runtime.errors import ArtefactError

__all__ = ["ArchSpec", "MaskSpec", "StageSpec"]

HEADS = ("flatten", "pool")
MASKS = ("decoder",)


@dataclass(frozen=True)
class StageSpec:
    """One stage of residual blocks, each a 1x1 (`inner` filters) followed by a 3x3 (`out` filters)."""

    out: int
    """Channels of the stage's output; the 3x3 of every block and the shortcut share them."""
    inner: tuple[int, ...]
    """Filters of each block's 1x1 convolution; its length is the number of blocks."""

    def __post_init__(self) -> None:
        if not self.inner or min(self.inner) < 1 or self.out < 1:
            raise ValueError(f"a stage needs blocks and positive widths, got {self.inner} -> {self.out}")


@dataclass(frozen=True)
class MaskSpec:
    """The feature mask of FROM: a pyramid over the last three stages and a decoder on its finest level."""

    kind: str = "decoder"
    pyramid: int = 256
    """Channels of the lateral 1x1 convolutions, which are added up."""
    smooth: int = 256
    """Filters of the finest level's 3x3."""
    decoder: int = 256
    """Filters of the decoder's first 3x3; its second has as many as the top map has channels."""

    def __post_init__(self) -> None:
        if self.kind not in MASKS:
            raise ValueError(f"mask must be one of {', '.join(MASKS)}, got {self.kind!r}")
        if min(self.pyramid, self.smooth, self.decoder) < 1:
            raise ValueError("mask widths must be positive")


@dataclass(frozen=True)
class ArchSpec:
    """Everything that is needed to build a network."""

    name: str
    stem: int
    """Filters of conv1 (3x3)."""
    stages: tuple[StageSpec, ...]
    stem_stride: int = 1
    """1: conv1 keeps 112x96 and every stage halves it. 2: conv1 halves it and the first stage does not."""
    head: str = "flatten"
    """flatten: BN, linear on 512x7x6, BN (as FROM). pool: average pool, linear (the paper's one cell)."""
    embedding: int = 512
    input_size: tuple[int, int] = (112, 96)
    """Height, width in pixels."""
    mask: MaskSpec | None = None

    def __post_init__(self) -> None:
        if self.stem_stride not in (1, 2):
            raise ValueError(f"--stem-stride must be 1 or 2, got {self.stem_stride}")
        if self.head not in HEADS:
            raise ValueError(f"--head must be one of {', '.join(HEADS)}, got {self.head!r}")
        if min(self.stem, self.embedding) < 1 or not self.stages:
            raise ValueError("widths must be positive and there must be a stage")
        if any(side % 16 for side in self.input_size):
            raise ValueError(f"input_size must be multiples of 16, got {self.input_size}")
        if self.mask and len(self.stages) < 3:
            raise ValueError("the mask decoder needs three stages")

    @property
    def top_size(self) -> tuple[int, int]:
        """Height and width of the top map: (7, 6) for four stages on 112x96."""
        height, width = self.input_size
        return height >> len(self.stages), width >> len(self.stages)

    def stage_stride(self, index: int) -> int:
        """Stride of the first block of a stage."""
        return 1 if index == 0 and self.stem_stride == 2 else 2

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> ArchSpec:
        """Inverse of `to_dict`.

        Raises:
            ArtefactError: the description is not one of a network this version can build.
        """
        try:
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
                mask=None
                if mask is None
                else MaskSpec(str(mask["kind"]), *(int(mask[key]) for key in ("pyramid", "smooth", "decoder"))),
            )
        except (KeyError, TypeError, ValueError, IndexError) as exc:
            raise ArtefactError(f"the architecture description is damaged or too new: {exc}") from exc
