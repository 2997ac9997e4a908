"""What can be read of a damaged gallery: every row whose checksum holds, and what is known of the others."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass, field
from pathlib import Path

from edgeface_runtime.errors import ArtefactError
from edgeface_runtime.gallery_layout import ENCRYPTED_BY, NOT_SPARED, SEALED, digest
from edgeface_runtime.gallery_pages import Cell, cells, index_entries, page_sizes
from edgeface_runtime.gallery_store import FORMAT
from edgeface_runtime.gallery_templates import stack

__all__ = ["Salvage", "is_ours", "salvage", "scan"]

Values = tuple[object, ...]
MOST_IDS = 1 << 40
"""Larger ids than any gallery's are damage."""


@dataclass
class Salvage:
    """What was found in a file. Rows: table -> id -> the columns between id and checksum."""

    meta: dict[str, str] = field(default_factory=dict)
    rows: dict[str, dict[int, Values]] = field(default_factory=lambda: {table: {} for table in SEALED})
    doubtful: dict[int, str | None] = field(default_factory=dict)
    """Ids of templates that were there and are not whole -> name, where that can be read."""
    last_id: int = 0
    """Last id that was given to a template, as far as known."""
    unsealed: bool = False
    """The gallery is of version 1: its rows have no checksum, templates are taken that are unit vectors."""


def is_ours(path: Path) -> bool:
    """Whether a file that cannot be opened holds at least one row that edgeface wrote."""
    rows = (cell for size in page_sizes(path) for cell in cells(path, size))
    return any(cell.values == ("format", FORMAT) or _table_of(cell) is not None for cell in rows)


def _table_of(cell: Cell) -> str | None:
    """Whose row it is by its checksum; None where it is none, or not whole."""
    values = cell.values
    if len(values) < 3 or values[0] is not None or not isinstance(values[-1], bytes):
        return None
    return next((table for table in SEALED if digest(table, cell.row_id, *values[1:-1]) == values[-1]), None)


def salvage(path: Path) -> Salvage:
    """Read what is whole in a gallery, which nobody else uses, and its log.

    Raises:
        ArtefactError: nothing says which model the templates are of.
    """
    found = scan(path)
    spare = found.rows["spare"].get(1)
    if spare is not None:
        found.meta = {str(key): str(value) for key, value in json.loads(str(spare[0])).items()}
    meta = found.meta
    if meta.get("format") != FORMAT or not meta.get("model_id") or not meta.get("embedding_size", "").isdigit():
        raise ArtefactError(f"{path}: nothing in it says which model made it: restore a backup")
    _ask_index(path, found)
    if meta.get("version") == "1":
        _take_unsealed(path, found)
    for row_id in found.rows["templates"]:
        found.doubtful.pop(row_id, None)
    if ENCRYPTED_BY in meta:  # what stands for a name there says nothing
        found.doubtful = dict.fromkeys(found.doubtful)
    given = [found.last_id, *found.rows["templates"], *(int(str(row[1])) for row in found.rows["erasures"].values())]
    found.last_id = max(row_id for row_id in [*given, *found.doubtful] if row_id < MOST_IDS)
    return found


def scan(path: Path) -> Salvage:
    """The sealed rows of a file, by itself."""
    return max((_scan(path, size) for size in page_sizes(path)), key=lambda one: sum(map(len, one.rows.values())))


def _scan(path: Path, size: int) -> Salvage:
    found = Salvage()
    twice: set[tuple[str, int]] = set()
    for cell in cells(path, size):
        table = _table_of(cell)
        if table is None:
            _take_unsure(cell, found)
            continue
        row = cell.values[1:-1]
        if found.rows[table].setdefault(cell.row_id, row) != row:
            twice.add((table, cell.row_id))  # nobody knows which of them was deleted
    for table, row_id in twice:
        name = found.rows[table].pop(row_id)[0]
        if table == "templates":
            found.doubtful[row_id] = str(name)
    return found


def _take_unsure(cell: Cell, found: Salvage) -> None:
    """Rows without a checksum that holds: of the header, of SQLite's own list of last ids, damaged templates."""
    values = cell.values
    if len(values) in (6, 7) and values[0] is None and isinstance(values[2], bytes):
        found.doubtful[cell.row_id] = str(values[1]) if isinstance(values[1], str) else None
    elif len(values) == 2 and isinstance(values[0], str):
        if isinstance(values[1], str) and values[0] not in NOT_SPARED:
            found.meta[values[0]] = values[1]
        elif values[0] == "templates" and isinstance(values[1], int):
            found.last_id = values[1]


def _ask_index(path: Path, found: Salvage) -> None:
    """Ids and names by what is left of the index by name."""
    for entry in index_entries(path, page_sizes(path)[-1]):
        if len(entry) == 3 and isinstance(entry[0], str) and isinstance(entry[1], int) and entry[1] == entry[2]:
            found.doubtful[entry[1]] = entry[0]


def _take_unsealed(path: Path, found: Salvage) -> None:
    """The templates of a version 1 gallery: without checksums only gross damage shows."""
    found.unsealed = True
    size = int(found.meta["embedding_size"])
    for cell in cells(path, page_sizes(path)[-1]):
        if len(cell.values) not in (5, 6) or cell.values[0] is not None:
            continue
        with contextlib.suppress(ArtefactError):
            stack([cell.values[2]], size, path)
            if all(isinstance(cell.values[k], str) for k in (1, 3, 4)):
                found.rows["templates"][cell.row_id] = cell.values[1:]
