"""Reading a write-ahead log without SQLite (sqlite.org/fileformat2.html, 4), to notice what SQLite passes over.

SQLite drops a log from its first damaged frame on, without a word. That is right after a power cut, which tore the
last transaction before anybody was told of it; where other transactions follow, they were acknowledged. Each frame
can be checked by itself, since its checksum starts from the one stored in the frame before it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np

__all__ = ["Log", "read_log"]

HEADER_BYTES = 32
FRAME_BYTES = 24
MAGIC = 0x377F0682
"""With its last bit set, checksums are over big-endian numbers."""
MASK = 0xFFFFFFFF
USUAL = 4096
TRIES = 5
"""Readings that a writer who begins the log anew may spoil."""


@dataclass
class Log:
    """A write-ahead log beside a database."""

    frames: int = 0
    """Of the transactions SQLite will use."""
    damaged: bool = False
    """Whether transactions that were acknowledged come after damage: SQLite will lose them."""
    places: dict[int, int] = field(default_factory=dict)
    """Page -> offset in the log of its last content, of acknowledged transactions."""


def read_log(path: Path) -> Log:
    """Read the log; an empty one where there is none.

    Raises:
        OSError: it cannot be read.
    """
    for _ in range(TRIES):
        if not path.exists() or path.stat().st_size < HEADER_BYTES + FRAME_BYTES:
            return Log()
        with path.open("rb") as stream:
            head = stream.read(HEADER_BYTES)
            log = _read(stream, head)
            stream.seek(0)
            if not log.damaged or stream.read(HEADER_BYTES) == head:
                return log
    return Log()


def _read(stream: BinaryIO, head: bytes) -> Log:
    magic, _, size, _, salt_1, salt_2, *stored = struct.unpack(">8I", head)
    order = ">u4" if magic & 1 else "<u4"
    sound = magic & ~1 == MAGIC and (seed := _checksum(head[:24], order, (0, 0))) == tuple(stored)
    if not sound:  # the frames tell whether it was a log
        order, size, seed = "<u4", USUAL, (0, 0)
        salt_1, salt_2 = struct.unpack(">2I", stream.read(FRAME_BYTES)[8:16])
        stream.seek(HEADER_BYTES)
    log = Log()
    pending: dict[int, int] = {}
    tail: dict[int, int] = {}
    number, commits, whole = 0, 0, sound
    while len(frame := stream.read(FRAME_BYTES + size)) == FRAME_BYTES + size:
        page, commit, *rest = struct.unpack(">6I", frame[:FRAME_BYTES])
        number += 1
        if rest[:2] != [salt_1, salt_2]:  # damaged, or of before the log was begun anew
            seed, whole = (rest[2], rest[3]), False
            continue
        right = _checksum(frame[:8] + frame[FRAME_BYTES:], order, seed) == (rest[2], rest[3])
        seed, whole = (rest[2], rest[3]), whole and right
        pending[page] = stream.tell() - size
        if not commit:
            continue
        if whole:
            log.frames = number
            log.places |= pending
        else:
            commits += right
            tail |= pending
        pending = {}
    # The first of these may have been torn; one that follows it was begun after that was acknowledged.
    if commits > 1:
        log.damaged = True
        log.places |= tail
    return log


def _checksum(data: bytes, order: str, seed: tuple[int, int]) -> tuple[int, int]:
    one, two = seed
    words = np.frombuffer(data, order).tolist()
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + two) & MASK
        two = (two + second + one) & MASK
    return one, two
