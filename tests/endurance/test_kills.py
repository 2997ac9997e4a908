"""`kill -9` at random moments of a gallery's life: enrolling, deleting, building the index."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from faultkit import gallery_check
from faultkit.gallery_story import NOTES, Story, steps

STEPS = 150


pytestmark = pytest.mark.usefixtures("small_is_large")


def killed(folder: Path, seed: int, draw: random.Random, *how: str) -> Story:
    """What the notes say of a story whose teller was killed."""
    folder.mkdir()
    notes = folder / NOTES
    # As many lines as it takes to be in the middle of any step, and then any part of one.
    lines, more_s = draw.randrange(2 * STEPS - 20), draw.random() * 0.01
    command = [sys.executable, "-m", "faultkit.gallery_story", str(folder), str(seed), str(STEPS), *how]
    with subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}) as teller:
        while teller.poll() is None and (not notes.exists() or notes.read_bytes().count(b"\n") < lines):
            time.sleep(0.0005)
        time.sleep(more_s)
        teller.kill()
    return Story.read(notes.read_bytes())


def kill_often(tmp_path: Path, count: int, *how: str) -> dict[str, int]:
    """Kill that many tellers; how many were in the middle of something, by the step."""
    draw = random.Random(7)
    found: dict[str, int] = {}
    for number in range(count):
        folder = tmp_path / f"killed{number}"
        story = killed(folder, number, draw, *how)
        assert len(story.done) <= STEPS and list(story.done) == steps(number, STEPS, bool(how))[: len(story.done)]
        gallery_check.check(folder, story)
        kind = story.under_way["kind"] if story.under_way else "none"
        found[kind] = found.get(kind, 0) + 1
    return found


def test_killed_now_and_then(tmp_path: Path) -> None:
    found = kill_often(tmp_path, 12)
    assert sum(found.values()) - found.get("none", 0) >= 4, found


def test_an_encrypted_gallery_is_killed_now_and_then(tmp_path: Path) -> None:
    found = kill_often(tmp_path, 4, "encrypted")
    assert sum(found.values()) - found.get("none", 0) >= 1, found


@pytest.mark.soak
@pytest.mark.parametrize("how", [(), ("encrypted",)], ids=["plain", "encrypted"])
def test_killed_two_hundred_times(tmp_path: Path, how: tuple[str, ...]) -> None:
    found = kill_often(tmp_path, int(os.environ.get("EDGEFACE_SOAK_KILLS", "200")), *how)
    print(found)
    assert {"enroll", "batch", "delete", *(["rekey"] if how else [])} <= found.keys()
