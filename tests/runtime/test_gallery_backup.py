"""Backups while others work, and restoring them: nothing lost, nothing half done, the erased stay erased."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgeface_runtime.files
import edgeface_runtime.gallery_files
from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.gallery import Gallery
from edgeface_runtime.gallery_backup import backup, restore
from edgeface_runtime.gallery_check import check
from edgeface_runtime.gallery_repair import repair

MODEL = "a" * 64
SmallFiles = Callable[[int], AbstractContextManager[None]]


def names(path: Path) -> set[str]:
    with Gallery(path) as gallery:
        return {person.name for person in gallery.people()}


def files(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_backup_is_one_file_of_all_there_is(tmp_path: Path, damage: Any) -> None:
    path, out = tmp_path / "g.db", tmp_path / "b.db"
    rows = damage.make(path)
    path.chmod(0o640)
    with Gallery(path) as gallery:  # what is in the log only is in it too
        gallery.enroll("ann", np.ones(128))
        manifest = backup(path, out)
        rows = damage.truth(path)
        assert files(tmp_path) == ["b.db", "g.db", "g.db-shm", "g.db-wal"]
    assert damage.truth(out) == rows
    assert (manifest.templates, manifest.people) == (len(rows), len({row[0] for row in rows.values()}))
    assert (manifest.model_id, manifest.created[:2]) == (MODEL, "20")
    assert out.stat().st_mode & 0o777 == 0o640
    assert {"what": "backup", "state": "ok", "detail": f"of {manifest.created}"} in check(out).to_dict()["findings"]
    assert backup(path, out).gallery_id == manifest.gallery_id  # an earlier one is replaced


def test_a_backup_that_is_used_as_a_gallery_is_not_called_damaged(tmp_path: Path, damage: Any) -> None:
    path, out = tmp_path / "g.db", tmp_path / "b.db"
    damage.make(path, 3, 1)
    backup(path, out)
    with Gallery(out) as gallery:
        gallery.enroll("ann", np.ones(128))
    report = check(out)
    assert report.sound and "used as a gallery since" in str(report.findings)
    assert restore(path, out).people == 5


def cut_at(number: int, work: Callable[[], object]) -> bool:
    """Do it in a process that ends, as by a power cut, before its flush of that number; whether it was done."""
    child = os.fork()
    if child == 0:
        left = [number]
        flush = edgeface_runtime.files.flush

        def cut(path: Path) -> None:
            left[0] -= 1
            if left[0] == 0:
                os._exit(9)
            flush(path)

        edgeface_runtime.files.flush = edgeface_runtime.gallery_files.flush = cut
        try:
            work()
            os._exit(0)
        finally:
            os._exit(1)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 9)
    return code == 0


@pytest.mark.parametrize("what", ["restore", "repair", "backup"])
def test_a_cut_leaves_the_old_or_the_new(tmp_path: Path, damage: Any, what: str) -> None:
    path, out = tmp_path / "g.db", tmp_path / "b.db"
    new = damage.make(path)
    backup(path, out)
    with Gallery(path) as gallery:
        gallery.enroll("later", np.ones(128))
    old = damage.truth(path)
    work: dict[str, Callable[[], object]] = {
        "restore": lambda: restore(path, out),
        "repair": lambda: repair(path),
        "backup": lambda: backup(path, out),
    }
    target, ends = (out, (new, old)) if what == "backup" else (path, (old, new))
    if what == "repair":
        ends = (old, old)
    number, done = 0, False
    while not done:
        number += 1
        done = cut_at(number, work[what])
        found = damage.truth(target)
        assert found in ends and check(target).sound, number
        if found == ends[1] and what == "restore":
            assert old in [damage.truth(kept) for kept in tmp_path.glob("g.db.before-restore-?")]
            break
    assert number > 1
    assert work[what]() is not None  # what was left under a temporary name is taken over
    assert not list(tmp_path.glob(".*"))


def test_what_is_no_backup_is_not_overwritten(tmp_path: Path, damage: Any) -> None:
    path, other, text = tmp_path / "g.db", tmp_path / "other.db", tmp_path / "photo.jpg"
    damage.make(path, 3, 1)
    damage.make(other, 3, 1)
    text.write_text("a picture")
    for out in (path, other, text, tmp_path):
        with pytest.raises(InputError, match="exists and is not a backup"):
            backup(path, out)
    with pytest.raises(InputError, match="gallery not found"):
        backup(tmp_path / "missing.db", tmp_path / "b.db")
    assert text.read_text() == "a picture" and files(tmp_path) == ["g.db", "other.db", "photo.jpg"]


def test_a_backup_while_another_enrols_is_of_one_moment(tmp_path: Path) -> None:
    """Batches of three come whole or not at all, and everything acknowledged before the backup began is in it."""
    path = tmp_path / "g.db"
    rng = np.random.default_rng(0)
    acknowledged, stop = [0], threading.Event()

    def enrol() -> None:
        with Gallery(path, MODEL, 128) as gallery:
            while not stop.is_set():
                k = acknowledged[0]
                gallery.enroll_batch([f"p{k}"] * 3, rng.standard_normal((3, 128)))
                acknowledged[0] = k + 1

    Gallery(path, MODEL, 128, create=True).close()
    thread = threading.Thread(target=enrol)
    thread.start()
    try:
        for number in range(6):
            before = acknowledged[0]
            backup(path, tmp_path / f"b{number}.db")
            connection = sqlite3.connect(tmp_path / f"b{number}.db")
            found = dict(connection.execute("SELECT name, COUNT(*) FROM templates GROUP BY name").fetchall())
            connection.close()
            assert set(found.values()) <= {3}
            assert {f"p{k}" for k in range(before)} <= set(found)
    finally:
        stop.set()
        thread.join()


def test_a_damaged_gallery_makes_no_backup(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "g.db"
    rows = damage.make(path)
    data = bytearray(path.read_bytes())
    data[data.index(rows[9][1]) + 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ArtefactError, match=r"is damaged: see edgeface gallery check"):
        backup(path, tmp_path / "b.db")
    assert files(tmp_path) == ["g.db"]


@pytest.mark.parametrize("share", [0.35, 0.6, 0.97])
def test_a_full_disk(tmp_path: Path, small_files: SmallFiles, damage: Any, share: float) -> None:
    path, out, there = tmp_path / "g.db", tmp_path / "b.db", tmp_path / "there.db"
    damage.make(path)
    backup(path, there)
    before, size = there.read_bytes(), path.stat().st_size
    for target in (out, there):
        with pytest.raises(InputError, match=r"^cannot (write|use)"), small_files(int(size * share)):
            backup(path, target)
    with pytest.raises(InputError, match=r"^cannot (write|use)"), small_files(int(size * share)):
        restore(path, there)
    assert there.read_bytes() == before
    assert files(tmp_path) == ["g.db", "there.db"]
    assert check(path).sound


def test_putting_a_backup_back(tmp_path: Path, damage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeface_runtime.gallery.INDEX_FROM", 4)
    monkeypatch.setattr("edgeface_runtime.gallery_search.FILE_FROM", 50)
    path, out = tmp_path / "g.db", tmp_path / "b.db"
    rows = damage.make(path)
    backup(path, out)
    with Gallery(path) as gallery:
        gallery.enroll("later", np.ones(128))
        gallery.prepare()
    later = damage.truth(path)
    assert (tmp_path / "g.db.index").exists()
    done = restore(path, out)
    assert damage.truth(path) == rows
    assert (done.templates, done.erased_again, done.unknown) == (len(rows), 0, None)
    assert done.kept == f"{path}.before-restore-1" and damage.truth(Path(done.kept)) == later
    assert files(tmp_path) == ["b.db", "g.db", "g.db.before-restore-1"]
    assert check(path).sound and all(f.what != "backup" for f in check(path).findings)
    assert restore(path, out).kept == f"{path}.before-restore-2"
    with Gallery(path) as gallery:  # an id that was given once is not given again
        assert gallery.enroll("new", np.ones(128)) > max(later)


def test_who_was_erased_since_stays_erased(tmp_path: Path, damage: Any) -> None:
    path, out, newer = tmp_path / "g.db", tmp_path / "b.db", tmp_path / "newer.db"
    rows = damage.make(path)
    gone = {row_id: row for row_id, row in rows.items() if row[0] in ("person 010", "person 020")}
    assert len(gone) == 4
    backup(path, out)
    with Gallery(path) as gallery:
        gallery.delete("person 010")
        gallery.delete("person 020")
        back = gallery.enroll("person 020", np.ones(128))  # of her own will
        backup(path, newer)
    done = restore(path, out)
    assert done.erased_again == 4
    assert damage.truth(path) == {row_id: row for row_id, row in rows.items() if row_id not in gone}
    data = path.read_bytes()
    assert all(row[1] not in data and row[2].encode() not in data for row in gone.values())
    assert b"person 010" not in data
    # Marks stay: also where the backup is put back twice, and who enrolled again after her deletion is not lost.
    assert restore(path, out).erased_again == 4
    done = restore(path, newer)
    assert done.erased_again == 0 and damage.truth(path)[back][0] == "person 020"


def test_an_erasure_whose_mark_is_lost_is_known_by_the_log(tmp_path: Path, damage: Any) -> None:
    path, out = tmp_path / "g.db", tmp_path / "b.db"
    damage.make(path)
    backup(path, out)
    with Gallery(path) as gallery:
        gallery.delete("person 010")
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM erasures")
    connection.commit()
    connection.close()
    assert restore(path, out).erased_again == 2
    assert "person 010" not in names(path)


def test_marks_name_nobody(tmp_path: Path) -> None:
    path = tmp_path / "g.db"
    with Gallery(path, MODEL, 128, create=True) as gallery:
        gallery.enroll("Zebulon", np.ones(128))
        gallery.delete(" Zebulon ")
    connection = sqlite3.connect(path)
    ((mark, last, at),) = connection.execute("SELECT mark, last_id, at FROM erasures").fetchall()
    connection.close()
    assert len(mark) == 16 and last == 1 and at.startswith("20")
    assert b"Zebulon" not in path.read_bytes()


@pytest.mark.parametrize("how", ["a page", "all", "missing"])
def test_where_deletions_may_be_missing_it_says_so(tmp_path: Path, damage: Any, how: str) -> None:
    path, out = tmp_path / "g.db", tmp_path / "b.db"
    rows = damage.make(path)
    backup(path, out)
    with Gallery(path) as gallery:
        gallery.delete("person 010")
    if how == "missing":
        path.unlink()
        (tmp_path / "g.db-wal").write_bytes(b"of another file" * 999)
        (tmp_path / "g.db.index").write_bytes(b"stale")
    else:
        data = bytearray(path.read_bytes())
        if how == "a page":
            data[:4096] = bytes(4096)
        else:
            data[:] = b"\xaa" * len(data)
        path.write_bytes(data)
    if how == "all":
        with pytest.raises(ArtefactError, match="is not a gallery: move it away first"):
            restore(path, out)
        assert path.read_bytes() == data
        return
    done = restore(path, out)
    assert done.unknown is not None
    # A damaged gallery's marks are read as far as they are whole.
    assert done.erased_again == (2 if how == "a page" else 0)
    assert len(damage.truth(path)) == len(rows) - done.erased_again
    assert not (tmp_path / "g.db-wal").exists() and not (tmp_path / "g.db.index").exists()
    if how == "a page":
        assert Path(str(done.kept)).read_bytes() == data


def test_the_log_of_a_killed_process_goes_with_the_old_file(tmp_path: Path, damage: Any) -> None:
    live, path, out = tmp_path / "live.db", tmp_path / "g.db", tmp_path / "b.db"
    rows = damage.make(live)
    backup(live, out)
    with Gallery(live) as gallery:
        gallery.enroll("in the log", np.ones(128))
        shutil.copy(live, path)
        shutil.copy(tmp_path / "live.db-wal", tmp_path / "g.db-wal")
    done = restore(path, out)
    assert damage.truth(path) == rows
    assert "in the log" in {row[0] for row in damage.truth(Path(str(done.kept))).values()}


def test_refusals(tmp_path: Path, damage: Any) -> None:
    path, out, other = tmp_path / "g.db", tmp_path / "b.db", tmp_path / "other.db"
    damage.make(path)
    damage.make(other, 3, 1)
    backup(other, out)
    before = damage.truth(path)
    with pytest.raises(InputError, match=r"is a backup of another gallery than .* --force"):
        restore(path, out)
    with pytest.raises(InputError, match="is the gallery itself"):
        restore(path, path)
    with pytest.raises(InputError, match="gallery not found"):
        restore(path, tmp_path / "missing.db")
    data = bytearray(out.read_bytes())
    data[data.index(next(iter(damage.truth(out).values()))[1])] ^= 1
    (tmp_path / "bad.db").write_bytes(data)
    with pytest.raises(ArtefactError, match="is damaged: restore another backup"):
        restore(path, tmp_path / "bad.db", force=True)
    connection = sqlite3.connect(out)
    connection.execute("DROP TRIGGER templates_deleted")  # as if the row had never been: all that are left are whole
    connection.execute("DELETE FROM templates WHERE id = 1")
    connection.commit()
    connection.close()
    with pytest.raises(ArtefactError, match="is damaged"):
        restore(path, out, force=True)
    (tmp_path / "notes.txt").write_text("notes")
    backup(other, tmp_path / "b2.db")
    with pytest.raises(ArtefactError, match="is not a gallery: move it away first"):
        restore(tmp_path / "notes.txt", tmp_path / "b2.db")
    assert (tmp_path / "notes.txt").read_text() == "notes"
    assert damage.truth(path) == before
    assert not list(tmp_path.glob("*before-restore*"))
    with Gallery(path) as gallery:
        gallery.delete("person 001")  # who is somebody else in the other gallery
    assert restore(path, tmp_path / "b2.db", force=True).people == 4


@pytest.mark.parametrize("who", ["this process", "another"])
def test_a_gallery_that_is_open_is_left_alone(tmp_path: Path, damage: Any, who: str) -> None:
    path, out = tmp_path / "g.db", tmp_path / "b.db"
    damage.make(path, 5, 1)
    backup(path, out)
    before = damage.truth(path)
    if who == "this process":
        with Gallery(path) as gallery, pytest.raises(InputError, match="is open elsewhere"):
            restore(path, out)
        assert gallery is not None
    else:
        script = (
            "import sys; from edgeface_runtime.gallery import Gallery\n"
            "with Gallery(sys.argv[1]) as g: g.people(); print('open', flush=True); sys.stdin.read()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", script, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None and child.stdout.readline() == "open\n"
            with pytest.raises(InputError, match="is open elsewhere"):
                restore(path, out)
            child.communicate()
        assert child.returncode == 0
    assert damage.truth(path) == before
    assert files(tmp_path) == ["b.db", "g.db"]
    assert restore(path, out).templates == len(before)


def test_a_gallery_of_version_1_is_backed_up_and_put_back(tmp_path: Path, damage: Any) -> None:
    path, out = tmp_path / "g.db", tmp_path / "old.db"
    rows = damage.make(path)
    shutil.copy(path, out)
    connection = sqlite3.connect(out)
    connection.execute("ALTER TABLE templates DROP COLUMN checksum")
    for table in ("spare", "erasures", "crops"):
        connection.execute(f"DROP TABLE {table}")
    connection.execute("DELETE FROM meta WHERE key IN ('gallery_id', 'erasure_salt')")
    connection.execute("UPDATE meta SET value = '1' WHERE key = 'version'")
    connection.commit()
    connection.close()
    before = out.read_bytes()
    with pytest.raises(InputError, match="--force"):  # it does not say which gallery it is of
        restore(path, out)
    assert damage.truth(path) == rows
    with Gallery(path) as gallery:
        gallery.delete("person 010")
    for _ in range(2):  # the marks go on to the gallery that was put back
        done = restore(path, out, force=True)
        assert done.backup is None and done.erased_again == 2 and check(path).sound
        assert damage.truth(path) == {row_id: row for row_id, row in rows.items() if row[0] != "person 010"}
    assert out.read_bytes() == before
