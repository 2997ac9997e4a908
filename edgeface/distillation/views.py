"""Views of faces, made by tensor operations on any device: mixed, covered, bent, turned and tinted.

Faces are aligned, so mixing two of them, in parts that change smoothly over the picture, gives another face; the
teacher says whose. That and the bending stand for the many people a small set of faces lacks (a patient and
consistent teacher, arXiv 2106.05237: both networks see the same view).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Generator, Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from edgeface.distillation.covers import Covers, brightness
from edgeface.distillation.settings import DistillSettings
from edgeface.training.step import to_input

__all__ = ["Views", "make_views"]

Uniform = Callable[..., Tensor]
"""(low, high, *shape) -> (B, *shape) float32."""


class Views(NamedTuple):
    """One batch."""

    clean: Tensor
    """(B, 3, H, W) float32 RGB in [-1, 1]: what the teacher sees."""
    seen: Tensor
    """The same with the first part of the batch covered: what the student sees."""
    pattern: Tensor
    """(B,) int64: the occlusion pattern, 0 for none."""


def make_views(faces: Tensor, covers: Covers | None, settings: DistillSettings, generator: Generator) -> Views:
    """Draw a batch.

    Args:
        faces: (N, H, W, 3) uint8 BGR on the device that `generator` and `covers` are on.
        covers: None where nothing is to be covered.
    """
    batch, device = settings.batch, faces.device

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return torch.rand(batch, *shape, generator=generator, device=device) * (high - low) + low

    def some() -> Tensor:
        chosen = torch.randint(len(faces), (batch,), generator=generator, device=device)
        return _mirrored(to_input(faces[chosen]), uniform(0, 1) < 0.5)

    clean = some()
    if settings.mixed_part:
        knots = torch.randn(batch, 1, 5, 4, generator=generator, device=device)
        weight = uniform(0, 1, 1, 1, 1) + 0.4 * _smooth(knots, clean)
        weight = torch.where(uniform(0, 1, 1, 1, 1) < settings.mixed_part, weight.clamp(0, 1), 1.0)
        clean = torch.lerp(some(), clean, weight)
    # All that makes the clean view is drawn before the covers: covered or not, a seed gives the same clean views.
    grid = _grid(settings, uniform, torch.randn(batch, 2, 5, 4, generator=generator, device=device), clean)
    light = _light(settings, uniform)
    seen, pattern = clean, torch.zeros(batch, dtype=torch.int64, device=device)
    count = round(batch * settings.covered_part)
    if covers is not None and count:
        chosen = torch.randint(len(covers), (count,), generator=generator, device=device)
        mirror = uniform(0, 1)[:count] < 0.5
        colour = _mirrored(covers.colour[chosen].flip(3).permute(0, 3, 1, 2), mirror).float() / 127.5
        colour = colour * brightness(clean[:count])[:, None, None, None]
        through = _mirrored(covers.through[chosen][:, None], mirror).float() / 255
        seen = torch.cat([((clean[:count] + 1) * through + colour - 1).clamp(-1, 1), clean[count:]])
        pattern[:count] = covers.pattern[chosen].gather(1, mirror.long()[:, None])[:, 0]

    both = grid_sample(torch.cat([clean, seen], 1), grid, padding_mode="border", align_corners=False)
    both = _tinted(both, light)
    return Views(both[:, :3], both[:, 3:], pattern)


def _mirrored(pictures: Tensor, which: Tensor) -> Tensor:
    return torch.where(which[:, None, None, None], pictures.flip(3), pictures)


def _smooth(knots: Tensor, like: Tensor) -> Tensor:
    return interpolate(knots, like.shape[2:], mode="bicubic", align_corners=True)


def _grid(settings: DistillSettings, uniform: Uniform, knots: Tensor, like: Tensor) -> Tensor:
    """Where every pixel is taken from, (B, H, W, 2) in [-1, 1]."""
    height, width = like.shape[2:]
    angle = uniform(-settings.turn_deg, settings.turn_deg) * (torch.pi / 180)
    size = uniform(1 - settings.zoom, 1 + settings.zoom)
    sine, cosine = torch.sin(angle) * size, torch.cos(angle) * size
    right, down = (uniform(-2 * settings.shift, 2 * settings.shift) for _ in range(2))
    rows = [cosine, -sine * height / width, right, sine * width / height, cosine, down]
    grid = affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(like.shape), align_corners=False)
    return grid + settings.bend * _smooth(knots, like).permute(0, 2, 3, 1)


class _Light(NamedTuple):
    grey: Tensor
    """(B, 1, 1, 1) bool."""
    gain: Tensor
    """(B, 3, 1, 1)."""
    shift: Tensor
    """(B, 1, 1, 1)."""


def _light(settings: DistillSettings, uniform: Uniform) -> _Light:
    amount = settings.colour
    grey = uniform(0, 1, 1, 1, 1) < 0.1
    gain = uniform(1 - amount, 1 + amount, 1, 1, 1) * uniform(1 - amount / 3, 1 + amount / 3, 3, 1, 1)
    return _Light(grey, gain, uniform(-amount, amount, 1, 1, 1))


def _tinted(both: Tensor, light: _Light) -> Tensor:
    """Clean and seen picture under the same light."""
    grey = torch.cat([part.mean(1, keepdim=True).expand_as(part) for part in both.chunk(2, 1)], 1)
    both = torch.where(light.grey, grey, both)
    return (both * light.gain.repeat(1, 2, 1, 1) + light.shift).clamp(-1, 1)
