"""The index of a large gallery in memory: every template's codes, in blocks, with what bounds its score.

A block holds its rows as columns, (E, ROWS): the layout ONNX Runtime multiplies without packing. Blocks may be a
mapped file's; changes stay in memory then. A search works on a view, outside the gallery's lock: it counts only if
the gallery is still in the view's state afterwards, so that what changes in place meanwhile does no harm.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from edgeface_runtime.gallery_changes import State
from edgeface_runtime.gallery_codes import Codes, Floats, Probe, Product, bounds

__all__ = ["ROWS", "DamagedIndexError", "Index", "View"]

ROWS = 32768
"""Rows of a block, 16 MiB at 512 numbers a template: shorter ones are read a third slower."""
GONE = np.float32(-np.inf)
"""The error of a row that was removed: its bound is below every score."""

Block = npt.NDArray[np.int8]


class DamagedIndexError(Exception):
    """A block of the file is not what was written: the index is made anew."""


@dataclass(frozen=True)
class View:
    """What one search works on."""

    state: State
    blocks: tuple[Block, ...]
    ids: npt.NDArray[np.int64]
    """(T,) ascending, as `scale`, `error` and `sums` (T,)."""
    scale: Floats
    error: Floats
    sums: npt.NDArray[np.int32]

    def bounds(self, probe: Probe, product: Product) -> Floats:
        """(T,) float32: no row's score is above."""
        result = np.empty(len(self.ids), np.float32)
        for number, block in enumerate(self.blocks):
            rows = slice(number * ROWS, min((number + 1) * ROWS, len(self.ids)))
            if rows.stop - rows.start < ROWS // 2:  # copying the few there are is cheaper than multiplying all
                block = np.ascontiguousarray(block[:, : rows.stop - rows.start])
            dots = product(probe, block, self.sums[rows])
            result[rows] = bounds(probe, dots, self.scale[rows], self.error[rows])
        return result


@dataclass
class Index:
    """The rows of one state of the gallery. Not safe to share between threads by itself, its views are."""

    embedding_size: int
    state: State
    blocks: list[Block] = field(default_factory=list)
    count: int = 0
    """Rows, those that were removed with them."""
    ids: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    scale: Floats = field(default_factory=lambda: np.empty(0, np.float32))
    error: Floats = field(default_factory=lambda: np.empty(0, np.float32))
    sums: npt.NDArray[np.int32] = field(default_factory=lambda: np.empty(0, np.int32))
    unchecked: dict[int, int] = field(default_factory=dict)
    """Blocks of a file that were not looked at yet: number -> CRC-32."""

    def view(self) -> View:
        """For one search."""
        n = self.count
        return View(self.state, tuple(self.blocks), self.ids[:n], self.scale[:n], self.error[:n], self.sums[:n])

    def living(self) -> int:
        """Rows that were not removed."""
        return int(np.count_nonzero(self.error[: self.count] != GONE))

    def check(self) -> None:
        """Look at the blocks of a file that were not looked at yet.

        Raises:
            DamagedIndexError: one has changed.
        """
        for number in list(self.unchecked):
            self._check(number)

    def _check(self, number: int) -> None:
        wanted = self.unchecked.pop(number, None)
        if wanted is not None and zlib.crc32(self.blocks[number].data) != wanted:
            raise DamagedIndexError(f"block {number} has changed")

    def append(self, ids: npt.NDArray[np.int64], codes: Codes) -> None:
        """Add rows; ids (T,) ascending and above those there are."""
        room = len(self.blocks) * ROWS
        wanted = self.count + len(ids)
        while room < wanted:
            self.blocks.append(np.zeros((self.embedding_size, ROWS), np.int8))
            room += ROWS
        if len(self.ids) < wanted:
            for name in ("ids", "scale", "error", "sums"):
                old = getattr(self, name)
                grown = np.empty(max(room, len(old) + len(old) // 4), old.dtype)
                grown[: self.count] = old[: self.count]
                setattr(self, name, grown)
        done = 0
        while done < len(ids):
            number, column = divmod(self.count, ROWS)
            some = slice(done, min(len(ids), done + ROWS - column))
            self._check(number)
            size = some.stop - some.start
            self.blocks[number][:, column : column + size] = codes.codes[some].T
            rows = slice(self.count, self.count + size)
            self.ids[rows], self.scale[rows] = ids[some], codes.scale[some]
            self.error[rows], self.sums[rows] = codes.error[some], codes.sums[some]
            self.count += size
            done = some.stop

    def replace(self, ids: npt.NDArray[np.int64], codes: Codes) -> None:
        """Give rows that are there other codes; ids (T,), in the order of `codes`."""
        for k, row in enumerate(self.positions(ids)):
            number, column = divmod(int(row), ROWS)
            self._check(number)
            self.blocks[number][:, column] = codes.codes[k]
            self.scale[row], self.error[row], self.sums[row] = codes.scale[k], codes.error[k], codes.sums[k]

    def remove(self, ids: npt.NDArray[np.int64]) -> None:
        """Take rows out of every search; ids (T,)."""
        self.error[self.positions(ids)] = GONE

    def forget(self) -> None:
        """Overwrite the codes of rows that were removed; the blocks must have been looked at (`check`)."""
        gone = np.flatnonzero(self.error[: self.count] == GONE)
        for number in np.unique(gone // ROWS):
            self.blocks[number][:, gone[gone // ROWS == number] % ROWS] = 0
        self.scale[gone], self.sums[gone] = 0, 0

    def positions(self, ids: npt.NDArray[np.int64]) -> npt.NDArray[np.intp]:
        """Where rows of these ids (T,) are; those that are not there are left out."""
        there = self.ids[: self.count]
        found = np.searchsorted(there, ids)
        inside = found < self.count
        found, ids = found[inside], ids[inside]
        return np.asarray(found[there[found] == ids], np.intp)
