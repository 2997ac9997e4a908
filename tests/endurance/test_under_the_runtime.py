"""Files that are in use, removed, replaced, on a disk that is full or read-only, under a wrong clock."""

from __future__ import annotations

import itertools
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest
from faultkit import gallery_check
from faultkit.gallery_story import NAME, NOTES, Story
from faultkit.record import environment
from faultkit.tiny import SIZE, write_bundle

from edgeface_runtime import bundle as bundle_module
from edgeface_runtime.bundle import open_bundle, pack_bundle
from edgeface_runtime.errors import ArtefactError, EdgefaceError, InputError
from edgeface_runtime.gallery import Gallery
from edgeface_runtime.gallery_index_file import index_path
from edgeface_runtime.recognizer import Recognizer

pytest.importorskip("onnx", reason="needs onnx to make a tiny model: pip install 'edgeface[train]'")

MODEL = "a" * 64
CROPS = np.random.default_rng(0).integers(0, 256, (2, 112, 96, 3), dtype=np.uint8)


def unit(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(SIZE).astype(np.float32)


def make(path: Path, count: int = 3) -> Gallery:
    gallery = Gallery(path, MODEL, SIZE, create=True)
    gallery.enroll_batch([f"p{k}" for k in range(count)], [unit(k) for k in range(count)])
    return gallery


@pytest.mark.parametrize("how", ["removed", "another in its place", "moved away"])
def test_a_gallery_that_goes_away_acknowledges_nothing(tmp_path: Path, how: str) -> None:
    path, other = tmp_path / "g.db", tmp_path / "other.db"
    make(other, 1).close()
    with make(path) as gallery:
        gallery.search(unit(0))
        if how == "removed":
            for file in tmp_path.glob("g.db*"):
                file.unlink()
        elif how == "moved away":
            path.rename(tmp_path / "away.db")
        else:
            other.replace(path)
        tries = (
            lambda: gallery.enroll("ann", unit(9)),
            lambda: gallery.search(unit(0)),
            lambda: gallery.delete("p0"),
            gallery.people,
            gallery.count,
        )
        for attempt in tries:
            with pytest.raises(InputError, match=r"g\.db was removed or replaced while it was open: open it again$"):
                attempt()


def test_a_gallery_that_goes_while_somebody_is_enrolled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "g.db"
    with make(path) as gallery:
        from edgeface_runtime import gallery_changes

        real = gallery_changes.log_enrolment

        def removed_just_then(connection: sqlite3.Connection) -> None:
            real(connection)
            path.unlink()

        monkeypatch.setattr(gallery_changes, "log_enrolment", removed_just_then)
        with pytest.raises(InputError, match="removed or replaced"):
            gallery.enroll("ann", unit(9))


def test_a_gallery_named_from_another_folder_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its path was relative, and the process has moved since."""
    monkeypatch.chdir(tmp_path)
    with make(Path("g.db")) as gallery:
        (tmp_path / "sub").mkdir()
        monkeypatch.chdir(tmp_path / "sub")
        assert gallery.search(unit(1), 1)[0].name == "p1"


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("change", ["removed", "emptied", "of another gallery", "cut"])
def test_an_index_file_that_changes_while_it_is_mapped(tmp_path: Path, change: str) -> None:
    path = tmp_path / "g.db"
    make(path, 40).close()
    with Gallery(path) as made:
        made.prepare()
    with make(tmp_path / "o.db", 50) as other:
        other.prepare()
    index = index_path(path)
    with Gallery(path) as gallery:
        assert gallery.search(unit(5), 1)[0].name == "p5" and gallery.describe()["index"] == "file"
        if change == "removed":
            index.unlink()
        elif change == "of another gallery":
            index_path(tmp_path / "o.db").replace(index)
        else:
            copy = tmp_path / "copy"  # in place would be our own mapping
            data = index.read_bytes()
            copy.write_bytes(b"" if change == "emptied" else data[: len(data) // 2])
            copy.replace(index)
        for k in range(20):
            gallery.enroll(f"q{k}", unit(100 + k))
            assert gallery.search(unit(100 + k), 1)[0].name == f"q{k}"
        assert gallery.delete("p5").erased
    with Gallery(path) as gallery:
        assert gallery.search(unit(119), 1)[0].name == "q19" and gallery.count() == 59


def test_a_bundle_replaced_while_open_goes_on_as_it_was(tmp_path: Path) -> None:
    folder, other = write_bundle(tmp_path / "b"), write_bundle(tmp_path / "o", seed=1)
    with Recognizer.from_bundle(folder, threads=1) as recognizer:
        before, model_id = recognizer.embed(CROPS).vectors, recognizer.bundle.model_id
        shutil.rmtree(folder)
        other.rename(folder)
        assert (recognizer.embed(CROPS).vectors == before).all() and recognizer.bundle.model_id == model_id
    with Recognizer.from_bundle(folder, threads=1) as recognizer:
        assert recognizer.bundle.model_id != model_id
        assert np.abs(recognizer.embed(CROPS).vectors - before).max() > 0.01


def test_a_bundle_replaced_between_check_and_load_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, other = write_bundle(tmp_path / "b"), write_bundle(tmp_path / "o", seed=1)
    real = bundle_module._checked

    def replaced_then(bundle: bundle_module.Bundle, full: bool) -> bundle_module.Bundle:
        checked = real(bundle, full)
        (other / "recognizer.onnx").replace(folder / "recognizer.onnx")
        return checked

    monkeypatch.setattr(bundle_module, "_checked", replaced_then)
    with pytest.raises(
        ArtefactError, match=r"b was replaced while it was being opened \(recognizer.onnx\): try again"
    ):
        Recognizer.from_bundle(folder, threads=1)


def test_a_bundle_replaced_again_and_again_is_one_or_the_other(tmp_path: Path) -> None:
    bundles = [write_bundle(tmp_path / f"made{seed}", seed) for seed in (0, 1)]
    wanted = {}
    for folder in bundles:
        with Recognizer.from_bundle(folder, threads=1) as recognizer:
            wanted[recognizer.bundle.model_id] = recognizer.embed(CROPS).vectors
    place, stop = tmp_path / "b", threading.Event()
    shutil.copytree(bundles[0], place)

    def replace() -> None:
        for folder in itertools.cycle(bundles[::-1]):
            if stop.is_set():
                return
            for name in ("recognizer.onnx", "manifest.json"):  # file by file, as rsync does
                shutil.copy2(folder / name, tmp_path / "part")
                (tmp_path / "part").replace(place / name)
            stop.wait(0.004)

    thread = threading.Thread(target=replace)
    thread.start()
    opened, refused = 0, 0
    try:
        for _ in range(60):
            try:
                with Recognizer.from_bundle(place, threads=1) as recognizer:
                    found = recognizer.embed(CROPS).vectors
                    assert (found == wanted[recognizer.bundle.model_id]).all()
                    opened += 1
            except EdgefaceError as exc:
                assert "\n" not in str(exc)
                refused += 1
    finally:
        stop.set()
        thread.join()
    assert opened > 5, (opened, refused)


def remount(place: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", place], check=True)


def test_a_disk_that_is_full_and_then_has_room_again(small_disk: Path) -> None:
    path = small_disk / "g.db"
    with make(path) as gallery:
        filler = small_disk / "filler"
        with filler.open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space left"):
            while True:
                stream.write(bytes(4096))
        with pytest.raises(InputError, match=r"^cannot write gallery .*g\.db: no space left on device$"):
            gallery.enroll_batch([f"q{k}" for k in range(500)], [unit(k) for k in range(500)])
        assert gallery.count() == 3 and gallery.search(unit(1), 1)[0].name == "p1"
        bundle = write_bundle(small_disk.parent / "b")
        with pytest.raises(InputError, match="no space left on device"):
            pack_bundle(bundle, small_disk / "b.tar")
        assert {file.name for file in small_disk.iterdir()} <= {"filler", "g.db", "g.db-wal", "g.db-shm"}
        filler.unlink()
        gallery.enroll("ann", unit(9))
        assert gallery.delete("p0").erased
        open_bundle(pack_bundle(bundle, small_disk / "b.tar"))
    with Gallery(path) as gallery:
        assert [person.name for person in gallery.people()] == ["ann", "p1", "p2"]


def test_a_disk_that_is_read_only(small_disk: Path) -> None:
    path = small_disk / "g.db"
    make(path).close()
    bundle = pack_bundle(write_bundle(small_disk.parent / "b"), small_disk / "b.tar")
    before = {file.name: file.read_bytes() for file in small_disk.iterdir()}
    remount(small_disk, "ro")
    with pytest.raises(InputError, match=r"^cannot use gallery .*: it and its folder must be writable$"):
        Gallery(path)
    with pytest.raises(InputError, match=r"new\.db"):
        Gallery(small_disk / "new.db", MODEL, SIZE, create=True)
    with Recognizer.from_bundle(bundle, threads=1) as recognizer:
        assert recognizer.embed(CROPS).vectors.shape == (2, SIZE)
    assert {file.name: file.read_bytes() for file in small_disk.iterdir()} == before
    remount(small_disk, "rw")
    with Gallery(path) as gallery:
        assert gallery.count() == 3


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("how", [(), ("encrypted",)], ids=["plain", "encrypted"])
def test_a_clock_that_is_set_back_again_and_again(recorder: Path, quick_disk: Path, how: tuple[str, ...]) -> None:
    """An hour at every look: a whole life of a gallery, its index and its erasures, backwards through time."""
    command = [sys.executable, "-m", "faultkit.gallery_story", str(quick_disk), "3", "60", *how]
    subprocess.run(command, env=environment(recorder, quick_disk, clock=3600), check=True)
    story = Story.read((quick_disk / NOTES).read_bytes())
    assert len(story.done) == 61
    connection = sqlite3.connect(quick_disk / NAME)
    times = [
        datetime.fromisoformat(row[0]) for row in connection.execute("SELECT created FROM templates ORDER BY id")
    ]
    connection.close()
    assert (max(times) - times[-1]).days >= 1
    _, note = gallery_check.check(quick_disk, story)
    assert note is None


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("when", [0, 4_000_000_000])
def test_the_index_does_not_go_by_the_clock(tmp_path: Path, when: int) -> None:
    path = tmp_path / "g.db"
    with make(path, 40) as gallery:
        gallery.prepare()
        gallery.enroll("late", unit(99))
        assert gallery.delete("p3").erased
    for file in (path, index_path(path)):
        os.utime(file, (when, when))
        with Gallery(path) as gallery:
            assert gallery.search(unit(99), 1)[0].name == "late"
            assert "p3" not in {candidate.name for candidate in gallery.search(unit(3), 41)}
            assert gallery.describe()["index"] == "file" and gallery.describe()["note"] is None
