"""Searching a large gallery: exactly what sorting everything finds, whatever happens to the index and its file."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeface_runtime import gallery_index_file as index_file
from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.gallery import Gallery
from edgeface_runtime.gallery_index import ROWS
from edgeface_runtime.gallery_search import LargeGallery

MODEL = "a" * 64
SIZE = 24
Floats = np.ndarray


@pytest.fixture(autouse=True)
def small_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Galleries of 4 templates on have an index, of 50 on a file of it."""
    monkeypatch.setattr("edgeface_runtime.gallery.INDEX_FROM", 4)
    monkeypatch.setattr("edgeface_runtime.gallery_search.FILE_FROM", 50)
    monkeypatch.setattr("edgeface_runtime.gallery_search.BEHIND", 30)


def make(path: Path, size: int = SIZE) -> Gallery:
    return Gallery(path, MODEL, size, create=True)


def vectors(count: int, seed: int = 0, size: int = SIZE) -> Floats:
    return np.random.default_rng(seed).standard_normal((count, size)).astype(np.float32)


def by_hand(names: list[str], rows: Floats, probe: Floats, top: int) -> list[tuple[str, float]]:
    """Best people by float64 over everything, from the templates as they lie in the file."""
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    scores = unit.astype(np.float64) @ (probe / np.linalg.norm(probe)).astype(np.float64)
    best: dict[str, float] = {}
    for name, score in zip(names, scores.tolist(), strict=True):
        best[name] = max(best.get(name, -2.0), score)
    return sorted(best.items(), key=lambda entry: (-entry[1], entry[0]))[:top]


def agree(gallery: Gallery, probe: Floats, top: int = 5) -> None:
    names, matrix = gallery.templates()
    wanted = by_hand(names, matrix, probe.astype(np.float32), top)
    found = gallery.search(probe, top)
    assert gallery._large.index is not None
    assert [c.score for c in found] == pytest.approx([score for _, score in wanted], abs=1e-6)
    # float32 probes differ in the last bit by who normalised them: equal scores may change places.
    scores = dict(by_hand(names, matrix, probe.astype(np.float32), len(names)))
    assert [scores[c.name] for c in found] == pytest.approx([score for _, score in wanted], abs=2e-7)
    assert len({c.name for c in found}) == len(wanted)


def blocks(path: Path) -> bytes:
    return index_file.index_path(path).read_bytes()


def near_ties(rng: np.random.Generator) -> Floats:
    """One direction, and rows that differ from it by a millionth: far less than a code can tell."""
    return rng.standard_normal(SIZE)[None] + 1e-6 * rng.standard_normal((700, SIZE))


def spikes(rng: np.random.Generator) -> Floats:
    """One number is large in every row, so that the others get few codes."""
    rows = rng.standard_normal((700, SIZE))
    rows[np.arange(700), rng.integers(SIZE, size=700)] = 50 * rng.choice([-1, 1], size=700)
    return rows


ADVERSARIES: dict[str, Callable[[np.random.Generator], Floats]] = {
    "random": lambda rng: rng.standard_normal((700, SIZE)),
    "near ties": near_ties,
    "duplicates": lambda rng: np.repeat(rng.standard_normal((7, SIZE)), 100, axis=0),
    "all the same": lambda rng: np.ones((700, SIZE)),
    "spikes": spikes,
    "one number": lambda rng: np.eye(SIZE)[rng.integers(SIZE, size=700)],
    "opposite": lambda rng: np.concatenate([near_ties(rng)[:350], -near_ties(rng)[:350]]),
}


