"""Taking whole residual blocks out of a network: depth, where the other parts of pruning take width.

A block can go where its shortcut is the identity, so every block of a stage but its first. The blocks behind it move
up, in the architecture and in the names of the tensors, so the result is an ordinary network with fewer blocks.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace

from edgeface.models.iresnet import FaceNet
from edgeface.models.spec import ArchSpec

__all__ = ["bypassed", "drop_blocks", "left_blocks", "removable", "without_blocks"]

BLOCK = re.compile(r"(stages\.(\d+))\.(\d+)\.(.*)")


def removable(spec: ArchSpec) -> list[str]:
    """Names of the blocks whose shortcut is the identity, such as `stages.2.5`."""
    return [
        f"stages.{index}.{number}" for index, stage in enumerate(spec.stages) for number in range(1, len(stage.inner))
    ]


def without_blocks(spec: ArchSpec, blocks: Collection[str]) -> ArchSpec:
    """The architecture without those blocks.

    Raises:
        ValueError: one of them cannot go.
    """
    if unknown := set(blocks) - set(removable(spec)):
        raise ValueError(f"{sorted(unknown)[0]} cannot be removed: its shortcut is not the identity")
    stages = tuple(
        replace(
            stage,
            inner=tuple(w for number, w in enumerate(stage.inner) if f"stages.{index}.{number}" not in blocks),
        )
        for index, stage in enumerate(spec.stages)
    )
    return replace(spec, stages=stages)


def left_blocks(spec: ArchSpec, gone: Collection[str]) -> dict[str, str]:
    """Every block that stays: its name afterwards -> its name now."""
    found = {}
    for index, stage in enumerate(spec.stages):
        kept = [name for number in range(len(stage.inner)) if (name := f"stages.{index}.{number}") not in gone]
        found.update({f"stages.{index}.{number}": name for number, name in enumerate(kept)})
    return found


def drop_blocks(model: FaceNet, blocks: Collection[str]) -> FaceNet:
    """A new network without those blocks, the rest as it was, in evaluation mode; raises as `without_blocks`."""
    smaller = FaceNet(without_blocks(model.spec, blocks))
    state = {}
    for name, tensor in model.state_dict().items():
        match = BLOCK.fullmatch(name)
        if match is not None:
            stage, _, number, rest = match.groups()
            if f"{stage}.{number}" in blocks:
                continue
            gone = sum(f"{stage}.{before}" in blocks for before in range(int(number)))
            name = f"{stage}.{int(number) - gone}.{rest}"
        state[name] = tensor.detach().cpu().clone()
    smaller.load_state_dict(state)
    return smaller.eval()


@contextmanager
def bypassed(model: FaceNet, block: str) -> Iterator[None]:
    """While open, the block gives back what goes in, as if it were not there."""
    handle = model.get_submodule(block).register_forward_hook(lambda module, inputs, output: inputs[0])
    try:
        yield
    finally:
        handle.remove()
