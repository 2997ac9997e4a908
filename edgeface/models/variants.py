"""The networks by name; each is one line of numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from edgeface.models.spec import ArchSpec, MaskSpec, StageSpec
from edgeface_runtime.errors import InputError

__all__ = ["ARCHS", "build_spec", "iresnet18", "iresnet50", "scale_width", "with_mask"]


def scale_width(channels: int, width: float, multiple: int = 8) -> int:
    """`channels` x `width`, rounded to a multiple, at least one multiple."""
    return max(multiple, int(channels * width / multiple + 0.5) * multiple)


def _residual(name: str, stages: tuple[tuple[int, int, int, int], ...], width: float) -> ArchSpec:
    """Stages as (blocks, first inner width, inner width, output width)."""
    return ArchSpec(
        name=name,
        stem=scale_width(64, width),
        stages=tuple(
            StageSpec(
                out=scale_width(out, width),
                inner=(scale_width(first, width), *[scale_width(inner, width)] * (blocks - 1)),
            )
            for blocks, first, inner, out in stages
        ),
    )


def iresnet50(width: float = 1.0) -> ArchSpec:
    """The improved ResNet-50 of Liu et al. 2023, Table 1: 20.15 M parameters, 1.59 GMAC at width 1."""
    return _residual("iresnet50", ((3, 64, 64, 64), (4, 64, 64, 128), (14, 128, 128, 256), (3, 256, 256, 512)), width)


def iresnet18(width: float = 1.0) -> ArchSpec:
    """The same blocks, two a stage: small enough for tests and for the demo's short training."""
    return _residual("iresnet18", ((2, 64, 64, 64), (2, 64, 64, 128), (2, 128, 128, 256), (2, 256, 256, 512)), width)


ARCHS: dict[str, Callable[[float], ArchSpec]] = {"iresnet50": iresnet50, "iresnet18": iresnet18}


def with_mask(spec: ArchSpec, width: float = 1.0) -> ArchSpec:
    """The same network with FROM's mask decoder, its own widths scaled by `width`."""
    return replace(spec, mask=MaskSpec("decoder", *[scale_width(256, width)] * 3))


def build_spec(
    arch: str, width: float = 1.0, *, stem_stride: int = 1, head: str = "flatten", mask: str = "none"
) -> ArchSpec:
    """A network by name and options, in the words of the command line.

    Raises:
        InputError: an unknown name or an impossible option; known ones are listed.
    """
    if arch not in ARCHS:
        raise InputError(f"unknown --arch {arch!r}: choose one of {', '.join(ARCHS)}")
    if not 0 < width <= 4:
        raise InputError(f"--width must be above 0 and at most 4, got {width}")
    if mask not in ("none", "decoder"):
        raise InputError(f"unknown --mask {mask!r}: choose none or decoder")
    try:
        spec = replace(ARCHS[arch](width), stem_stride=stem_stride, head=head)
    except ValueError as exc:
        raise InputError(str(exc)) from exc
    return with_mask(spec, width) if mask == "decoder" else spec
