"""Where derived files are kept, and the memory of hashes already checked.

The folder is EDGEFACE_CACHE, else `~/.cache/edgeface`. Nothing here is needed to work: where the folder is missing or
read-only, things are computed anew. A remembered hash stops accidents, not attackers: it is believed as long as the
file's path, inode, size and times are the same. The time of the inode's last change is among them: system images
come with every modification time alike, and copies may keep that of their origin.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from pathlib import Path

from edgeface_runtime.errors import InputError
from edgeface_runtime.files import sha256_file, write_json

__all__ = ["cache_dir", "file_stamp", "remembered_sha256"]

# A file changed twice within one tick of the file system's clock keeps its modification time, so a hash is only
# remembered for files that have been left alone for longer than that.
SETTLED_NS = 2_000_000_000


def cache_dir() -> Path | None:
    """The cache folder, which may not exist yet; None where there is no home folder to put it in."""
    named = os.environ.get("EDGEFACE_CACHE")
    if named:
        return Path(named)
    try:
        return Path.home() / ".cache" / "edgeface"
    except RuntimeError:
        return None


def remembered_sha256(path: Path, full: bool = False) -> str:
    """Hex SHA-256 of a file, from memory where its path, inode, size and times are those remembered.

    `full` reads the file whatever is remembered. Raises OSError where the file cannot be read.
    """
    resolved = path.resolve()
    before = resolved.stat()
    key = {"path": str(resolved), **file_stamp(before)}
    folder = cache_dir()
    note = None
    if folder is not None:
        note = folder / "hashes" / f"{hashlib.sha256(str(resolved).encode()).hexdigest()[:32]}.json"
        if not full and (found := _recall(note, key)):
            return found
    digest = sha256_file(resolved)
    after = resolved.stat()
    settled = time.time_ns() - after.st_mtime_ns > SETTLED_NS
    if note is not None and settled and file_stamp(after) == file_stamp(before):
        # No memory is no failure: the next start hashes again.
        with contextlib.suppress(OSError, InputError):
            write_json(note, {**key, "sha256": digest})
    return digest


def file_stamp(info: os.stat_result) -> dict[str, int]:
    """What tells a file from what it was before, short of reading it."""
    return {
        "size_bytes": info.st_size,
        "mtime_ns": info.st_mtime_ns,
        "ctime_ns": info.st_ctime_ns,
        "inode": info.st_ino,
    }


def _recall(note: Path, key: dict[str, object]) -> str | None:
    try:
        data = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(data, dict) or any(data.get(name) != value for name, value in key.items()):
        return None
    digest = data.get("sha256")
    return digest if isinstance(digest, str) and len(digest) == 64 else None
