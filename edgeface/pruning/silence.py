"""Forcing channels to zero where removing them would: after BN and PReLU, and in the head's BN.

Zeroing a filter's weights is not enough, because BN's shift and the next block's leading BN bring the channel back.
A network with channels silenced here equals the smaller network without them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from edgeface.models.iresnet import FaceNet

__all__ = ["silenced"]


@contextlib.contextmanager
def silenced(model: FaceNet, removed: dict[str, Tensor]) -> Iterator[None]:
    """While open, the channels `removed[group]` (indices) are zero wherever the group's channels flow."""
    handles = []
    for group, indices in removed.items():
        if len(indices) == 0:
            continue
        for module, repeat in _places(model, group):
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


def _places(model: FaceNet, group: str) -> list[tuple[nn.Module, int]]:
    """Modules whose output carries the group's channels, with the entries each channel takes."""
    last = len(model.stages) - 1
    if group == "stem":
        return [(model.stem, 1), (model.get_submodule("stages.0.0.bn1"), 1)]
    if group.startswith("decoder."):
        assert model.decoder is not None
        part = group.removeprefix("decoder.")
        if part == "pyramid":
            return [(lateral, 1) for lateral in model.decoder.lateral]
        return [(model.decoder.smooth if part == "smooth" else model.decoder.bn, 1)]
    if group.endswith(".inner"):
        return [(model.get_submodule(group.removesuffix(".inner") + ".prelu"), 1)]
    index = int(group.split(".")[1])
    blocks = list(model.get_submodule(f"stages.{index}").children())
    places: list[tuple[nn.Module, int]] = [(block.get_submodule("bn3"), 1) for block in blocks]
    places.append((blocks[0].get_submodule("shortcut"), 1))
    places += [(block.get_submodule("bn1"), 1) for block in blocks[1:]]
    if index < last:
        places.append((model.get_submodule(f"stages.{index + 1}.0.bn1"), 1))
    elif model.spec.head == "flatten":
        places.append((model.get_submodule("head.1"), model.spec.top_size[0] * model.spec.top_size[1]))
    return places
