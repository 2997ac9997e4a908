"""MXNet's RecordIO files, `train.rec` with `train.idx`, read without MXNet.

A record is magic, length word, data, zeros up to four bytes; all numbers little endian. The upper three bits of the
length word say what part of a record follows (0 all of it, 1 its start, 2 its middle, 3 its end), the lower 29 how
many bytes. A record is in parts where its data held the magic itself: it is left out there and put back on reading.
The data begins with a header of 24 bytes (flag, label, id, id2: u32, f32, u64, u64); a flag above zero says that so
many more labels (f32) follow, which stand in the label's place.

`train.idx` is text, one `key<tab>offset` a line. Without it the records are found by going through the file, and
numbered in its order. Whatever is damaged is listed with the reason, and reading goes on behind it.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

from edgeface_runtime.closing import Closing
from edgeface_runtime.errors import InputError

__all__ = ["MAGIC", "Damage", "Record", "RecordError", "RecordFile"]

MAGIC = 0xCED7230A
_MAGIC = struct.pack("<I", MAGIC)
_WORDS = struct.Struct("<II")
_HEADER = struct.Struct("<IfQQ")
_WHOLE, _START, _MIDDLE, _END = range(4)
_LENGTH = (1 << 29) - 1
_BLOCK = 1 << 20
_PEEK = 512


class RecordError(InputError):
    """A record that cannot be read."""


@dataclass(frozen=True)
class Damage:
    """A part of a record file that cannot be read."""

    where: str
    """The key or the place."""
    reason: str
    """One line."""


@dataclass(frozen=True)
class Record:
    """One record."""

    labels: tuple[float, ...]
    """One label, or as many as the flag says."""
    flag: int
    """0: one label in the header."""
    id: int
    data: bytes
    """What follows the header: a picture, or nothing."""


class RecordFile(Closing):
    """A record file with random access by key; safe to share between threads.

    Args:
        path: the `.rec` file.
        index: the `.idx` file; None: the one beside it, if there is one.

    Attributes:
        offsets: key -> place of the record in the file, in the order of the file.
        damaged: lines of the index and stretches of the file that cannot be used.
        indexed: whether the keys come from an index.

    Raises:
        InputError: no such file, empty, or not a record file; the index that was asked for is missing.
    """

    def __init__(self, path: Path, index: Path | None = None) -> None:
        self.path = path
        self.damaged: list[Damage] = []
        try:
            self._handle = os.open(path, os.O_RDONLY)
        except OSError as exc:
            raise InputError(f"cannot read {path}: {exc.strerror or exc}") from exc
        try:
            self.size = os.fstat(self._handle).st_size
            self._check_start()
            if index is not None and not index.is_file():
                raise InputError(f"index not found: {index}")
            index = index or path.with_suffix(".idx")
            found = self._read_index(index) if index.is_file() else {}
            self.indexed = bool(found)
            self.offsets = found or dict(enumerate(self._scan()))
            ends = [*self.offsets.values(), self.size][1:]
            self._ends = {key: max(end, place) for (key, place), end in zip(self.offsets.items(), ends, strict=True)}
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; nothing can be read afterwards."""
        if self._handle >= 0:
            os.close(self._handle)
        self._handle = -1

    def read(self, key: int) -> Record:
        """The record of a key.

        Raises:
            RecordError: no such key, wrong magic, parts that do not fit together, or a file that ends too early.
        """
        return _parse(self._data(key, None))

    def peek(self, key: int) -> Record:
        """As `read`, with the first bytes of the data only; checks that the whole record is there."""
        data = self._data(key, _PEEK)
        if len(data) >= _HEADER.size and _HEADER.size + 4 * _HEADER.unpack_from(data)[0] + 16 > _PEEK:
            return self.read(key)
        return _parse(data)

    def _check_start(self) -> None:
        start = os.pread(self._handle, 4, 0)
        if not start:
            raise InputError(f"{self.path} is empty")
        if start != _MAGIC and self._find_magic(0, min(self.size, 64 * _BLOCK)) is None:
            raise InputError(f"{self.path} is not a RecordIO file: no record begins in it")

    def _read_index(self, path: Path) -> dict[int, int]:
        try:
            lines = path.read_text(encoding="ascii", errors="replace").splitlines()
        except OSError as exc:
            raise InputError(f"cannot read {path}: {exc.strerror or exc}") from exc
        places: dict[int, int] = {}
        for number, line in enumerate(lines, 1):
            fields = line.split()
            if not fields:
                continue
            if len(fields) != 2 or not all(field.isdecimal() for field in fields):
                self.damaged.append(Damage(f"{path.name} line {number}", f"not 'key offset': {line[:40]!r}"))
            elif int(fields[0]) in places:
                self.damaged.append(Damage(f"{path.name} line {number}", f"key {fields[0]} is there twice"))
            else:
                places[int(fields[0])] = int(fields[1])
        if not places:
            self.damaged.append(Damage(path.name, "no line can be used: the records were found without it"))
        return dict(sorted(places.items(), key=lambda item: item[1]))

    def _scan(self) -> list[int]:
        """Where records begin, found by going through the file."""
        found: list[int] = []
        place: int | None = 0
        while place is not None and place < self.size:
            try:
                end = self._end(place)
                if end < self.size and not self._begins(end) and self._resume(place + 8, end) is not None:
                    raise RecordError("its length is wrong: other records begin within it")
            except RecordError as exc:
                self.damaged.append(Damage(f"byte {place}", str(exc)))
                place = self._resume(place + 1, self.size)
            else:
                found.append(place)
                place = end
        return found

    def _begins(self, place: int) -> bool:
        """Whether a record may begin here."""
        head = os.pread(self._handle, 8, place)
        return len(head) == 8 and head[:4] == _MAGIC and head[7] >> 5 in (_WHOLE, _START)

    def _resume(self, start: int, stop: int) -> int | None:
        """The next place before `stop` where a record may begin."""
        place = self._find_magic(start, stop)
        while place is not None and not self._begins(place):
            place = self._find_magic(place + 1, stop)
        return place

    def _end(self, place: int) -> int:
        """Where the record at `place` ends, its parts walked through."""
        kind, length, place = self._words(place)
        if kind in (_MIDDLE, _END):
            raise RecordError("the end of a record without its start")
        place += length + -length % 4
        while kind in (_START, _MIDDLE):
            kind, length, place = self._words(place)
            if kind in (_WHOLE, _START):
                raise RecordError("a record without its end")
            place += length + -length % 4
        return place

    def _words(self, place: int) -> tuple[int, int, int]:
        """(kind, length, place of the data) of the part at `place`."""
        head = os.pread(self._handle, 8, place)
        if len(head) < 8:
            raise RecordError("the file ends within the record: it is truncated")
        magic, word = _WORDS.unpack(head)
        if magic != MAGIC:
            raise RecordError(f"wrong magic number {magic:#010x}")
        kind, length = word >> 29, word & _LENGTH
        if kind > _END:
            raise RecordError(f"unknown kind of part {kind}")
        if place + 8 + length > self.size:
            raise RecordError("the file ends within the record: it is truncated")
        return kind, length, place + 8

    def _data(self, key: int, limit: int | None) -> bytes:
        if self._handle < 0:
            raise RecordError(f"{self.path} is closed")
        if key not in self.offsets:
            raise RecordError(f"{self.path} has no record {key}")
        place = self.offsets[key]
        parts: list[bytes] = []
        while True:
            kind, length, place = self._words(place)
            if kind in ((_WHOLE, _START) if parts else (_MIDDLE, _END)):
                raise RecordError("a record without its end" if parts else "the end of a record without its start")
            if place + length > self._ends[key]:
                raise RecordError("its length is wrong: it runs into the next record")
            parts.append(os.pread(self._handle, length if limit is None else min(length, limit), place))
            place += length + -length % 4
            if kind in (_WHOLE, _END):
                return _MAGIC.join(parts)

    def _find_magic(self, start: int, stop: int) -> int | None:
        """The next place before `stop` at which the magic stands; lost bytes may have moved it off fours."""
        while start < stop:
            block = os.pread(self._handle, _BLOCK, start)
            at = block.find(_MAGIC)
            if at >= 0:
                return start + at if start + at < stop else None
            start += _BLOCK - len(_MAGIC) + 1
        return None


def _parse(data: bytes) -> Record:
    """A record's data, its header taken off.

    Raises:
        RecordError: shorter than its header.
    """
    if len(data) < _HEADER.size:
        raise RecordError(f"{len(data)} bytes are too few for a header")
    flag, label, number, _ = _HEADER.unpack_from(data)
    if flag == 0:
        return Record((label,), 0, number, data[_HEADER.size :])
    end = _HEADER.size + 4 * flag
    if end > len(data):
        raise RecordError(f"a header with {flag} labels does not fit into {len(data)} bytes")
    return Record(struct.unpack_from(f"<{flag}f", data, _HEADER.size), flag, number, data[end:])
