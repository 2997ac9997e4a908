"""Whether a gallery on the disk is what its story allows, and goes on working."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edgeface_runtime.gallery import Gallery
from edgeface_runtime.gallery_codes import quantise
from edgeface_runtime.gallery_index import ROWS
from edgeface_runtime.gallery_index_file import HEADER_BYTES, index_path
from faultkit.gallery_story import MODEL, NAME, SIZE, Content, Story, drawn, vector

NEW_SEED = 999_999


def kept(files: dict[str, bytes], seeds: set[int]) -> list[str]:
    """Where vectors can still be read: as they are in any file, or as codes in the index file."""
    found = []
    for name, data in files.items():
        codes: set[bytes] = set()
        if name == index_path(Path(NAME)).name and len(data) > HEADER_BYTES:
            body = np.frombuffer(data, np.int8, offset=HEADER_BYTES)
            whole = len(body) // (SIZE * ROWS)
            blocks = body[: whole * SIZE * ROWS].reshape(whole, SIZE, ROWS)
            used = blocks.any(axis=1)
            codes = {row.tobytes() for row in blocks.transpose(0, 2, 1)[used]}
        for seed in seeds:
            if vector(seed).tobytes() in data:
                found.append(f"{name}: vector {seed}")
            if quantise(vector(seed)[None]).codes[0].tobytes() in codes:
                found.append(f"{name}: codes of vector {seed}")
    return found


def check(folder: Path, story: Story) -> tuple[Content, str | None]:
    """Open the gallery of a folder and hold it against its story, then enrol somebody.

    Returns what it held, and what its index says is wrong. AssertionError where it is not what it must be.
    """
    allowed = story.allowed()
    path = folder / NAME
    with Gallery(path, MODEL, SIZE, create=not story.done) as gallery:
        connection = gallery._open()
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        rows = connection.execute("SELECT id, name, template FROM templates").fetchall()
        found = [
            content
            for content in allowed
            if rows == [(key, content[key][0], vector(content[key][1]).tobytes()) for key in sorted(content)]
        ]
        assert found, f"{len(rows)} templates {[row[:2] for row in rows]}, allowed are {allowed}"
        content = found[0]
        for name, seed in list(content.values())[:3] + list(content.values())[-3:]:
            best = gallery.search(vector(seed), 1)[0]
            assert best.name == name and best.score > 0.999, (best, name)
        new = gallery.enroll("new", drawn(NEW_SEED))
        assert new > max(content, default=0)
        assert gallery.search(vector(NEW_SEED), 1)[0].name == "new"
        note = gallery.describe()["note"]
    after = {file.name: file.read_bytes() for file in folder.iterdir() if file.name.startswith(NAME)}
    gone = {seed for possible in allowed for _, seed in possible.values()} - {seed for _, seed in content.values()}
    if story.under_way is not None and story.under_way["kind"] in ("delete", "replace"):
        # Deleted, not acknowledged: opening the gallery has finished it.
        assert not (left := kept(after, gone)), left
    assert not (left := kept(after, story.erased())), left
    return content, note
