"""What a process holds: memory, handles, threads, objects. Linux only."""

from __future__ import annotations

import gc
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from statistics import median

PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Held:
    """One reading, after a garbage collection."""

    rss_bytes: int
    handles: int
    """Open file descriptors."""
    threads: int
    objects: int
    """That Python's collector tracks."""
    connections: int
    """Of SQLite."""


def held() -> Held:
    """Read them."""
    gc.collect()
    objects = gc.get_objects()
    connections = sum(isinstance(thing, sqlite3.Connection) for thing in objects)
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
    handles, threads = (sum(1 for _ in Path(f"/proc/self/{kind}").iterdir()) for kind in ("fd", "task"))
    return Held(resident, handles, threads, len(objects), connections)


def growth(readings: list[Held]) -> dict[str, float]:
    """By how much the last fifth of the readings is above the first fifth (medians), for each count."""
    share = max(1, len(readings) // 5)
    first, last = readings[:share], readings[-share:]
    return {
        name: median(getattr(reading, name) for reading in last) - median(getattr(reading, name) for reading in first)
        for name in Held.__dataclass_fields__
    }
