"""The networks by name; each is one line of numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edgeface.models.spec import MASKS, ArchSpec, MaskSpec, StageSpec
from edgeface_runtime.errors import InputError

__all__ = [
    "ARCHS",
    "build_spec",
    "iresnet18",
    "iresnet50",
    "mobilefacenet",
    "resnet34",
    "scale_width",
    "with_mask",
]

MASK_WIDTH = {"bottle": 256, "basic": 256, "inverted": 64}
"""Widths of the mask's layers at width 1. FROM's 256 alone would cost more than the whole MobileFaceNet."""
CELLS = 32


def scale_width(channels: int, width: float, multiple: int = 8) -> int:
    """`channels` x `width`, rounded to a multiple, at least one multiple."""
    return max(multiple, int(channels * width / multiple + 0.5) * multiple)


def _stages(rows: tuple[tuple[int, int, int, int], ...], width: float) -> tuple[StageSpec, ...]:
    """Rows of (blocks, inner width of the first, of the others, output width)."""
    return tuple(
        StageSpec(
            out=scale_width(out, width),
            inner=(scale_width(first, width), *[scale_width(inner, width)] * (blocks - 1)),
        )
        for blocks, first, inner, out in rows
    )


def iresnet50(width: float = 1.0) -> ArchSpec:
    """The improved ResNet-50 of Liu et al. 2023, Table 1: 20.15 M parameters, 1.59 GMAC at width 1."""
    rows = ((3, 64, 64, 64), (4, 64, 64, 128), (14, 128, 128, 256), (3, 256, 256, 512))
    return ArchSpec("iresnet50", scale_width(64, width), _stages(rows, width))


def iresnet18(width: float = 1.0) -> ArchSpec:
    """The same blocks, two a stage: small enough for tests and for the demo's short training."""
    rows = ((2, 64, 64, 64), (2, 64, 64, 128), (2, 128, 128, 256), (2, 256, 256, 512))
    return ArchSpec("iresnet18", scale_width(64, width), _stages(rows, width))


def resnet34(width: float = 1.0) -> ArchSpec:
    """ResNet-34 (He et al. 2015), with conv1 and head of the others and PReLU: 32.3 M parameters at width 1."""
    rows = ((3, 64, 64, 64), (4, 128, 128, 128), (6, 256, 256, 256), (3, 512, 512, 512))
    return ArchSpec("resnet34", scale_width(64, width), _stages(rows, width), block="basic")


def mobilefacenet(width: float = 1.0) -> ArchSpec:
    """MobileFaceNet (arXiv 1804.07573, Table 1): 999,552 parameters, .19 GMAC at width 1, 128-d.

    Its rows (4,128,1,2) and (2,128,6,1) are one stage here, likewise the next two: they have one size and width.
    """
    rows = ((5, 128, 128, 64), (7, 256, 256, 128), (3, 512, 256, 128))
    return ArchSpec(
        "mobilefacenet",
        scale_width(64, width),
        _stages(rows, width),
        stem_stride=2,
        head="depthwise",
        embedding=128,
        block="inverted",
        stem_depthwise=True,
        top=scale_width(512, width),
    )


ARCHS: dict[str, Callable[[float], ArchSpec]] = {
    "iresnet50": iresnet50,
    "iresnet18": iresnet18,
    "resnet34": resnet34,
    "mobilefacenet": mobilefacenet,
}


def with_mask(spec: ArchSpec, width: float = 1.0, kind: str = "decoder", patterns: int = 0) -> ArchSpec:
    """The same network with a mask of FROM's, its own widths scaled by `width`.

    Raises:
        InputError: an unknown kind, or `patterns` (side of the pattern head's grid) out of range.
    """
    if kind not in MASKS:
        raise InputError(f"unknown --mask {kind!r}: choose none, {', '.join(MASKS)}")
    own = scale_width(MASK_WIDTH[spec.block], width)
    cells = scale_width(CELLS, width) if kind == "vector" else CELLS
    try:
        return replace(spec, mask=MaskSpec(kind, own, own, own, cells, patterns))
    except ValueError as exc:
        raise InputError(str(exc)) from exc


def build_spec(
    arch: str,
    width: float = 1.0,
    *,
    stem_stride: int | None = None,
    head: str | None = None,
    mask: str = "none",
    patterns: int = 0,
    input_size: tuple[int, int] | None = None,
    embedding: int | None = None,
) -> ArchSpec:
    """A network by name and options, in the words of the command line; None: as the architecture has it.

    Args:
        input_size: height and width in pixels, multiples of the network's total stride (16).
        patterns: side K of the grid of the training-only pattern head, with a mask; 0: none.

    Raises:
        InputError: an unknown name or an impossible option; known ones are listed.
    """
    if arch not in ARCHS:
        raise InputError(f"unknown --arch {arch!r}: choose one of {', '.join(ARCHS)}")
    if not 0 < width <= 4:
        raise InputError(f"--width must be above 0 and at most 4, got {width}")
    if mask != "none" and mask not in MASKS:
        raise InputError(f"unknown --mask {mask!r}: choose none, {', '.join(MASKS)}")
    if patterns and mask == "none":
        raise InputError(f"--patterns needs a mask: add --mask {MASKS[0]}")
    spec = ARCHS[arch](width)
    if stem_stride == 1 and spec.block == "inverted":
        raise InputError(f"--stem-stride of {arch} is 2: leave it out")
    try:
        spec = replace(
            spec,
            stem_stride=spec.stem_stride if stem_stride is None else stem_stride,
            head=spec.head if head is None else head,
            embedding=spec.embedding if embedding is None else embedding,
            input_size=spec.input_size if input_size is None else input_size,
        )
    except ValueError as exc:
        raise InputError(str(exc)) from exc
    return spec if mask == "none" else with_mask(spec, width, mask, patterns)
