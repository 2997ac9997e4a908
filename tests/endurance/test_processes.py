"""Several processes and one gallery, at once: enrolling, deleting, searching, opening and closing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeface_runtime.gallery import Gallery, GalleryKey
from edgeface_runtime.gallery_check import check

MODEL, SIZE = "a" * 64, 16

START = """
import sys
import numpy as np
from edgeface_runtime import gallery as module, gallery_search
from edgeface_runtime.gallery import Gallery
module.INDEX_FROM, gallery_search.FILE_FROM, gallery_search.BEHIND = 8, 12, 6
path, who, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
rng = np.random.default_rng(int(who))
def opened():
    return Gallery(path, "a" * 64, 16, create=True)
sys.stdout.write("ready\\n"); sys.stdout.flush(); sys.stdin.readline()
"""
ENROL = (
    START
    + """
for k in range(count):
    with opened() as gallery:
        gallery.enroll(f"{who}-{k}", rng.standard_normal(16))
        gallery.enroll("same", rng.standard_normal(16))
"""
)
ENROL_OPEN = (
    START
    + """
with opened() as gallery:
    for k in range(2 * count):
        gallery.enroll(f"{who}-{k}", rng.standard_normal(16))
"""
)
DELETE = (
    START
    + """
with opened() as gallery:
    for k in range(count):
        gallery.enroll(f"gone-{k}", rng.standard_normal(16))
        erasure = gallery.delete(f"gone-{k}")
        assert erasure.removed == 1
        assert erasure.erased or "another process" in erasure.pending, erasure
"""
)
ENCRYPTED = (
    START
    + """
from edgeface_runtime.errors import InputError
from edgeface_runtime.gallery import GalleryKey
KEYS = [GalleryKey(bytes([k]) * 32) for k in (1, 2, 3)]
def by_any():
    while True:
        for key in KEYS[:2]:
            try:
                return Gallery(path, key=key)
            except InputError as exc:
                assert any(words in str(exc) for words in ("wrong key", "in use by another process")), exc
"""
)
REKEY = (
    ENCRYPTED
    + """
for k in range(count):
    with Gallery(path, key=KEYS[k % 2]) as gallery:
        changed = gallery.rekey(KEYS[(k + 1) % 2])
        assert changed.erased or "another process" in changed.pending, changed
"""
)
ENROL_BY_ANY = (
    ENCRYPTED
    + """
gallery = by_any()
for k in range(count):
    template, done = rng.standard_normal(16), False
    while not done:
        try:
            gallery.enroll(f"{who}-{k}", template)
            done = True
        except InputError as exc:
            assert "was changed by another process: open it again" in str(exc), exc
            gallery.close()
            gallery = by_any()
"""
)
STRANGER = (
    ENCRYPTED
    + """
for k in range(count):
    try:
        Gallery(path, key=KEYS[2])
    except InputError as exc:
        assert "wrong key" in str(exc) or "in use by another process" in str(exc), exc
    else:
        raise AssertionError("opened by a stranger's key")
"""
)
SEARCH = (
    START
    + """
with opened() as gallery:
    for k in range(5 * count):
        found = gallery.search(rng.standard_normal(16), 3)
        assert [c.score for c in found] == sorted((c.score for c in found), reverse=True)
"""
)


def together(path: Path, count: int, *programs: str) -> None:
    """Start the programs, let them go at the same moment, and expect no word of any."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(path), str(number), str(count)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number, program in enumerate(programs)
    ]
    for process in running:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in running:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in running:
        _, words = process.communicate(timeout=600)
        assert process.returncode == 0, words


def whole(path: Path, count: int, names: set[str], key: GalleryKey | None = None) -> None:
    """Everybody is there, once, found, and nothing else."""
    with Gallery(path, MODEL, SIZE, key=key) as gallery:
        assert gallery.finish_erasure() is None
        assert gallery._open().execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        assert {person.name: person.templates for person in gallery.people()} == {
            name: 2 * count if name == "same" else 1 for name in names
        }
        kept, matrix = gallery.templates()
        for name, row in zip(kept, matrix, strict=True):
            assert gallery.search(row, 1)[0].name == name


@pytest.mark.parametrize("count", [12, pytest.param(400, marks=pytest.mark.soak)])
def test_two_enrol_into_a_gallery_that_neither_finds(quick_disk: Path, count: int) -> None:
    path = quick_disk / "g.db"
    together(path, count, ENROL, ENROL)
    whole(path, count, {"same", *(f"{who}-{k}" for who in (0, 1) for k in range(count))})


@pytest.mark.parametrize("count", [12, pytest.param(400, marks=pytest.mark.soak)])
def test_one_enrols_while_others_delete_and_search(quick_disk: Path, count: int) -> None:
    path = quick_disk / "g.db"
    together(path, count, ENROL_OPEN, DELETE, SEARCH)
    whole(path, count, {f"0-{k}" for k in range(2 * count)})
    gone = np.random.default_rng(1)
    left = b"".join(file.read_bytes() for file in quick_disk.glob("g.db*"))
    for _ in range(count):
        drawn = np.asarray(gone.standard_normal(SIZE), np.float32)
        unit = drawn / np.linalg.norm(drawn)
        assert unit.tobytes()[:8] not in left


@pytest.mark.parametrize("count", [12, pytest.param(400, marks=pytest.mark.soak)])
def test_one_changes_the_key_while_others_enrol_and_a_stranger_tries(quick_disk: Path, count: int) -> None:
    path, keys = quick_disk / "g.db", [GalleryKey(bytes([k]) * 32) for k in (1, 2)]
    with Gallery(path, MODEL, SIZE, create=True, key=keys[0]) as gallery:
        gallery.enroll("first", np.ones(SIZE))
    together(path, count, ENROL_BY_ANY, REKEY, ENROL_BY_ANY, STRANGER)
    whole(path, count, {"first", *(f"{who}-{k}" for who in (0, 2) for k in range(count))}, keys[count % 2])
    assert check(path).sound