@pytest.mark.parametrize("kind", list(ADVERSARIES))
@pytest.mark.parametrize("runtime", ["onnxruntime", "numpy"])
def test_it_finds_what_sorting_everything_finds(
    tmp_path: Path, kind: str, runtime: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if runtime == "numpy":
        monkeypatch.setattr("edgeface_runtime.gallery_codes._session", lambda: None)
    rng = np.random.default_rng(3)
    rows = ADVERSARIES[kind](rng).astype(np.float32)
    with make(tmp_path / "g.db") as gallery:
        gallery.enroll_batch([f"p{k % 233:03d}" for k in range(len(rows))], rows)
        for probe in (rng.standard_normal(SIZE), rows[5], -rows[5], np.eye(SIZE)[0]):
            for top in (1, 5, 300):
                agree(gallery, probe, top)
        assert gallery.describe()["multiplied_by"] == runtime


def test_few_rows_are_scored_of_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    rows = LargeGallery._rows
    monkeypatch.setattr(LargeGallery, "_rows", lambda self, c, ids: asked.append(len(ids)) or rows(self, c, ids))
    with make(tmp_path / "g.db", 64) as gallery:
        gallery.enroll_batch([f"p{k}" for k in range(20_000)], vectors(20_000, 1, 64))
        for probe in vectors(3, 2, 64):
            asked.clear()
            agree(gallery, probe)
            assert sum(asked) < 500


@pytest.mark.parametrize("count", [4, 5, 63, 64, 65])
def test_small_ones_and_more_people_asked_than_there_are(tmp_path: Path, count: int) -> None:
    with make(tmp_path / "g.db") as gallery:
        gallery.enroll_batch([f"p{k}" for k in range(count)], vectors(count))
        for top in (1, count, count + 10):
            agree(gallery, vectors(1, 9)[0], top)
        with pytest.raises(InputError, match="--top is 0"):
            gallery.search(vectors(1)[0], 0)


def test_a_batch_is_checked_and_all_or_nothing(tmp_path: Path) -> None:
    rows = vectors(10)
    with make(tmp_path / "g.db") as gallery:
        ids = gallery.enroll_batch(["ann", " bob "] * 5, rows)
        assert ids == list(range(ids[0], ids[0] + 10))
        assert [(p.name, p.templates) for p in gallery.people()] == [("ann", 5), ("bob", 5)]
        rows[7] = 0
        for bad in (rows, vectors(10)[:, :3], np.full((10, SIZE), np.nan), [[1.0], [1.0, 2.0]] * 5):
            with pytest.raises(InputError, match="not an embedding"):
                gallery.enroll_batch(["x"] * 10, bad)
        with pytest.raises(InputError, match="cannot enrol the name"):
            gallery.enroll_batch(["x", ""], rows[:2])
        assert gallery.enroll_batch([], []) == []
        assert gallery.count() == 10


def test_what_another_process_changes_is_followed(tmp_path: Path) -> None:
    rows = vectors(100)
    with make(tmp_path / "g.db") as one, Gallery(tmp_path / "g.db", MODEL) as two:
        ids = one.enroll_batch([f"p{k}" for k in range(100)], rows)
        assert two.search(rows[7])[0].name == "p7"
        one.enroll("new", -rows[7])
        assert two.search(-rows[7])[0].name == "new"
        one.delete("p7")
        assert two.search(rows[7])[0].name != "p7"
        assert one.replace(ids[8], rows[7]).erased
        assert two.search(rows[7])[0].name == "p8"
        for probe in vectors(5, 4):
            agree(one, probe)
            agree(two, probe)


def test_the_file_is_used_and_brought_up_to_date(tmp_path: Path) -> None:
    path, rows = tmp_path / "g.db", vectors(120)
    with make(path) as gallery:
        ids = gallery.enroll_batch([f"p{k}" for k in range(100)], rows[:100])
        seen: list[tuple[int, int]] = []
        assert gallery.prepare(lambda done, total: seen.append((done, total)))["index"] == "made"
        assert seen[-1] == (100, 100)
        gallery.enroll_batch([f"p{k}" for k in range(100, 120)], rows[100:])
        gallery.replace(ids[3], -rows[0])
        gallery.delete("p0")
    with Gallery(path) as gallery:
        assert gallery.prepare() == {
            "templates": 119,
            "multiplied_by": "onnxruntime",
            "index": "file",
            "note": None,
            "encrypted": False,
        }
        for probe in (*vectors(3, 5), rows[0], -rows[0], rows[110]):
            agree(gallery, probe)


def flip(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 0x10
    return bytes(changed)


DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "no header": lambda data: data[:100],
    "cut": lambda data: data[:-1],
    "half": lambda data: data[: len(data) // 2],
    "longer": lambda data: data + b"x",
    "bit of the header": lambda data: flip(data, data.index(b'"count"') + 9),
    "bit of the codes": lambda data: flip(data, 4096 + 5),
    "bit of the codes' end": lambda data: flip(data, 4096 + (SIZE - 1) * ROWS + 7),
    "bit of the rows": lambda data: flip(data, len(data) - 40),
    "bit of the checks": lambda data: flip(data, len(data) - 1),
    "zeros": lambda data: bytes(len(data)),
    "noise": lambda data: np.random.default_rng(0).bytes(len(data)),
}


@pytest.mark.parametrize("kind", list(DAMAGES))
def test_a_damaged_file_is_made_anew_and_said(tmp_path: Path, kind: str) -> None:
    path, rows = tmp_path / "g.db", vectors(100)
    with make(path) as gallery:
        gallery.enroll_batch([f"p{k}" for k in range(100)], rows)
        gallery.prepare()
    whole = blocks(path)
    index_file.index_path(path).write_bytes(DAMAGES[kind](whole))
    with Gallery(path) as gallery:
        for probe in rows[:3]:
            agree(gallery, probe)
        said = gallery.describe()
    assert said["index"] == "made"
    assert "was damaged" in said["note"]
    assert blocks(path) == whole


def test_a_file_of_another_life_is_not_used(tmp_path: Path) -> None:
    """A backup is put back and others are enrolled under the same ids: the index of before must not stay."""
    path, rows = tmp_path / "g.db", vectors(300)
    with make(path) as gallery:
        gallery.enroll_batch([f"p{k}" for k in range(100)], rows[:100])
    shutil.copy(path, tmp_path / "backup.db")
    with Gallery(path) as gallery:
        gallery.enroll_batch([f"q{k}" for k in range(100)], rows[100:200])
        gallery.prepare()
    shutil.copy(tmp_path / "backup.db", path)
    with Gallery(path) as gallery:
        gallery.enroll_batch([f"r{k}" for k in range(100)], rows[200:])
        assert gallery.search(rows[250], 1)[0].name == "r50"
        assert "not of this gallery's past" in gallery.describe()["note"]


def test_an_index_that_cannot_be_written_is_in_memory_and_said(tmp_path: Path) -> None:
    path, rows = tmp_path / "g.db", vectors(100)
    index_file.index_path(path).mkdir()
    with make(path) as gallery:
        gallery.enroll_batch([f"p{k}" for k in range(100)], rows)
        agree(gallery, rows[5])
        assert "in memory only" in gallery.describe()["note"]
        erasure = gallery.delete("p5")
        assert erasure.pending is not None
        assert "index file" in erasure.pending
        assert gallery.search(rows[5])[0].name != "p5"
        index_file.index_path(path).rmdir()
        assert gallery.finish_erasure() is None


def codes_of(path: Path, ids: list[int]) -> Floats:
    index = index_file.load(index_file.index_path(path), SIZE)
    rows = index.positions(np.array(ids))
    return np.stack([index.blocks[row // ROWS][:, row % ROWS] for row in rows])


def test_deleting_takes_the_codes_off_the_disk(tmp_path: Path) -> None:
    path, rows = tmp_path / "g.db", vectors(100)
    with make(path) as gallery:
        ids = gallery.enroll_batch([f"p{k}" for k in range(100)], rows)
        gallery.prepare()
        assert np.abs(codes_of(path, ids)).max(axis=1).min() == 127
        left = tmp_path / ".g.db.index.edgeface.part"
        left.write_bytes(b"what a killed run left")
        assert gallery.delete("p3").erased
        assert gallery.replace(ids[4], rows[0]).erased
        assert not left.exists()
        assert not codes_of(path, [ids[3], ids[4]]).any()
        assert np.abs(codes_of(path, ids[5:])).max(axis=1).min() == 127
    with Gallery(path) as gallery:
        assert gallery.prepare()["index"] == "file"
        for probe in (rows[3], rows[4], rows[0]):
            agree(gallery, probe)


def test_whom_the_index_in_memory_has_forgotten_is_not_written_again(tmp_path: Path) -> None:
    path, rows = tmp_path / "g.db", vectors(200)
    with make(path) as gallery:
        ids = gallery.enroll_batch([f"p{k}" for k in range(100)], rows[:100])
        gallery.prepare()
        before = blocks(path)
        assert gallery.delete("p3").erased
        gallery.enroll_batch([f"q{k}" for k in range(100)], rows[100:])  # so many that the file is written anew
        agree(gallery, rows[3])
        assert len(blocks(path)) > len(before)
        assert not codes_of(path, [ids[3]]).any()


def test_a_file_written_meanwhile_by_a_process_that_was_killed(tmp_path: Path) -> None:
    """It holds somebody whose erasure was acknowledged before it got its name: the next search takes them out."""
    path = tmp_path / "g.db"
    with make(path) as gallery:
        ids = gallery.enroll_batch([f"p{k}" for k in range(100)], vectors(100))
        gallery.prepare()
        written = blocks(path)
        assert gallery.delete("p3").erased
    index_file.index_path(path).write_bytes(written)
    with Gallery(path) as gallery:
        agree(gallery, vectors(100)[3])
        assert gallery.describe()["index"] == "file"
        assert not codes_of(path, [ids[3]]).any()
        agree(gallery, vectors(100)[4])


def test_a_search_sees_before_or_after_never_between(tmp_path: Path) -> None:
    """Pairs that come and go in one transaction, under searches that would see half of one."""
    rows = vectors(300)
    twins = np.stack([rows[0], rows[0]])
    errors: list[object] = []
    stop = threading.Event()
    with make(tmp_path / "g.db") as gallery:
        gallery.enroll_batch([f"p{k}" for k in range(299)], rows[1:])

        def look() -> None:
            while not stop.is_set():
                try:
                    found = {c.name for c in gallery.search(rows[0], 3) if c.score > 0.999}
                    if found not in (set(), {"left", "right"}):
                        errors.append(found)
                except Exception as exc:
                    errors.append(exc)

        threads = [threading.Thread(target=look) for _ in range(2)]
        for thread in threads:
            thread.start()
        other = sqlite3.connect(tmp_path / "g.db", isolation_level=None, timeout=5)
        for _ in range(15):
            gallery.enroll_batch(["left", "right"], twins)
            other.execute("DELETE FROM templates WHERE name IN ('left', 'right')")
        stop.set()
        for thread in threads:
            thread.join()
        other.close()
        assert errors == []
        assert gallery.search(rows[0], 1)[0].score < 0.999
        agree(gallery, rows[0])


def test_a_search_that_is_overtaken_looks_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One person takes another's place in one transaction, between a scan and the scoring: one of them is found."""
    rows = vectors(60)
    bounds = LargeGallery.bounds
    with make(tmp_path / "g.db") as gallery:
        gallery.enroll_batch([f"p{k}" for k in range(60)], rows)
        other = sqlite3.connect(tmp_path / "g.db", isolation_level=None)
        scans: list[str] = []

        def overtaken(self: LargeGallery, *arguments: object) -> object:
            result = bounds(self, *arguments)  # type: ignore[arg-type]
            name = f"q{len(scans)}"
            scans.append(name)
            other.execute("BEGIN IMMEDIATE")
            row = other.execute(
                "SELECT id, template FROM templates WHERE name = ?", (scans[-2] if scans[1:] else "p0",)
            )
            old, template = row.fetchone()
            other.execute("DELETE FROM templates WHERE id = ?", (old,))
            other.execute(
                "INSERT INTO templates (name, template, source, created) VALUES (?, ?, '', '')", (name, template)
            )
            other.execute("COMMIT")
            return result

        monkeypatch.setattr(LargeGallery, "bounds", overtaken)
        # The last scan is made within a transaction: what it sees is what there was before the third change.
        assert [c.name for c in gallery.search(rows[0], 1)] == ["q1"]
        assert len(scans) == 3
        monkeypatch.undo()
        other.close()


def test_rows_that_came_and_went_do_not_pile_up(tmp_path: Path) -> None:
    with make(tmp_path / "g.db", 4) as gallery:
        gallery.enroll_batch(["a", "b", "c", "d"], np.eye(4))
        for _ in range(3):
            gallery.enroll_batch(["gone"] * 20_000, vectors(20_000, 0, 4))
            gallery.search([1, 0, 0, 0])
            gallery.delete("gone")
            assert gallery.search([1, 0, 0, 0], 1)[0].name == "a"
        assert gallery._large.index is not None
        assert gallery._large.index.count < 40_000


def test_a_gallery_that_is_only_replaced_does_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeface_runtime.gallery_changes.KEEP_LINES", 20)
    with make(tmp_path / "g.db") as gallery:
        ids = gallery.enroll_batch([f"p{k}" for k in range(10)], vectors(10))
        for k in range(60):
            gallery.replace(ids[k % 10], vectors(1, k)[0])
        assert gallery._open().execute("SELECT COUNT(*) FROM changes").fetchone()[0] <= 20
        agree(gallery, vectors(1, 59)[0])


def test_a_gallery_that_everybody_left(tmp_path: Path) -> None:
    rows = vectors(40_000, 0, 4)
    with make(tmp_path / "g.db", 4) as gallery:
        gallery.enroll_batch(["gone"] * 40_000, rows)
        assert [c.name for c in gallery.search(rows[0])] == ["gone"]
        gallery.delete("gone")
        assert gallery.search(rows[0]) == []
        gallery.enroll("ann", rows[0])
        assert [c.name for c in gallery.search(rows[0])] == ["ann"]


def test_a_gallery_of_before_gains_the_log_once(tmp_path: Path) -> None:
    path = tmp_path / "g.db"
    rows = vectors(60)
    with make(path) as gallery:
        gallery.enroll_batch([f"p{k}" for k in range(60)], rows)
    connection = sqlite3.connect(path)
    for statement in ("TRIGGER templates_deleted", "TRIGGER templates_replaced", "TABLE changes"):
        connection.execute(f"DROP {statement}")
    connection.commit()
    connection.close()
    failures: list[Exception] = []

    def open_it() -> None:
        try:
            with Gallery(path) as gallery:
                assert gallery.search(rows[3])[0].name == "p3"
        except Exception as exc:
            failures.append(exc)

    threads = [threading.Thread(target=open_it) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT COUNT(*) FROM changes").fetchone() == (1,)
    connection.close()


def test_damage_of_the_gallery_itself_is_said(tmp_path: Path) -> None:
    path = tmp_path / "g.db"
    with make(path) as gallery:
        gallery.enroll_batch([f"p{k}" for k in range(60)], vectors(60))
        connection = sqlite3.connect(path)
        connection.execute("UPDATE templates SET template = zeroblob(?) WHERE id = 9", (4 * SIZE,))
        connection.commit()
        connection.close()
        for _ in range(2):
            with pytest.raises(ArtefactError, match="a template has changed"):
                gallery.search(vectors(1)[0])


WRITER = """
import sys
from edgeface_runtime import gallery_search
from edgeface_runtime.gallery import Gallery
with Gallery(sys.argv[1]) as gallery:
    large = gallery._large
    gallery.prepare()
    print("ready", flush=True)
    while True:
        large._save(gallery._connection, large.index)
"""


def test_a_writer_that_is_killed_leaves_an_index_that_is_whole(tmp_path: Path) -> None:
    path, rows = tmp_path / "g.db", vectors(50_000)
    with make(path) as gallery:
        gallery.enroll_batch([f"p{k}" for k in range(50_000)], rows)
        gallery.prepare()
    whole = blocks(path)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for k in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path)], env=environment, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        time.sleep(0.005 + 0.011 * k)
        writer.send_signal(signal.SIGKILL)
        writer.communicate()
        assert blocks(path) == whole
    with Gallery(path) as gallery:
        assert gallery.prepare()["note"] is None
        assert gallery.search(rows[49_999], 1)[0].name == "p49999"
