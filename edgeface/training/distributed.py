"""Several processes under torchrun: found from the environment, one group, the same numbers everywhere."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist

from edgeface_runtime.errors import InputError

__all__ = ["Ranks", "process_group", "ranks_from_environment"]


@dataclass(frozen=True)
class Ranks:
    """This process among the others."""

    rank: int = 0
    world: int = 1
    local: int = 0
    """Place on its machine: which GPU it takes."""

    @property
    def first(self) -> bool:
        """Only the first process writes and shows progress."""
        return self.rank == 0

    def mean(self, values: Iterable[float], device: torch.device) -> list[float]:
        """Average of each value over all processes."""
        numbers = torch.tensor(list(values), dtype=torch.float64, device=device)
        if self.world > 1:
            dist.all_reduce(numbers)
            numbers /= self.world
        return [float(number) for number in numbers]

    def share(self, value: Any) -> Any:
        """The first process's value, for all (JSON-like data)."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def share_tensors(self, tensors: Iterable[Tensor]) -> None:
        """Overwrite tensors by the first process's."""
        if self.world > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def wrap(self, module: nn.Module) -> nn.Module:
        """Average gradients over the processes in every backward."""
        return nn.parallel.DistributedDataParallel(module) if self.world > 1 else module


def ranks_from_environment() -> Ranks:
    """As torchrun sets RANK, WORLD_SIZE and LOCAL_RANK; one process without them."""
    names = ("RANK", "WORLD_SIZE", "LOCAL_RANK")
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return Ranks()
    try:
        rank, world, local = (int(os.environ.get(name, "0")) for name in names)
    except ValueError as exc:
        raise InputError("RANK, WORLD_SIZE and LOCAL_RANK must be numbers: start with torchrun") from exc
    return Ranks(rank, world, local)


@contextmanager
def process_group(ranks: Ranks, device: torch.device) -> Iterator[None]:
    """Join the other processes: nccl between GPUs, gloo between CPUs."""
    if ranks.world == 1 or dist.is_initialized():
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield
    finally:
        dist.destroy_process_group()
