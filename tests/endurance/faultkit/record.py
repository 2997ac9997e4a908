"""Running a program with its writes to one folder recorded, or on a disk that is full or broken: see record.c."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

HEAD = struct.Struct("<cQQII")
SOURCE = Path(__file__).with_name("record.c")


@dataclass(frozen=True)
class Operation:
    """One thing done to a file; see record.c for the letters."""

    kind: str
    inode: int
    at: int
    """Offset of a write, size of a truncation."""
    name: str
    data: bytes


def compiled(folder: Path) -> Path:
    """The recorder as a library in `folder`; skips the test where it cannot be made."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs Linux and a C compiler (cc) to record what is written to the disk")
    out = folder / "record.so"
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(out), str(SOURCE), "-ldl", "-lpthread"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"needs glibc's headers to record what is written to the disk: {made.stderr.strip()[-200:]}")
    return out


def environment(library: Path, under: Path, **settings: object) -> dict[str, str]:
    """For a process whose writes under a folder are recorded (LOG) or fail (ROOM, SYNCS)."""
    named = {f"FAULTKIT_{name.upper()}": str(value) for name, value in settings.items()}
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([*sys.path, str(SOURCE.parents[1])]),
        "LD_PRELOAD": str(library),
        "FAULTKIT_UNDER": str(under.resolve()),
        **named,
    }


def recorded(log: Path) -> Iterator[Operation]:
    """The operations, in order."""
    data = log.read_bytes()
    start = 0
    while start < len(data):
        kind, inode, at, length, size = HEAD.unpack_from(data, start)
        start += HEAD.size
        name = data[start : start + length].decode()
        content = data[start + length : start + length + size]
        start += length + size
        yield Operation(kind.decode(), inode, at, name, content)
