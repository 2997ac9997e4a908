"""A disk that fills up or breaks at any moment: one line, nothing lost, and work goes on once it is mended.

The preloaded recorder lets writes fail with ENOSPC, or flushes with EIO, after as many as wanted.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from faultkit import gallery_check
from faultkit.gallery_story import NOTES, Story
from faultkit.record import environment, recorded

STEPS = 40


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeface_runtime.gallery.INDEX_FROM", 8)
    monkeypatch.setattr("edgeface_runtime.gallery_search.FILE_FROM", 12)
    monkeypatch.setattr("edgeface_runtime.gallery_search.BEHIND", 6)


def told(recorder: Path, folder: Path, **settings: object) -> Story:
    """The story of a gallery on such a disk, which must come to its end."""
    folder.mkdir()
    command = [sys.executable, "-m", "faultkit.gallery_story", str(folder), "1", str(STEPS)]
    run = subprocess.run(
        command, env=environment(recorder, folder, **settings), capture_output=True, text=True, check=False
    )
    assert run.returncode == 0 and not run.stderr, (settings, run.stderr)
    story = Story.read((folder / NOTES).read_bytes())
    assert len(story.done) == STEPS + 1 and story.under_way is None
    return story


def whole(recorder: Path, folder: Path) -> tuple[int, int]:
    """Bytes written and flushes made, where nothing goes wrong."""
    log = folder.with_suffix(".log")
    told(recorder, folder, log=log)
    operations = [operation for operation in recorded(log) if not operation.name.endswith(NOTES)]
    written = sum(len(operation.data) for operation in operations if operation.kind == "W")
    return written, sum(operation.kind == "S" for operation in operations)


def fail_at(recorder: Path, tmp_path: Path, count: int, kind: str, words: str) -> int:
    """The story, with the disk failing at `count` places; how often that was said."""
    total = whole(recorder, tmp_path / "whole")[kind == "syncs"]
    said = 0
    for number in range(count):
        folder = tmp_path / f"{kind}{number}"
        story = told(recorder, folder, **{kind: total * number // count})
        gallery_check.check(folder, story)
        said += len(story.refused)
        for line in story.refused:
            assert words in line and "\n" not in line and "damaged" not in line, line
    return said


def test_a_disk_that_fills_up(recorder: Path, quick_disk: Path) -> None:
    assert fail_at(recorder, quick_disk, 8, "room", "no space left on device") >= 3


def test_a_disk_that_breaks(recorder: Path, quick_disk: Path) -> None:
    assert fail_at(recorder, quick_disk, 5, "syncs", "disk I/O error") >= 3


@pytest.mark.soak
@pytest.mark.parametrize(("kind", "words"), [("room", "no space left on device"), ("syncs", "disk I/O error")])
def test_a_disk_that_fails_anywhere(recorder: Path, quick_disk: Path, kind: str, words: str) -> None:
    print(kind, fail_at(recorder, quick_disk, int(os.environ.get("EDGEFACE_SOAK_DISKS", "150")), kind, words))
