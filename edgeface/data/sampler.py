"""Which face comes when: seeded, evened over people, divisible among processes.

Class sizes are evened out as the paper does before training: in every epoch every person is drawn equally often,
pictures / people times (rounded, at least once). A person's pictures come in shuffled rounds that run on from one
epoch to the next, so none is drawn twice before all of theirs were drawn once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Sampler

__all__ = ["Draw", "EvenBatches", "epoch_order"]


@dataclass(frozen=True)
class Draw:
    """One face of one epoch."""

    epoch: int
    """From 0."""
    position: int
    """Place in the epoch's order over all processes; with the seed and epoch it decides all randomness."""
    index: int
    """Which picture."""


def epoch_order(labels: NDArray[np.int64], seed: int, epoch: int, even: bool = True) -> NDArray[np.int64]:
    """Indices of one epoch's faces in order: a pure function of its arguments.

    `even=False` gives every picture once. Otherwise every label comes max(1, round(pictures / people)) times.
    """
    rng = np.random.default_rng([seed, 10, epoch])
    if not even:
        return rng.permutation(len(labels))
    grouped = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels)
    starts = np.cumsum(sizes) - sizes
    times = max(1, int(len(labels) / len(sizes) + 0.5))
    drawn = [
        grouped[start + _rounds(int(size), times, seed, epoch, label)]
        for label, (start, size) in enumerate(zip(starts, sizes, strict=True))
    ]
    return rng.permutation(np.concatenate(drawn))


def _rounds(size: int, times: int, seed: int, epoch: int, label: int) -> NDArray[np.int64]:
    """Draws epoch * times ... of an endless row of shuffled rounds over `size` pictures."""
    first, last = epoch * times, (epoch + 1) * times
    rounds = range(first // size, (last - 1) // size + 1)
    row = [np.random.default_rng([seed, 11, label, number]).permutation(size) for number in rounds]
    offset = first - rounds.start * size
    return np.concatenate(row)[offset : offset + times]


class EvenBatches(Sampler[list[Draw]]):
    """Batches of draws for one process of `world`; call `set_epoch` before each pass.

    A step takes `batch * world` consecutive positions, of which process `rank` gets the `rank`-th run of `batch`.
    What is left at an epoch's end is dropped; an epoch with less than one step's faces repeats them to fill one.
    """

    def __init__(
        self, labels: NDArray[np.int64], batch: int, seed: int, *, even: bool = True, rank: int = 0, world: int = 1
    ) -> None:
        self.labels, self.batch, self.seed, self.even = labels, batch, seed, even
        self.rank, self.world, self.epoch = rank, world, 0
        self._length = max(1, len(epoch_order(labels, seed, 0, even)) // (batch * world))

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch (from 0) the next pass is for."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Steps in an epoch."""
        return self._length

    def __iter__(self) -> Iterator[list[Draw]]:
        order = epoch_order(self.labels, self.seed, self.epoch, self.even)
        together = self.batch * self.world
        order = np.resize(order, len(self) * together)
        for step in range(len(self)):
            start = step * together + self.rank * self.batch
            yield [Draw(self.epoch, place, int(order[place])) for place in range(start, start + self.batch)]
