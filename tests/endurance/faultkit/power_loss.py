"""What a disk may hold after a power cut, from the record of what was written to it.

Certain is what was flushed: a file's content by flushing the file, a name by flushing its folder. Of what was written
or cut since, any part may be there: each write or not, later ones without earlier ones, single sectors of one. Names
are made, changed and removed in order, as journals do, up to any point.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

from faultkit.record import Operation

SECTOR = 512


@dataclass
class File:
    """One file, whatever it is called."""

    flushed: bytes = b""
    since: list[Operation] = field(default_factory=list)

    def content(self, draw: random.Random | None, share: float) -> bytes:
        """With `share` of what was done since the flush; None draws all or nothing of it."""
        data = bytearray(self.flushed)
        for operation in self.since:
            if share >= 1 or (draw is not None and draw.random() < share):
                _apply(data, operation, draw if draw is not None and draw.random() < 0.3 else None)
        return bytes(data)


class Disk:
    """A folder without folders in it, followed operation by operation."""

    def __init__(self) -> None:
        self.names: dict[str, File] = {}
        self.certain: dict[str, File] = {}
        self.since: list[tuple[str, str, File | None]] = []
        self._inodes: dict[int, File] = {}

    def follow(self, operation: Operation, folder: Path) -> None:
        """Take the next operation into account."""
        kind, name = operation.kind, Path(operation.name).name
        if kind == "S" and Path(operation.name) == folder:
            self.certain, self.since = dict(self.names), []
        elif kind == "S":
            file = self._file(operation)
            file.flushed, file.since = file.content(None, 1), []
        elif kind == "R":
            self._rename(name, Path(operation.data.decode()).name)
        elif kind == "U":
            self._name(name, None)
        else:
            self._file(operation).since.append(operation)

    def _file(self, operation: Operation) -> File:
        name = Path(operation.name).name
        known = self.names.get(name)
        if known is not None and self._inodes.get(operation.inode) is known:
            return known
        assert operation.kind == "O", f"{operation} of a file whose making was not seen"
        file = self._inodes[operation.inode] = File()
        self._name(name, file)
        return file

    def _name(self, name: str, file: File | None) -> None:
        self.since.append((name, "", file))
        _rename(self.names, name, "", file)

    def _rename(self, old: str, new: str) -> None:
        self.since.append((old, new, None))
        _rename(self.names, old, new, None)

    def after(self, share: float, draw: random.Random | None = None) -> dict[str, bytes]:
        """Name -> content after a power cut now: 0 what is certain, 1 everything, between them a draw."""
        names = dict(self.certain)
        kept = len(self.since) if share >= 1 else 0 if draw is None else draw.randint(0, len(self.since))
        for change in self.since[:kept]:
            _rename(names, *change)
        return {name: file.content(draw, share) for name, file in names.items()}


def _rename(names: dict[str, File], name: str, new: str, file: File | None) -> None:
    if new:
        names[new] = names.pop(name)
    elif file is not None:
        names[name] = file
    else:
        names.pop(name, None)


def _apply(data: bytearray, operation: Operation, torn: random.Random | None) -> None:
    if operation.kind in "OT":
        del data[operation.at :]
        data.extend(bytes(operation.at - len(data)))
        return
    start, end = operation.at, operation.at + len(operation.data)
    while start < end:
        stop = min(end, (start // SECTOR + 1) * SECTOR)
        if torn is None or torn.random() < 0.5:
            data.extend(bytes(max(0, stop - len(data))))
            data[start:stop] = operation.data[start - operation.at : stop - operation.at]
        start = stop
