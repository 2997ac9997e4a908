"""`gallery repair`: of any damage all rows come back that were not on damaged pages, and nothing that is not true."""

from __future__ import annotations

import errno
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.gallery import Gallery
from edgeface_runtime.gallery_check import check
from edgeface_runtime.gallery_repair import repair

MODEL = "a" * 64
PAGE = 4096


def harm(data: bytes, rng: random.Random) -> tuple[bytes, set[int]]:
    """The file with damage, and the pages that were touched."""
    changed, pages = bytearray(data), len(data) // PAGE
    kind = rng.choice(["zeros", "noise", "flips", "cut", "stretch"])
    hit: set[int] = set()
    if kind == "cut":
        kept = rng.randrange(PAGE // 2, len(data))
        return bytes(changed[:kept]), set(range(kept // PAGE, pages))
    if kind == "stretch":  # what a bad block of a card looks like
        start = rng.randrange(len(data) - 3 * PAGE)
        changed[start : start + 2 * PAGE] = b"\xff" * (2 * PAGE)
        return bytes(changed), set(range(start // PAGE, (start + 2 * PAGE - 1) // PAGE + 1))
    for _ in range(rng.randrange(1, 6)):
        page = rng.randrange(pages)
        hit.add(page)
        if kind == "zeros":
            changed[page * PAGE : (page + 1) * PAGE] = bytes(PAGE)
        elif kind == "noise":
            changed[page * PAGE : (page + 1) * PAGE] = rng.randbytes(PAGE)
        else:
            changed[page * PAGE + rng.randrange(PAGE)] ^= 1 << rng.randrange(8)
    return bytes(changed), hit


def header_pages(path: Path, data: bytes) -> tuple[set[int], set[int]]:
    """Pages of the header's copy, and those its first copy needs: the schema's and its own."""
    spare = {k // PAGE for k in range(len(data)) if data.startswith(b'"model_id": "aaaa', k)}
    connection = sqlite3.connect(path)
    roots = connection.execute("SELECT rootpage FROM sqlite_master WHERE tbl_name = 'meta' OR name = 'meta'")
    found = {0, *(row[0] - 1 for row in roots)}
    connection.close()
    return spare, found


@pytest.mark.parametrize("seed", range(40))
def test_whatever_is_damaged(tmp_path: Path, seed: int, damage: Any) -> None:
    path, out = tmp_path / "g.db", tmp_path / "out.db"
    rows = damage.make(path)
    data = path.read_bytes()
    where = damage.pages_of(data, rows)
    spare, meta = header_pages(path, data)
    assert len(spare) == 1
    index = {k // PAGE for k in range(0, len(data), PAGE) if data[k] in (2, 10)}
    changed, hit = harm(data, random.Random(seed))
    path.write_bytes(changed)
    try:
        done = repair(path, out)
    except ArtefactError as exc:
        assert "restore a backup" in str(exc) and spare & hit and meta & hit and not out.exists()
        return
    assert path.read_bytes() == changed
    found = damage.truth(out)
    assert all(rows[row_id] == row for row_id, row in found.items())
    missing = set(rows) - set(found)
    assert {where[row_id] for row_id in missing} <= hit
    if not index & hit:
        assert {row_id: rows[row_id][0] for row_id in missing} == {lost.id: lost.name for lost in done.lost}
    assert {lost.id for lost in done.lost if lost.id in rows} <= missing
    assert done.templates == len(found) and done.verified
    assert check(out).sound
    with Gallery(out, MODEL) as gallery:
        assert gallery.count() == len(found)
        new = gallery.enroll("new", np.ones(128))
        assert new > max(found, default=0)


def test_in_place_and_what_was_lost_by_name(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "g.db"
    rows = damage.make(path)
    data = bytearray(path.read_bytes())
    at = data.index(rows[40][1])
    data[at + 17] ^= 4
    path.write_bytes(data)
    path.chmod(0o600)
    done = repair(path)
    assert [(lost.id, lost.name) for lost in done.lost] == [(40, rows[40][0])]
    assert done.kept == f"{path}.damaged-1" and Path(done.kept).read_bytes() == data
    assert damage.truth(path) == {row_id: row for row_id, row in rows.items() if row_id != 40}
    assert path.stat().st_mode & 0o777 == 0o600
    assert repair(path).kept == f"{path}.damaged-2"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["g.db", "g.db.damaged-1", "g.db.damaged-2"]
    with Gallery(path) as gallery:  # the copies are told to whoever erases
        assert "g.db.damaged-1, g.db.damaged-2" in str(gallery.delete("last").pending)


def test_the_erased_do_not_come_back(tmp_path: Path, damage: Any) -> None:
    """A leaf of before the deletion, as a file system may bring it back, is not believed."""
    path = tmp_path / "g.db"
    rows = damage.make(path)
    before = path.read_bytes()
    page = damage.pages_of(before, rows)[20]
    name = rows[20][0]
    with Gallery(path) as gallery:
        assert gallery.delete(name).erased
    data = bytearray(path.read_bytes())
    data[page * PAGE : (page + 1) * PAGE] = before[page * PAGE : (page + 1) * PAGE]
    path.write_bytes(data)
    assert rows[20][1] in path.read_bytes()
    done = repair(path, tmp_path / "out.db")
    assert done.erased > 0
    assert name not in {row[0] for row in damage.truth(tmp_path / "out.db").values()}
    assert rows[20][1] not in (tmp_path / "out.db").read_bytes()


def test_features_come_back_over_their_many_pages(tmp_path: Path) -> None:
    path, out = tmp_path / "g.db", tmp_path / "out.db"
    features = np.random.default_rng(1).standard_normal((9, 64, 8, 8))
    rows = np.random.default_rng(2).standard_normal((9, 32))
    with Gallery(path, MODEL, 32, create=True, features=(64, 8, 8)) as gallery:
        gallery.enroll_batch(list("abcdefghi"), rows, features=list(features))
    data = bytearray(path.read_bytes())
    at = data.index(np.asarray(features[4], "<f2").tobytes()[4000:4100])
    data[at] ^= 1
    data[:100] = bytes(100)
    path.write_bytes(data)
    assert [lost.id for lost in repair(path, out).lost] == [5]
    connection = sqlite3.connect(out)
    found = dict(connection.execute("SELECT name, features FROM templates").fetchall())
    connection.close()
    assert found == {name: np.asarray(features[k], "<f2").tobytes() for k, name in enumerate("abcdefghi") if k != 4}


def test_a_gallery_of_version_1(tmp_path: Path, damage: Any) -> None:
    """It has no checksums: what is no unit vector is left out, and the report says that more cannot be told."""
    path, out = tmp_path / "g.db", tmp_path / "out.db"
    rows = damage.make(path)
    connection = sqlite3.connect(path)
    connection.execute("ALTER TABLE templates DROP COLUMN checksum")
    for table in ("spare", "erasures", "crops"):
        connection.execute(f"DROP TABLE {table}")
    connection.execute("UPDATE meta SET value = '1' WHERE key = 'version'")
    connection.commit()
    connection.close()
    data = bytearray(path.read_bytes())
    data[data.index(rows[40][1]) + 3] ^= 0x7F
    path.write_bytes(data)
    done = repair(path, out)
    assert not done.verified and [lost.id for lost in done.lost] == [40]
    assert damage.truth(out) == {row_id: row for row_id, row in rows.items() if row_id != 40}
    assert check(out).sound


def test_refusals_leave_everything(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "g.db"
    damage.make(path, 5, 1)
    before = path.read_bytes()
    with Gallery(path), pytest.raises(InputError, match="is open elsewhere: stop what uses it"):
        repair(path)
    (tmp_path / "out.db").touch()
    with pytest.raises(InputError, match="exists"):
        repair(path, tmp_path / "out.db")
    with pytest.raises(InputError, match="gallery not found"):
        repair(tmp_path / "missing.db")
    (tmp_path / "text.db").write_text("no gallery\n" * 999)
    with pytest.raises(ArtefactError, match="nothing in it says which model"):
        repair(tmp_path / "text.db")
    assert path.read_bytes() == before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["g.db", "out.db", "text.db"]


def test_a_disk_that_can_only_be_read(tmp_path: Path, damage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = tmp_path / "g.db", tmp_path / "out.db"
    rows = damage.make(path)
    real = os.open

    def read_only(file: Any, flags: int, mode: int = 0o777) -> int:
        if Path(file) == path and flags & os.O_RDWR:
            raise OSError(errno.EROFS, "Read-only file system", str(file))
        return real(file, flags, mode)

    monkeypatch.setattr("edgeface_runtime.gallery_files.os.open", read_only)
    repair(path, out)
    assert damage.truth(out) == rows


def test_a_full_disk(tmp_path: Path, small_files: Callable[[int], AbstractContextManager[None]], damage: Any) -> None:
    path = tmp_path / "g.db"
    damage.make(path)
    before = path.read_bytes()
    for room in (1000, len(before) // 2):
        for out in (None, tmp_path / "out.db"):
            with pytest.raises(InputError, match=r"^cannot (write|use)"), small_files(room):
                repair(path, out)
            assert path.read_bytes() == before
            assert list(tmp_path.iterdir()) == [path]


def crash(path: Path, to: Path) -> None:
    """The files of a gallery that is open, as a crash leaves them."""
    shutil.copy(path, to)
    shutil.copy(path.with_name(path.name + "-wal"), to.with_name(to.name + "-wal"))


@pytest.fixture
def crashed(tmp_path: Path) -> tuple[Path, dict[int, str]]:
    """Twelve enrolments, each acknowledged, all in the log; and a person deleted."""
    path, left = tmp_path / "live.db", tmp_path / "g.db"
    rng = np.random.default_rng(4)
    with Gallery(path, MODEL, 128, create=True) as gallery:
        for k in range(12):
            gallery.enroll(f"p{k}", rng.standard_normal(128))
        crash(path, left)
        names = {k + 1: f"p{k}" for k in range(12)}
    for entry in tmp_path.glob("live.db*"):
        entry.unlink()
    return left, names


def frames(wal: Path) -> list[tuple[int, bool]]:
    """(offset, whether it ends a transaction) of a log's frames, from the file format's page."""
    data = wal.read_bytes()
    size = 24 + int.from_bytes(data[8:12], "big")
    salts = data[16:24]
    found = [
        (at, data[at + 4 : at + 8] != bytes(4))
        for at in range(32, len(data), size)
        if data[at + 8 : at + 16] == salts
    ]
    return found


@pytest.mark.parametrize("seed", range(12))
def test_a_damaged_log_is_told_and_what_follows_comes_back(
    tmp_path: Path, crashed: tuple[Path, dict[int, str]], seed: int
) -> None:
    """SQLite itself forgets all that follows the damage, without a word."""
    path, names = crashed
    wal = path.with_name("g.db-wal")
    data = bytearray(wal.read_bytes())
    ends = [at for at, end in frames(wal) if end]
    at = random.Random(seed).randrange(32, ends[6])
    data[at] ^= 0x20
    wal.write_bytes(data)
    before = path.read_bytes(), wal.read_bytes()
    report = check(path)
    assert [f.state for f in report.findings if f.what == "write-ahead log"] in (["damaged"], [])
    assert not report.sound
    done = repair(path, tmp_path / "out.db")
    assert (path.read_bytes(), wal.read_bytes()) == before
    with Gallery(tmp_path / "out.db") as gallery:
        saved = {person.name for person in gallery.people()}
    assert saved <= set(names.values())
    assert len(saved) == 12 - len({lost.id for lost in done.lost} & set(names))
    assert len(saved) >= 11
    assert check(tmp_path / "out.db").sound


def test_a_torn_last_transaction_is_no_damage(tmp_path: Path, crashed: tuple[Path, dict[int, str]]) -> None:
    path, names = crashed
    wal = path.with_name("g.db-wal")
    data = bytearray(wal.read_bytes())
    last = [at for at, end in frames(wal) if end][-1]
    data[last + 100] ^= 1
    wal.write_bytes(data)
    assert check(path).sound
    repair(path, tmp_path / "out.db")
    with Gallery(tmp_path / "out.db") as gallery:
        assert {person.name for person in gallery.people()} == set(names.values()) - {"p11"}
