"""The index file beside a large gallery, `GALLERY.index`: deleted, it is made anew from the gallery.

4096 bytes of header (one line of JSON, which carries the CRC-32 of itself and of the rows), the blocks of codes,
then ids, scales, errors, sums and the blocks' CRC-32. It is mapped, so that opening reads the rows only; a block is
looked at when it is searched first. It is written under a temporary name and renamed; only `erase` writes into it,
to take people out.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeface_runtime.files import atomic_path, flush, remove_part
from edgeface_runtime.gallery_changes import State
from edgeface_runtime.gallery_index import GONE, ROWS, DamagedIndexError, Index

__all__ = ["erase", "index_path", "load", "remove", "save"]

FORMAT = "edgeface-index-1"
HEADER_BYTES = 4096
ARRAYS = (("ids", "<i8"), ("scale", "<f4"), ("error", "<f4"), ("sums", "<i4"))


def index_path(gallery: Path) -> Path:
    """Where the index of a gallery lies."""
    return gallery.with_name(gallery.name + ".index")


def save(path: Path, index: Index) -> None:
    """Write the index: all of it, or what was there stays. Codes of rows that were removed are zeroed first.

    Raises:
        InputError: it cannot be written.
    """
    index.check()
    index.forget()
    used = -(-index.count // ROWS)
    checks = np.array([zlib.crc32(block.data) for block in index.blocks[:used]], "<u4")
    arrays = [getattr(index, name)[: index.count].astype(kind, copy=False) for name, kind in ARRAYS]
    tail = b"".join(array.tobytes() for array in [*arrays, checks])
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        stream.write(_header(index.embedding_size, index.count, index.state, tail))
        for block in index.blocks[:used]:
            stream.write(block.data)
        stream.write(tail)


def _header(size: int, count: int, state: State, tail: bytes) -> bytes:
    fields: dict[str, Any] = {"format": FORMAT, "embedding_size": size, "count": count, "state": list(state)}
    fields["rows_crc32"] = zlib.crc32(tail)
    fields["crc32"] = _crc(fields)
    return json.dumps(fields).encode().ljust(HEADER_BYTES - 1) + b"\n"


def _crc(fields: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps({key: fields[key] for key in sorted(fields) if key != "crc32"}).encode())


def load(path: Path, embedding_size: int) -> Index:
    """Map the file.

    Raises:
        FileNotFoundError: there is none.
        DamagedIndexError: it is cut, changed, or of another make.
        OSError: it cannot be read.
    """
    fields, tail = _read(path)
    count = int(fields["count"])
    if fields["embedding_size"] != embedding_size:
        raise DamagedIndexError("it is of another gallery")
    index = Index(embedding_size, State(*fields["state"]), count=count)
    blocks = -(-count // ROWS)
    if blocks:
        codes = np.memmap(path, np.int8, "c", HEADER_BYTES, (blocks, embedding_size, ROWS))
        index.blocks = list(np.asarray(codes))
    start = 0
    for name, kind in ARRAYS:
        array = np.frombuffer(tail, kind, count, start).copy()
        setattr(index, name, array)
        start += array.nbytes
    index.unchecked = dict(enumerate(np.frombuffer(tail, "<u4", blocks, start).tolist()))
    return index


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    """The header and the rows, both checked."""
    with path.open("rb") as stream:
        try:
            fields = json.loads(stream.read(HEADER_BYTES))
            if fields["format"] != FORMAT or fields["crc32"] != _crc(fields):
                raise DamagedIndexError("its header has changed")
        except (ValueError, KeyError, TypeError) as exc:
            raise DamagedIndexError("its header has changed") from exc
        blocks = -(-int(fields["count"]) // ROWS)
        start = HEADER_BYTES + blocks * int(fields["embedding_size"]) * ROWS
        size = int(fields["count"]) * sum(np.dtype(kind).itemsize for _, kind in ARRAYS) + 4 * blocks
        if os.fstat(stream.fileno()).st_size != start + size:
            raise DamagedIndexError("it is cut")
        stream.seek(start)
        tail = stream.read(size)
    if zlib.crc32(tail) != fields["rows_crc32"]:
        raise DamagedIndexError("its rows have changed")
    return fields, tail


def erase(path: Path, gone: Callable[[State], list[int] | None]) -> None:
    """Overwrite the codes of templates that are no more, to the disk.

    Args:
        path: the file; one that is damaged or not of the gallery's past is removed.
        gone: the file's state -> ids deleted or replaced since; None where it is not of the gallery's past.

    Raises:
        OSError: it can neither be written nor removed.
    """
    remove_part(path)
    try:
        fields, tail = _read(path)
        ids = gone(State(*fields["state"]))
        if ids is None:
            raise DamagedIndexError("it is of another gallery")
        _overwrite(path, fields, bytearray(tail), np.array(ids, np.int64))
    except FileNotFoundError:
        return
    except (DamagedIndexError, OSError):
        remove(path)


def remove(path: Path) -> None:
    """Remove the file, and what a killed run left of it, to the disk: a power cut must not bring codes back.

    Raises:
        OSError: it cannot be removed.
    """
    remove_part(path)
    path.unlink(missing_ok=True)
    flush(path.parent)


def _overwrite(path: Path, fields: dict[str, Any], tail: bytearray, ids: npt.NDArray[np.int64]) -> None:
    count, size = int(fields["count"]), int(fields["embedding_size"])
    there, scale, error, sums = _arrays(tail, count)
    rows = np.flatnonzero(np.isin(there, ids) & (error != GONE))
    if not len(rows):
        return
    blocks = -(-count // ROWS)
    checks = np.frombuffer(tail, "<u4", blocks, len(tail) - 4 * blocks)
    codes = np.memmap(path, np.int8, "r+", HEADER_BYTES, (blocks, size, ROWS))
    for number in np.unique(rows // ROWS):
        known = zlib.crc32(codes[number]) == checks[number]
        codes[number][:, rows[rows // ROWS == number] % ROWS] = 0
        if known:  # else its damage must stay visible
            checks[number] = zlib.crc32(codes[number])
    scale[rows], error[rows], sums[rows] = 0, GONE, 0
    codes.flush()
    with contextlib.closing(os.fdopen(os.open(path, os.O_RDWR), "r+b")) as stream:
        stream.write(_header(size, count, State(*fields["state"]), bytes(tail)))
        stream.seek(HEADER_BYTES + blocks * size * ROWS)
        stream.write(tail)
        stream.flush()
        os.fsync(stream.fileno())


def _arrays(tail: bytearray, count: int) -> list[npt.NDArray[Any]]:
    arrays, start = [], 0
    for _, kind in ARRAYS:
        arrays.append(np.frombuffer(tail, kind, count, start))
        start += arrays[-1].nbytes
    return arrays
