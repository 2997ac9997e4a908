"""Where derived files are kept, and the memory of hashes already checked.

The folder is EDGEFACE_CACHE, else `~/.cache/edgeface`. Nothing here is needed to work: where the folder is missing or
read-only, things are computed anew. A remembered hash stops accidents, not attackers: it is believed as long as the
file's path, size and modification time are the same.
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

__all__ = ["cache_dir", "remembered_sha256"]

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
    """Hex SHA-256 of a file, from memory where its path, size and modification time are those remembered.

    `full` reads the file whatever is remembered. Raises OSError where the file cannot be read.
    """
    resolved = path.resolve()
    before = resolved.stat()
    key = {"path": str(resolved), "size_bytes": before.st_size, "mtime_ns": before.st_mtime_ns}
    folder = cache_dir()
    note = None
    if folder is not None:
        note = folder / "hashes" / f"{hashlib.sha256(str(resolved).encode()).hexdigest()[:32]}.json"
        if not full and (found := _recall(note, key)):
            return found
    digest = sha256_file(resolved)
    after = resolved.stat()
    unchanged = (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    if note is not None and unchanged and time.time_ns() - after.st_mtime_ns > SETTLED_NS:
        # No memory is no failure: the next start hashes again.
        with contextlib.suppress(OSError, InputError):
            write_json(note, {**key, "sha256": digest})
    return digest


def _recall(note: Path, key: dict[str, object]) -> str | None:
    try:
        data = json.loads(note.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(data, dict) or any(data.get(name) != value for name, value in key.items()):
        return None
    digest = data.get("sha256")
    return digest if isinstance(digest, str) and len(digest) == 64 else None
