"""What a part of a network gives for many faces: kept, or where it is large made again, some faces at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Union

import torch
from torch import Tensor, nn

__all__ = ["CHUNK", "Again", "Maps", "call", "run"]

CHUNK = 32
"""Faces at a time."""


Maps = Union[Tensor, "Again"]


@dataclass(frozen=True)
class Again:
    """A module's maps of (N, ...) inputs, computed whenever some are looked at: a stem's take 3 MB a face."""

    module: nn.Module
    inputs: Maps

    @property
    def device(self) -> torch.device:
        return self.inputs.device

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, some: slice) -> Tensor:
        found: Tensor = self.module(self.inputs[some])
        return found


def run(module: nn.Module, part: str, inputs: Sequence[Maps]) -> Tensor:
    """What a part gives for all faces."""
    return torch.cat([call(module, part, inputs, at) for at in range(0, len(inputs[0]), CHUNK)])


def call(module: nn.Module, part: str, inputs: Sequence[Maps], at: int) -> Tensor:
    """The same for CHUNK faces from the `at`th on."""
    some = [value[at : at + CHUNK] for value in inputs]
    found: Tensor = module(some) if part == "decoder" else module(*some)
    return found
