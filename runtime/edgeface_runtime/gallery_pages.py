"""Reading rows out of a SQLite file without SQLite: page by page, whatever the pages around them look like.

SQLite stops at the first damaged page and cannot reach what lies under it in the tree. Here every leaf page of every
table is read by itself (sqlite.org/fileformat2.html, 1.6 and 2); a row's own checksum tells whether it is whole.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["Cell", "cells", "page_sizes"]

LEAF = 13
USUAL = 4096
"""Page size of every gallery that edgeface made."""
MAX_CELL_BYTES = 1 << 28
INT_BYTES = (0, 1, 2, 3, 4, 6, 8)
"""Bytes of serial types 1 to 6."""


class Cell(NamedTuple):
    """A row of some table."""

    page: int
    """From 1."""
    row_id: int
    values: tuple[object, ...]
    """As stored: an INTEGER PRIMARY KEY is None here. Text that is no UTF-8 is kept as bytes."""


def page_sizes(path: Path) -> list[int]:
    """Page sizes the file may have: the usual one, and what its header says."""
    with path.open("rb") as stream:
        head = stream.read(18)
    said = int.from_bytes(head[16:18], "big")
    said = 65536 if said == 1 else said
    return [USUAL] if said == USUAL or said < 512 or said & (said - 1) else [USUAL, said]


def cells(path: Path, page_size: int) -> Iterator[Cell]:
    """Every row that can be read; what cannot be is passed over."""
    if path.stat().st_size < page_size:
        return
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        for number in range(1, len(data) // page_size + 1):
            start = (number - 1) * page_size
            head = start + (100 if number == 1 else 0)
            if data[head] != LEAF:
                continue
            page = data[start : start + page_size]
            yield from _page_cells(data, page, number, head - start, page_size)


def _page_cells(data: mmap.mmap, page: bytes, number: int, head: int, size: int) -> Iterator[Cell]:
    count = int.from_bytes(page[head + 3 : head + 5], "big")
    for k in range(min(count, (size - head - 8) // 2)):
        at = int.from_bytes(page[head + 8 + 2 * k : head + 10 + 2 * k], "big")
        try:
            length, at = _varint(page, at)
            row_id, at = _varint(page, at)
            payload = _payload(data, page, at, length, size)
            if payload is not None:
                yield Cell(number, row_id - (1 << 64) if row_id >> 63 else row_id, _record(payload))
        except (IndexError, ValueError):
            continue


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 1 to 9 bytes, and where it ends."""
    value = 0
    for k in range(8):
        byte = data[at + k]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + k + 1
    return value << 8 | data[at + 8], at + 9


def _payload(data: mmap.mmap, page: bytes, at: int, length: int, size: int) -> bytes | None:
    """A row's record, with its overflow pages; None where it is cut."""
    if length > min(MAX_CELL_BYTES, len(data)):
        return None
    local = length
    if length > size - 35:
        least = (size - 12) * 32 // 255 - 23
        local = least + (length - least) % (size - 4)
        if local > size - 35:
            local = least
    parts = [page[at : at + local]]
    if len(parts[0]) != local:
        return None
    left = length - local
    follow = int.from_bytes(page[at + local : at + local + 4], "big") if left else 0
    while left:
        start = (follow - 1) * size
        if follow < 1 or start + size > len(data):
            return None
        part = data[start + 4 : start + 4 + min(left, size - 4)]
        parts.append(part)
        left -= len(part)
        follow = int.from_bytes(data[start : start + 4], "big")
    return b"".join(parts)


def _record(payload: bytes) -> tuple[object, ...]:
    """The columns of a record; raises IndexError or ValueError where it is none."""
    end, at = _varint(payload, 0)
    kinds = []
    while at < end:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    if at != end or len(kinds) > 100:
        raise ValueError("no record")
    values = []
    for kind in kinds:
        value, at = _value(payload, at, kind)
        values.append(value)
    return tuple(values)


def _value(payload: bytes, at: int, kind: int) -> tuple[object, int]:
    if kind == 0:
        return None, at
    if kind in (8, 9):
        return kind - 8, at
    size = (kind - 12) // 2 if kind >= 12 else INT_BYTES[kind]  # no table of ours has numbers with a point
    raw = payload[at : at + size]
    if len(raw) != size:
        raise ValueError("cut")
    if kind < 12:
        return int.from_bytes(raw, "big", signed=True), at + size
    if kind % 2 == 0:
        return raw, at + size
    try:
        return raw.decode(), at + size
    except UnicodeDecodeError:
        return raw, at + size
