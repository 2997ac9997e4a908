"""Whether a gallery on the disk is what its story allows, and goes on working."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from edgeface_runtime import gallery_check as product
from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.gallery import Gallery
from edgeface_runtime.gallery_codes import quantise
from edgeface_runtime.gallery_index import ROWS
from edgeface_runtime.gallery_index_file import HEADER_BYTES, index_path
from faultkit.gallery_story import KEYS, MODEL, NAME, SIZE, Story, drawn, key_of, vector

NEW_SEED = 999_999


def kept(files: dict[str, bytes], seeds: set[int], secrets: Collection[bytes] = ()) -> list[str]:
    """Where vectors can still be read: as they are in any file, or as codes in the index file; and `secrets`."""
    found = []
    for name, data in files.items():
        found += [f"{name}: {secret.hex()}" for secret in secrets if secret in data]
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


def opened(path: Path, story: Story) -> tuple[Gallery, int | None]:
    """The gallery, and the one of the keys it may have by which it opens; no other does."""
    keys = story.keys()
    found = []
    for number in keys:
        try:
            found.append((Gallery(path, MODEL, SIZE, create=not story.done, key=key_of(number)), number))
        except InputError as exc:
            assert not isinstance(exc, ArtefactError), exc
            assert any(words in str(exc) for words in ("wrong key", "is encrypted", "is not encrypted")), exc
    assert len(found) == 1, f"of the keys {keys}, {[number for _, number in found]} open it"
    for number in {None, *range(len(KEYS))} - {found[0][1]}:
        try:
            Gallery(path, key=key_of(number)).close()
        except InputError:
            continue
        raise AssertionError(f"key {number} opens what {found[0][1]} does")
    return found[0]


def check(folder: Path, story: Story) -> tuple[bool, str | None]:
    """Open the gallery of a folder and hold it against its story, then enrol somebody.

    Returns whether the step under way was done, and what its index says is wrong. AssertionError where it is not what
    it must be.
    """
    allowed = story.allowed()
    path = folder / NAME
    gallery, key = opened(path, story)
    with gallery:
        connection = gallery._open()
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        rows = [tuple(row) for page in gallery._rows.read(connection, "templates.id > 0") for row in page]
        found = [
            content
            for content in allowed
            if rows == [(at, content[at][0], vector(content[at][1]).tobytes()) for at in sorted(content)]
        ]
        assert found, f"{len(rows)} templates {[row[:2] for row in rows]}, allowed are {allowed}"
        content = found[0]
        went = content != allowed[0] or key != story.keys()[0]
        for name, seed in list(content.values())[:3] + list(content.values())[-3:]:
            best = gallery.search(vector(seed), 1)[0]
            assert best.name == name and best.score > 0.999, (best, name)
        new = gallery.enroll("new", drawn(NEW_SEED))
        assert new > max(content, default=0)
        assert gallery.search(vector(NEW_SEED), 1)[0].name == "new"
        note = gallery.describe()["note"]
    report = product.check(path)
    # An index file that was cut while it was written costs time, and is told of for as long as it lies there.
    assert not [finding for finding in report.findings if finding.state == "damaged" and finding.what != "index"], (
        report
    )
    after = {file.name: file.read_bytes() for file in folder.iterdir() if file.name.startswith(NAME)}
    seen = {seed for possible in allowed for _, seed in possible.values()} | {NEW_SEED}
    gone = seen - ({seed for _, seed in content.values()} | {NEW_SEED} if key is None else set())
    if (story.under_way is not None and story.under_way["kind"] in ("delete", "replace")) or key is not None:
        # Deleted or encrypted, not acknowledged: opening the gallery has finished it.
        assert not (left := kept(after, gone, story.going if went else ())), left
    assert not (left := kept(after, story.erased(), story.gone)), left
    return went, note
