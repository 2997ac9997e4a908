"""A disk that fills up or breaks at any moment: one line, nothing lost, and work goes on once it is mended.

The preloaded recorder lets writes fail with ENOSPC, or flushes with EIO, after as many as wanted.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from faultkit import gallery_check
from faultkit.frames import photographs
from faultkit.gallery_story import NOTES, Story
from faultkit.record import environment, recorded
from faultkit.tiny import write_bundle

from edgeface_runtime.gallery import Gallery

pytest.importorskip("onnx", reason="needs onnx to make a tiny model: pip install 'edgeface[train]'")

STEPS = 40


pytestmark = pytest.mark.usefixtures("small_is_large")


def told(recorder: Path, folder: Path, *how: str, **settings: object) -> Story:
    """The story of a gallery on such a disk, which must come to its end."""
    folder.mkdir()
    command = [sys.executable, "-m", "faultkit.gallery_story", str(folder), "1", str(STEPS), *how]
    run = subprocess.run(
        command, env=environment(recorder, folder, **settings), capture_output=True, text=True, check=False
    )
    assert run.returncode == 0 and not run.stderr, (settings, run.stderr)
    story = Story.read((folder / NOTES).read_bytes())
    assert len(story.done) == STEPS + 1 and story.under_way is None
    return story


def whole(recorder: Path, folder: Path, *how: str) -> tuple[int, int]:
    """Bytes written and flushes made, where nothing goes wrong."""
    log = folder.with_suffix(".log")
    told(recorder, folder, *how, log=log)
    operations = [operation for operation in recorded(log) if not operation.name.endswith(NOTES)]
    written = sum(len(operation.data) for operation in operations if operation.kind == "W")
    return written, sum(operation.kind == "S" for operation in operations)


def fail_at(recorder: Path, tmp_path: Path, count: int, kind: str, words: str, *how: str) -> int:
    """The story, with the disk failing at `count` places; how often that was said."""
    total = whole(recorder, tmp_path / "whole", *how)[kind == "syncs"]
    said = 0
    for number in range(count):
        folder = tmp_path / f"{kind}{number}"
        story = told(recorder, folder, *how, **{kind: total * number // count})
        gallery_check.check(folder, story)
        said += len(story.refused)
        for line in story.refused:
            assert any(word in line for word in (words, "cannot be flushed (Input/output error)")), line
            assert "\n" not in line and "damaged" not in line, line
    return said


def test_a_disk_that_fills_up(recorder: Path, quick_disk: Path) -> None:
    assert fail_at(recorder, quick_disk, 8, "room", "no space left on device") >= 3


def test_a_disk_that_breaks(recorder: Path, quick_disk: Path) -> None:
    assert fail_at(recorder, quick_disk, 5, "syncs", "disk I/O error") >= 3


@pytest.mark.parametrize(("kind", "words"), [("room", "no space left on device"), ("syncs", "disk I/O error")])
def test_a_disk_that_fails_an_encrypted_gallery(recorder: Path, quick_disk: Path, kind: str, words: str) -> None:
    assert fail_at(recorder, quick_disk, 3, kind, words, "encrypted") >= 1


@pytest.mark.soak
@pytest.mark.parametrize("how", [(), ("encrypted",)], ids=["plain", "encrypted"])
@pytest.mark.parametrize(("kind", "words"), [("room", "no space left on device"), ("syncs", "disk I/O error")])
def test_a_disk_that_fails_anywhere(
    recorder: Path, quick_disk: Path, kind: str, words: str, how: tuple[str, ...]
) -> None:
    count = int(os.environ.get("EDGEFACE_SOAK_DISKS", "150"))
    print(kind, fail_at(recorder, quick_disk, count, kind, words, *how))


def command(recorder: Path, folder: Path, *arguments: object, **settings: object) -> tuple[int, str, str]:
    """`edgeface` on such a disk: exit code, stdout, stderr."""
    run = subprocess.run(
        [sys.executable, "-m", "edgeface", *map(str, arguments)],
        env=environment(recorder, folder, **settings),
        capture_output=True,
        text=True,
        check=False,
    )
    return run.returncode, run.stdout, run.stderr


def test_commands_on_a_full_disk(recorder: Path, quick_disk: Path, photos: str) -> None:
    bundle = write_bundle(quick_disk / "bundle")
    photo = quick_disk / "photo.png"
    cv2.imwrite(str(photo), photographs(None if photos == "-" else Path(photos))[0])
    place = quick_disk / "place"
    place.mkdir()
    path = place / "g.db"
    enrol = ("enroll", bundle, "ann", photo, "--gallery", path, "--largest", "--quiet")
    for room, there in ((0, False), (20_000, False), (None, True), (1000, True)):
        code, out, words = command(recorder, place, *enrol, **({} if room is None else {"room": room}))
        if room is None:
            assert (code, out, words) == (0, "ann: 1 template added\n", "")
        else:
            assert code == 2 and not out, (room, out)
            assert words.startswith("edgeface: cannot write gallery ") and words.endswith("no space left on device\n")
            assert words.count("\n") == 1
        assert path.exists() == there
    delete = ("gallery", "delete", "ann", "--gallery", path)
    for room in range(40_000, 100_000, 10_000):  # enough for the deletion, too little for what follows it
        code, out, words = command(recorder, place, *delete, room=room)
        if code != 2:
            break
        assert "no space left on device" in words
    assert code == 1 and "1 template deleted, erasure pending: cannot write gallery" in out, out
    code, out, _ = command(recorder, place, "gallery", "list", "--gallery", path)
    assert code == 0 and "ann" not in out
    with Gallery(path) as gallery:
        assert gallery.count() == 0
        assert gallery._open().execute("SELECT 1 FROM meta WHERE key = 'erasure_pending'").fetchone() is None
