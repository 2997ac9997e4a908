"""What a backup of a gallery says of itself, in a sealed row of its own: what it is of, when, and what it holds."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from dataclasses import asdict, dataclass
from typing import Any

from edgeface_runtime.gallery_changes import state
from edgeface_runtime.gallery_layout import seal

__all__ = ["Manifest", "content_of", "read_manifest", "remove_manifest", "write_manifest"]

ROW = 2
"""Of the table `spare`; the first is the header's copy."""


@dataclass(frozen=True)
class Manifest:
    """Of one backup."""

    gallery_id: str
    """Of the gallery; it has it from its making on."""
    model_id: str
    templates: int
    people: int
    created: str
    """UTC."""
    content: str
    """SHA-256 over all templates' ids and checksums."""
    seq: int
    """Last line of its log of changes: another one, and the backup has been used as a gallery."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


def content_of(connection: sqlite3.Connection) -> tuple[int, int, str]:
    """Templates, people, and the SHA-256 over ids and checksums."""
    sum_ = hashlib.sha256()
    for row_id, checksum in connection.execute("SELECT id, checksum FROM templates ORDER BY id"):
        sum_.update(b"%d" % row_id + bytes(checksum))
    counts = connection.execute("SELECT COUNT(*), COUNT(DISTINCT name) FROM templates").fetchone()
    return int(counts[0]), int(counts[1]), sum_.hexdigest()


def write_manifest(connection: sqlite3.Connection, created: str) -> Manifest:
    """Describe the backup it is open on, in that."""
    meta = dict(connection.execute("SELECT key, value FROM meta").fetchall())
    templates, people, content = content_of(connection)
    manifest = Manifest(
        meta["gallery_id"], meta["model_id"], templates, people, created, content, state(connection).seq
    )
    text = json.dumps(manifest.to_dict())
    connection.execute("INSERT OR REPLACE INTO spare (id, meta) VALUES (?, ?)", (ROW, text))
    seal(connection, "spare", ROW, ROW)
    return manifest


def read_manifest(connection: sqlite3.Connection) -> Manifest | None:
    """None where the file is no backup."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'spare'").fetchone() is None:
        return None
    row = connection.execute("SELECT meta FROM spare WHERE id = ?", (ROW,)).fetchone()
    return None if row is None else Manifest(**json.loads(row[0]))


def remove_manifest(connection: sqlite3.Connection) -> None:
    """The file becomes a gallery, within the caller's transaction."""
    connection.execute("DELETE FROM spare WHERE id = ?", (ROW,))
