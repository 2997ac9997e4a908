"""What a segmenter is built from, as data: which pixels of a face are covered, told by a U-Net.

Two variants. `unet-vgg16` is Johnston & Ngxande 2022: a U-Net (Ronneberger et al. 2015) on the 13 convolutions of
VGG16. They name no more than that; ours has batch normalisation, no pretrained weights, and uses the fifth block as
the bottom, so that sides need to be multiples of 16 only. `unet-light` is ours, fit for a device: depthwise-separable
convolutions on half the resolution and below, and the picture itself as the finest skip.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgeface_runtime.align import CROP_SIZE
from edgeface_runtime.errors import InputError

__all__ = ["LEVELS", "SEGMENTERS", "SegmenterSpec", "build_segmenter_spec"]

LEVELS = 5
"""Resolutions: 1, 1/2, 1/4, 1/8 and 1/16 of the picture."""
BLOCKS = ("plain", "separable")


@dataclass(frozen=True)
class SegmenterSpec:
    """Everything that is needed to build a segmenter. Raises ValueError on what cannot be built."""

    arch: str
    block: str
    """plain: 3x3 convolutions, max pooling. separable: 3x3 depthwise and 1x1, strides."""
    widths: tuple[int, ...]
    """Channels at each of the five resolutions, finest first."""
    depths: tuple[int, ...]
    """Convolutions of the encoder at each; separable starts with 0: the picture itself is the finest level."""
    decoder: int
    """Convolutions of the decoder at each of the four finer resolutions."""
    input_size: tuple[int, int] = CROP_SIZE
    """Height, width in pixels, multiples of 16."""

    def __post_init__(self) -> None:
        if self.block not in BLOCKS:
            raise ValueError(f"block must be one of {', '.join(BLOCKS)}, got {self.block!r}")
        if len(self.widths) != LEVELS or min(self.widths) < 1:
            raise ValueError(f"a segmenter has {LEVELS} positive widths, got {self.widths}")
        if len(self.depths) != LEVELS or min(self.depths[1:]) < 1 or self.decoder < 1:
            raise ValueError(f"a segmenter has {LEVELS} positive depths, got {self.depths}")
        if (self.depths[0] == 0) != (self.block == "separable"):
            raise ValueError("the finest encoder level has convolutions in a plain network only")
        if len(self.input_size) != 2 or any(side < 16 or side % 16 for side in self.input_size):
            raise ValueError(f"--input-size must be multiples of 16, such as 112x96, got {self.input_size}")

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return asdict(self)

    @staticmethod
    def from_dict(data: dict[str, Any]) -> SegmenterSpec:
        """Inverse of `to_dict`; raises TypeError or ValueError on what it does not know."""
        values: dict[str, Any] = {
            key: tuple(int(entry) for entry in value) if isinstance(value, list | tuple) else value
            for key, value in data.items()
        }
        return SegmenterSpec(**values)


SEGMENTERS: dict[str, SegmenterSpec] = {
    "unet-light": SegmenterSpec("unet-light", "separable", (8, 24, 48, 96, 160), (0, 2, 2, 3, 3), 1),
    "unet-vgg16": SegmenterSpec("unet-vgg16", "plain", (64, 128, 256, 512, 512), (2, 2, 3, 3, 3), 2),
}
"""The unscaled variants, for 112x96."""


def build_segmenter_spec(arch: str, input_size: tuple[int, int] = CROP_SIZE, width: float = 1.0) -> SegmenterSpec:
    """A variant of `SEGMENTERS`, every width scaled and rounded to a multiple of 8.

    Raises:
        InputError: unknown name, a width outside 1/16..4, or sides that are no multiples of 16.
    """
    if arch not in SEGMENTERS:
        raise InputError(f"unknown --arch {arch!r} of a segmenter: choose one of {', '.join(SEGMENTERS)}")
    if not 1 / 16 <= width <= 4:
        raise InputError(f"--width must be between 0.0625 and 4, got {width}")
    base = SEGMENTERS[arch]
    widths = tuple(max(8, 8 * round(full * width / 8)) for full in base.widths)
    try:
        return SegmenterSpec(arch, base.block, widths, base.depths, base.decoder, input_size)
    except ValueError as exc:
        raise InputError(str(exc)) from exc
