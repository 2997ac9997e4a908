"""How the groups and blocks of a network that lost some already were called at first."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from edgeface.models.spec import ArchSpec
from edgeface.pruning.depth import left_blocks
from edgeface.pruning.groups import groups

__all__ = ["Origin"]


@dataclass(frozen=True)
class Origin:
    """What earlier steps began with and did."""

    spec: ArchSpec
    """The network before the first step."""
    blocks: dict[str, str]
    """Block of the present network -> its name in that one."""
    spent: dict[str, float]
    """Group of that one -> loss of the steps so far."""
    kept: dict[str, Tensor]
    """Group of that one -> sorted indices of its channels that stayed, where its block did."""

    @staticmethod
    def of(spec: ArchSpec) -> Origin:
        """Before the first step."""
        whole = groups(spec)
        return Origin(
            spec,
            left_blocks(spec, ()),
            {part.name: 0.0 for part in whole},
            {part.name: torch.arange(part.width) for part in whole},
        )

    def name(self, group: str) -> str:
        """The first name of a group of the present network."""
        block = group.removesuffix(".inner")
        return self.blocks[block] + ".inner" if group.endswith(".inner") and block in self.blocks else group
