"""The folder of graphs that a device times: small files, and `blocks.json` that says what each of them is.

Written where torch is, read where only a backend is.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeface_calibration.device_profile import Part
from edgeface_runtime.errors import ArtefactError
from edgeface_runtime.files import require_file

__all__ = ["INDEX", "Blocks", "TimedNetwork", "TimedUnit", "is_blocks", "read_blocks"]

INDEX = "blocks.json"
FORMAT = "edgeface-blocks"
VERSION = 1


@dataclass(frozen=True)
class TimedUnit:
    """A unit at a grid of widths."""

    key: str
    size: tuple[int, int]
    """Height and width of its input."""
    axes: tuple[tuple[int, ...], ...]
    files: tuple[str, ...]
    """A graph for every place of the grid, the last axis fastest."""
    baselines: tuple[str, ...]
    """For each of them the graph whose time is subtracted."""


@dataclass(frozen=True)
class TimedNetwork:
    """A whole network, to see how well its units add up."""

    label: str
    file: str
    size: tuple[int, int]
    parts: tuple[Part, ...]
    fitted: bool
    """Whether the scale is fitted on it; the others check it."""


@dataclass(frozen=True)
class Blocks:
    """Everything there is to time."""

    network: str
    """The widest network, in words."""
    precision: str
    units: tuple[TimedUnit, ...]
    networks: tuple[TimedNetwork, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"format": FORMAT, "version": VERSION, **asdict(self)}


def is_blocks(path: Path) -> bool:
    """Whether a path is such a folder, by its look."""
    return (path / INDEX).is_file()


def read_blocks(folder: Path) -> Blocks:
    """Read the index of a folder; the graphs are looked for.

    Raises:
        InputError: there is no index.
        ArtefactError: it is damaged or too new, or a graph is missing.
    """
    path = require_file(folder / INDEX, "index of block graphs")
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            raise ValueError("it is something else")
        if data["version"] != VERSION:
            raise ArtefactError(f"{path} has version {data['version']}, not {VERSION}: upgrade edgeface")
        found = Blocks(
            str(data["network"]),
            str(data["precision"]),
            tuple(_unit(unit) for unit in data["units"]),
            tuple(_network(network) for network in data["networks"]),
        )
    except (KeyError, TypeError, ValueError, IndexError) as exc:
        raise ArtefactError(f"{path} is damaged ({exc}): export the blocks again") from exc
    files = [file for unit in found.units for file in (*unit.files, *unit.baselines)]
    files += [network.file for network in found.networks]
    for file in files:
        if Path(file).name != file or not (folder / file).is_file():
            raise ArtefactError(f"{folder} lacks {file}: export the blocks again")
    return found


def _unit(data: dict[str, Any]) -> TimedUnit:
    height, width = data["size"]
    return TimedUnit(
        str(data["key"]),
        (int(height), int(width)),
        tuple(tuple(int(width) for width in axis) for axis in data["axes"]),
        tuple(map(str, data["files"])),
        tuple(map(str, data["baselines"])),
    )


def _network(data: dict[str, Any]) -> TimedNetwork:
    height, width = data["size"]
    return TimedNetwork(
        str(data["label"]),
        str(data["file"]),
        (int(height), int(width)),
        tuple((str(key), tuple(int(width) for width in widths)) for key, widths in data["parts"]),
        bool(data["fitted"]),
    )
