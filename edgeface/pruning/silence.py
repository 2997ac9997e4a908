"""Forcing channels to zero where removing them would: after BN and PReLU, and in the head's BN.

Zeroing a filter's weights is not enough, because BN's shift and the next block's leading BN bring the channel back.
A network with channels silenced here equals the smaller network without them.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from edgeface.models.iresnet import FaceNet
from edgeface.pruning.groups import top_group

__all__ = ["carriers", "readers", "silenced"]


@contextlib.contextmanager
def silenced(model: FaceNet, removed: dict[str, Tensor]) -> Iterator[None]:
    """While open, the channels `removed[group]` (indices) are zero wherever the group's channels flow."""
    handles = []
    for group, indices in removed.items():
        if len(indices) == 0:
            continue
        for module, repeat in [*carriers(model, group), *readers(model, group)]:
            where = (indices[:, None] * repeat + torch.arange(repeat)).flatten()
            handles.append(module.register_forward_hook(_zero(where)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _zero(indices: Tensor):  # type: ignore[no-untyped-def]
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output.index_fill(1, indices.to(output.device), 0.0)

    return hook


def carriers(model: FaceNet, group: str) -> list[tuple[nn.Module, int]]:
    """Modules whose output is the group's channels as the rest reads them, with the entries each channel takes."""
    spec = model.spec
    places: list[tuple[nn.Module, int]] = []
    if group == "stem":
        places = [(model.stem, 1)]
    elif group.startswith("decoder."):
        places = _mask_places(model, group.removeprefix("decoder."))
    elif group.endswith(".inner"):
        last = {"bottle": "prelu", "basic": "prelu1", "inverted": "prelu2"}[spec.block]
        places = [(model.get_submodule(f"{group.removesuffix('.inner')}.{last}"), 1)]
    elif group == "top":
        assert model.top is not None
        places = [(model.top, 1)]
    else:
        places = [(block, 1) for block in model.get_submodule(f"stages.{_index(group)}").children()]
    return places


def readers(model: FaceNet, group: str) -> list[tuple[nn.Module, int]]:
    """Batch norms that read the group's channels, with the entries a channel takes: their shift outlives a zero."""
    norms: list[tuple[nn.Module, int]] = []
    if group == "stem":
        norms = _leading_norms(model, 0, 0)
    elif group.endswith(".out"):
        norms = _leading_norms(model, _index(group), 1)
        if _index(group) + 1 < len(model.stages):
            norms += _leading_norms(model, _index(group) + 1, 0)
    return norms + _head_places(model) if group == top_group(model.spec) else norms


def _index(group: str) -> int:
    return int(group.split(".")[1])


def _leading_norms(model: FaceNet, stage: int, first: int) -> list[tuple[nn.Module, int]]:
    """The BN that bottle blocks begin with, of the blocks of a stage from `first` on; the first alone for 0."""
    if model.spec.block != "bottle":
        return []
    blocks = list(model.get_submodule(f"stages.{stage}").children())
    return [(block.get_submodule("bn1"), 1) for block in (blocks[first:] if first else blocks[:1])]


def _head_places(model: FaceNet) -> list[tuple[nn.Module, int]]:
    """Where shifts behind the top map would bring its channels back."""
    positions = math.prod(model.spec.top_size)
    places: list[tuple[nn.Module, int]] = []
    if model.spec.head != "pool":
        places.append((model.get_submodule("head.1"), positions if model.spec.head == "flatten" else 1))
    if model.pattern is not None and model.spec.mask and model.spec.mask.kind == "decoder":
        places.append((model.pattern.bn, positions))
    return places


def _mask_places(model: FaceNet, part: str) -> list[tuple[nn.Module, int]]:
    assert model.decoder is not None
    if part == "pyramid":
        return [(lateral, 1) for lateral in model.decoder.lateral]
    return [({"smooth": model.decoder.smooth, "inner": model.decoder.bn, "cells": model.decoder.conv2}[part], 1)]
