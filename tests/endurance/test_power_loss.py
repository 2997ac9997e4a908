"""Power cuts at any moment of a gallery's life: what was acknowledged is there, what was erased is not.

What a process writes is recorded by a preloaded library, and every state the disk may have been in after a cut is
laid out and opened (faultkit/power_loss.py says what may be lost, reordered and torn).
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from faultkit import gallery_check
from faultkit.gallery_story import NAME, NOTES, Story
from faultkit.power_loss import Disk
from faultkit.record import Operation, environment, recorded

pytestmark = pytest.mark.usefixtures("small_is_large")


def told(recorder: Path, quick_disk: Path, seed: int, steps: int, *how: str) -> list[Operation]:
    """What the disk was asked to do while a story was told."""
    folder, log = quick_disk / f"story{seed}", quick_disk / f"log{seed}"
    folder.mkdir()
    command = [sys.executable, "-m", "faultkit.gallery_story", str(folder), str(seed), str(steps), *how]
    subprocess.run(command, env=environment(recorder, folder, log=log), check=True)
    return list(recorded(log))


def cuts(operations: list[Operation], folder: Path) -> Iterator[tuple[Disk, Story]]:
    """The disk and the story after each operation."""
    disk, notes = Disk(), b""
    for operation in operations:
        if Path(operation.name).name == NOTES:
            notes += operation.data
        else:
            disk.follow(operation, folder)
        yield disk, Story.read(notes)


def lay_out(files: dict[str, bytes], folder: Path, draw: random.Random) -> None:
    """Write the files, and shared memory of SQLite's as a cut may leave it: anything."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    if draw.random() < 0.3:
        (folder / f"{NAME}-shm").write_bytes(draw.randbytes(32768))


SHARES = (0, 0.1, 0.5, 0.9, 1)
"""Of what was done since the last flush, how much is there after the cut."""


def cut_often(
    operations: list[Operation], source: Path, place: Path, seed: int, share_of_cuts: float
) -> dict[str, int]:
    """Open the gallery after cuts at random operations, in every way; how many there were and what was seen."""
    draw = random.Random(seed)
    seen = {"cuts": 0, "with the step under way": 0, "index made anew": 0}
    states: set[int] = set()
    for number, (disk, story) in enumerate(cuts(operations, source)):
        if draw.random() >= share_of_cuts:
            continue
        for share in SHARES:
            files = disk.after(share, draw)
            if hash(frozenset(files.items())) in states:
                continue
            states.add(hash(frozenset(files.items())))
            where = f"operation {number} of {len(operations)}, {share:.0%} of what was not flushed"
            left = gallery_check.kept(files, story.erased(), story.gone)
            assert not left, f"{where}: {left}"
            lay_out(files, place, draw)
            try:
                went, note = gallery_check.check(place, story)
            except Exception as exc:
                raise AssertionError(
                    f"{where}: {exc}; {[step['kind'] for step in story.done[-3:]]}, {story.under_way}"
                ) from exc
            seen["cuts"] += 1
            seen["with the step under way"] += went
            seen["index made anew"] += note is not None
    return seen


def test_power_cuts(recorder: Path, quick_disk: Path) -> None:
    operations = told(recorder, quick_disk, 1, 40)
    seen = cut_often(operations, quick_disk / "story1", quick_disk / "after", 1, 0.1)
    assert seen["cuts"] > 120 and seen["with the step under way"] > 5, seen


def test_power_cuts_of_an_encrypted_gallery(recorder: Path, quick_disk: Path) -> None:
    """Its key changes, goes and comes: always one of both opens it, and who was erased has no key any more."""
    operations = told(recorder, quick_disk, 1, 40, "encrypted")
    seen = cut_often(operations, quick_disk / "story1", quick_disk / "after", 1, 0.03)
    assert seen["cuts"] > 30 and seen["with the step under way"] > 3, seen


@pytest.mark.parametrize(
    ("file", "words"), [("g.db-wal", "not a gallery|templates"), ("g.db.index", "codes of vector")]
)
def test_a_flush_that_is_missing_is_noticed(recorder: Path, quick_disk: Path, file: str, words: str) -> None:
    """The same story, had the runtime not flushed one of its files: this test would see it."""
    operations = [
        operation
        for operation in told(recorder, quick_disk, 1, 40)
        if operation.kind != "S" or Path(operation.name).name != file
    ]
    with pytest.raises(AssertionError, match=words):
        cut_often(operations, quick_disk / "story1", quick_disk / "after", 1, 0.2)


def test_power_cuts_while_a_gallery_is_made(recorder: Path, quick_disk: Path) -> None:
    operations = told(recorder, quick_disk, 1, 1)
    for seed in range(5):
        seen = cut_often(operations, quick_disk / "story1", quick_disk / "after", seed, 1)
    assert seen["cuts"] > 30, seen


@pytest.mark.soak
@pytest.mark.parametrize("how", [(), ("encrypted",)], ids=["plain", "encrypted"])
def test_power_cuts_at_every_operation(recorder: Path, quick_disk: Path, how: tuple[str, ...]) -> None:
    for seed in range(1, 1 + int(os.environ.get("EDGEFACE_SOAK_STORIES", "5"))):
        operations = told(recorder, quick_disk, seed, 120, *how)
        seen = cut_often(operations, quick_disk / f"story{seed}", quick_disk / "after", seed, 1)
        print(f"story {seed}: {len(operations)} operations, {seen}")
        assert seen["cuts"] > 1000, seen
