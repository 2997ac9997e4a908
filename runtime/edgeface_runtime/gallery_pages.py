"""Reading rows out of a SQLite file without SQLite: page by page, whatever the pages around them look like.

SQLite stops at the first damaged page and cannot reach what lies under it in the tree. Here every leaf page of every
table is read by itself (sqlite.org/fileformat2.html, 1.6 and 2); a row's own checksum tells whether it is whole.
"""

from __future__ import annotations

import contextlib
import mmap
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from edgeface_runtime.gallery_wal import read_log

__all__ = ["Cell", "cells", "index_entries", "page_sizes"]

LEAF = 13
INDEX = (10, 2)
"""Leaves of indexes, and what is above them."""
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


class _Pages:
    """The pages of a database, the log's instead where it has them."""

    def __init__(self, data: mmap.mmap, size: int, log: mmap.mmap | None, places: dict[int, int]) -> None:
        self.size = size
        self.count = max(len(data) // size, *places, 0)
        self._data, self._log, self._places = data, log, places

    def __getitem__(self, number: int) -> bytes:
        """A page, from 1; empty where there is none."""
        place = self._places.get(number)
        if self._log is not None and place is not None:
            return self._log[place : place + self.size]
        return self._data[(number - 1) * self.size : number * self.size] if number > 0 else b""


def cells(path: Path, page_size: int) -> Iterator[Cell]:
    """Every row of a database and its log that can be read; what cannot be is passed over."""
    for pages, number, page in _pages(path, page_size):
        head = 100 if number == 1 else 0
        if page[head] == LEAF:
            for at in _starts(page, head, 8):
                with contextlib.suppress(IndexError, ValueError):
                    length, at = _varint(page, at)
                    row_id, at = _varint(page, at)
                    values = _record(_payload(pages, page, at, length, pages.size - 35))
                    yield Cell(number, row_id - (1 << 64) if row_id >> 63 else row_id, values)


def index_entries(path: Path, page_size: int) -> Iterator[tuple[object, ...]]:
    """Every entry of every index that can be read: its columns and the row's id. Nothing vouches for it."""
    most = (page_size - 12) * 64 // 255 - 23
    for pages, _, page in _pages(path, page_size):
        if page[0] in INDEX:
            for at in _starts(page, 0, 8 if page[0] == INDEX[0] else 12):
                with contextlib.suppress(IndexError, ValueError):
                    length, at = _varint(page, at if page[0] == INDEX[0] else at + 4)
                    yield _record(_payload(pages, page, at, length, most))


def _pages(path: Path, page_size: int) -> Iterator[tuple[_Pages, int, bytes]]:
    log = path.with_name(path.name + "-wal")
    if path.stat().st_size < page_size:  # nor can an empty file be mapped
        return
    places = read_log(log).places
    with contextlib.ExitStack() as stack:
        data = stack.enter_context(_mapped(path))
        mapped = stack.enter_context(_mapped(log)) if places else None
        pages = _Pages(data, page_size, mapped, places)
        for number in range(1, pages.count + 1):
            page = pages[number]
            if len(page) == page_size:
                yield pages, number, page


def _starts(page: bytes, head: int, length: int) -> list[int]:
    """Where a page's cells begin, by its header of that length."""
    count = int.from_bytes(page[head + 3 : head + 5], "big")
    first = head + length
    places = range(first, min(first + 2 * count, len(page) - 1), 2)
    return [int.from_bytes(page[at : at + 2], "big") for at in places]


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    with path.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A number of 1 to 9 bytes, and where it ends."""
    value = 0
    for k in range(8):
        byte = data[at + k]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + k + 1
    return value << 8 | data[at + 8], at + 9


def _payload(pages: _Pages, page: bytes, at: int, length: int, most: int) -> bytes:
    """A record with its overflow pages; `most`: bytes of it that fit its own page. ValueError where it is cut."""
    size = pages.size
    if length > min(MAX_CELL_BYTES, pages.count * size):
        raise ValueError("too long")
    local = length
    if length > most:
        least = (size - 12) * 32 // 255 - 23
        local = least + (length - least) % (size - 4)
        if local > most:
            local = least
    parts = [page[at : at + local]]
    left = length - local
    follow = int.from_bytes(page[at + local : at + local + 4], "big")
    while left:
        more = pages[follow]
        if len(more) != size:
            raise ValueError("cut")
        parts.append(more[4 : 4 + left])
        left -= len(parts[-1])
        follow = int.from_bytes(more[:4], "big")
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
