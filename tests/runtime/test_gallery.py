"""The gallery: matching by hand, binding to a model, refusals, and erasure that erases."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.gallery import Gallery

MODEL = "a" * 64
OTHER = "b" * 64


def make(path: Path, size: int = 4) -> Gallery:
    return Gallery(path, MODEL, size, create=True)


def on_disk(path: Path) -> bytes:
    wal = path.with_name(path.name + "-wal")
    return path.read_bytes() + (wal.read_bytes() if wal.exists() else b"")


def stored(gallery: Gallery, name: str) -> bytes:
    """A person's first template, byte for byte as it lies in the file."""
    names, matrix = gallery.templates()
    return matrix[names.index(name)].tobytes()


def unit(size: int, seed: int) -> np.ndarray:
    vector = np.random.default_rng(seed).standard_normal(size).astype(np.float32)
    return vector / np.linalg.norm(vector)


def test_the_best_template_of_a_person_counts(tmp_path: Path) -> None:
    with make(tmp_path / "g.db") as gallery:
        gallery.enroll("ann", [1, 0, 0, 0])
        gallery.enroll("bob", [0, 2, 0, 0])
        gallery.enroll("ann", [0, 0, 3, 0], "second.jpg")
        gallery.enroll("cyd", [0, 0, 0, 1])
        found = gallery.search([0.0, 0.6, 0.8, 0.0], top=2)
        assert [c.name for c in found] == ["ann", "bob"]
        assert [c.score for c in found] == pytest.approx([0.8, 0.6])
        assert [c.name for c in gallery.search([0, 1, 0, 0], top=9)] == ["bob", "ann", "cyd"]
        assert [(p.name, p.templates) for p in gallery.people()] == [("ann", 2), ("bob", 1), ("cyd", 1)]


def test_search_equals_a_full_sort(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    vectors = rng.standard_normal((60, 16))
    names = [f"p{rng.integers(25)}" for _ in range(60)]
    with make(tmp_path / "g.db", 16) as gallery:
        for name, vector in zip(names, vectors, strict=True):
            gallery.enroll(name, vector)
        probe = rng.standard_normal(16)
        cosines = vectors @ probe / np.linalg.norm(vectors, axis=1) / np.linalg.norm(probe)
        best: dict[str, float] = {}
        for name, score in zip(names, cosines, strict=True):
            best[name] = max(best.get(name, -2.0), float(score))
        wanted = sorted(best.items(), key=lambda row: -row[1])[:7]
        found = gallery.search(probe, top=7)
        assert [c.name for c in found] == [name for name, _ in wanted]
        assert [c.score for c in found] == pytest.approx([score for _, score in wanted], abs=1e-5)


def test_templates_are_unit_float32_and_survive(tmp_path: Path) -> None:
    with make(tmp_path / "g.db") as gallery:
        gallery.enroll("ann", [3, 4, 0, 0])
    with Gallery(tmp_path / "g.db", MODEL) as gallery:
        names, matrix = gallery.templates()
        assert names == ["ann"]
        assert matrix.dtype == np.float32
        np.testing.assert_allclose(matrix, [[0.6, 0.8, 0, 0]], atol=1e-7)


def test_an_empty_gallery_matches_nobody(tmp_path: Path) -> None:
    with make(tmp_path / "g.db") as gallery:
        assert gallery.search([1, 0, 0, 0]) == []


def test_it_sees_what_another_connection_enrols(tmp_path: Path) -> None:
    with make(tmp_path / "g.db") as one, Gallery(tmp_path / "g.db", MODEL) as two:
        one.enroll("ann", [1, 0, 0, 0])
        assert [c.name for c in two.search([1, 0, 0, 0])] == ["ann"]
        one.enroll("bob", [0, 1, 0, 0])
        assert [c.name for c in two.search([0, 1, 0, 0], top=1)] == ["bob"]


def test_threads_share_one_gallery(tmp_path: Path) -> None:
    errors: list[Exception] = []
    with make(tmp_path / "g.db") as gallery:

        def work(k: int) -> None:
            try:
                for i in range(5):
                    gallery.enroll(f"p{k}-{i}", [1, k, i, 1])
                    gallery.search([1, 0, 0, 0])
            except Exception as exc:
                errors.append(exc)

        threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert len(gallery.people()) == 20


def test_enrolling_many_is_all_or_nothing(tmp_path: Path) -> None:
    with make(tmp_path / "g.db") as gallery:
        with pytest.raises(InputError, match="not an embedding"):
            gallery.enroll_many("ann", [[1, 0, 0, 0], [0, 0, 0, 0]], ["a", "b"])
        assert gallery.people() == []


@pytest.mark.parametrize("template", [[0, 0, 0, 0], [1, 0, 0], [np.nan, 0, 0, 1], [np.inf, 0, 0, 1]])
def test_what_is_no_embedding_is_refused(tmp_path: Path, template: list[float]) -> None:
    with make(tmp_path / "g.db") as gallery, pytest.raises(InputError, match="not an embedding"):
        gallery.enroll("ann", template)


@pytest.mark.parametrize("name", ["", "   ", "a\nb", "x" * 201])
def test_unusable_names_are_refused(tmp_path: Path, name: str) -> None:
    with make(tmp_path / "g.db") as gallery, pytest.raises(InputError, match="cannot enrol the name"):
        gallery.enroll(name, [1, 0, 0, 0])


def test_another_models_gallery_is_refused_naming_both(tmp_path: Path) -> None:
    make(tmp_path / "g.db").close()
    with pytest.raises(ArtefactError, match=f"model {'a' * 12}, this bundle is {'b' * 12}: use the bundle") as info:
        Gallery(tmp_path / "g.db", OTHER, 4)
    assert "\n" not in str(info.value)
    with pytest.raises(ArtefactError, match="holds embeddings of 4 numbers, not 512"):
        Gallery(tmp_path / "g.db", MODEL, 512, create=True)
    Gallery(tmp_path / "g.db").close()


def test_a_missing_gallery_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gallery not found: .*edgeface enroll"):
        Gallery(tmp_path / "g.db", MODEL)
    assert not (tmp_path / "g.db").exists()
    with pytest.raises(InputError, match="is a folder, not a gallery"):
        Gallery(tmp_path, MODEL)


def test_not_a_sqlite_file(tmp_path: Path) -> None:
    path = tmp_path / "g.db"
    path.write_text("my notes, longer than a header\n" * 5)
    for create in (False, True):
        with pytest.raises(ArtefactError, match="no SQLite file"):
            Gallery(path, MODEL, 4, create=create)
    assert path.read_text().startswith("my notes")


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "g.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE songs (title TEXT)")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    for create in (False, True):
        with pytest.raises(ArtefactError, match="another program's database"):
            Gallery(path, MODEL, 4, create=create)
    assert path.read_bytes() == before


def test_a_newer_gallery_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "g.db"
    make(path).close()
    connection = sqlite3.connect(path)
    connection.execute("UPDATE meta SET value = '3' WHERE key = 'version'")
    connection.commit()
    connection.close()
    with pytest.raises(ArtefactError, match=r"version '3'.*upgrade edgeface"):
        Gallery(path, MODEL)


def test_an_empty_file_is_a_new_gallery_only_when_making_one(tmp_path: Path) -> None:
    path = tmp_path / "g.db"
    path.touch()
    with pytest.raises(ArtefactError, match="no SQLite file"):
        Gallery(path, MODEL)
    with make(path) as gallery:
        assert gallery.people() == []


@pytest.mark.parametrize("damage", ["truncated", "overwritten"])
def test_a_damaged_gallery_is_one_line(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "g.db"
    with make(path, 512) as gallery:
        for k in range(40):
            gallery.enroll(f"p{k}", unit(512, k))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2] if damage == "truncated" else data[:4096] + b"\xff" * (len(data) - 4096))
    with (
        pytest.raises(ArtefactError, match=r"gallery .* is damaged .*restore a backup") as info,
        Gallery(path) as gallery,
    ):
        gallery.search(unit(512, 0))
    assert "\n" not in str(info.value)


def test_a_flipped_byte_in_a_template_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "g.db"
    with make(path, 512) as gallery:
        gallery.enroll("ann", unit(512, 3))
        template = stored(gallery, "ann")
    data = bytearray(path.read_bytes())
    # The highest byte of a float32: sign and exponent.
    data[data.index(template) + 3] ^= 0x7F
    path.write_bytes(data)
    with Gallery(path) as gallery, pytest.raises(ArtefactError, match="a template has changed"):
        gallery.templates()


def test_a_locked_gallery_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeface_runtime.gallery_store.BUSY_TIMEOUT_S", 0.05)
    path = tmp_path / "g.db"
    with make(path) as gallery:
        writer = sqlite3.connect(path, isolation_level=None)
        writer.execute("BEGIN IMMEDIATE")
        with pytest.raises(InputError, match="in use by another process"):
            gallery.enroll("ann", [1, 0, 0, 0])
        writer.execute("ROLLBACK")
        writer.close()
        gallery.enroll("ann", [1, 0, 0, 0])


def test_deleting_takes_the_template_off_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "g.db"
    with make(path, 512) as gallery:
        gallery.enroll("Zebulon-Gone", unit(512, 1), "gone-picture.jpg")
        gallery.enroll("Zebulon-Gone", unit(512, 5), "gone-picture.jpg")
        gallery.enroll("Quentin-Kept", unit(512, 2))
        gone, kept = stored(gallery, "Zebulon-Gone"), stored(gallery, "Quentin-Kept")
        assert gone in on_disk(path)
        erasure = gallery.delete("Zebulon-Gone")
        assert (erasure.removed, erasure.erased, erasure.pending) == (2, True, None)
        for trace in (gone, gone[:32], gone[-32:], b"Zebulon-Gone", b"gone-picture"):
            assert trace not in on_disk(path)
        assert kept in on_disk(path)
        assert [c.name for c in gallery.search(unit(512, 1))] == ["Quentin-Kept"]
        with pytest.raises(InputError, match="nobody named 'Zebulon-Gone'"):
            gallery.delete("Zebulon-Gone")


def test_erasure_leaves_nothing_after_much_churn(tmp_path: Path) -> None:
    """Pages split and merge as people come and go; copies must not stay behind in their free space."""
    path = tmp_path / "g.db"
    rng = random.Random(0)
    live: dict[str, bytes] = {}
    gone: dict[str, bytes] = {}
    with make(path, 128) as gallery:

        def add(k: int) -> None:
            name = f"person-{rng.randrange(10**9):09d}"
            gallery.enroll(name, unit(128, k))
            live[name] = stored(gallery, name)

        for k in range(120):
            add(k)
        for k in range(120, 180):
            name = rng.choice(sorted(live))
            if k == 120:
                assert live[name] in on_disk(path)
            assert gallery.delete(name).erased
            gone[name] = live.pop(name)
            if rng.random() < 0.5:
                add(k)
        disk = on_disk(path)
    left = [name for name, blob in gone.items() if name.encode() in disk or blob[:48] in disk or blob[-48:] in disk]
    assert left == []


def test_a_reader_makes_erasure_pending_and_it_is_finished_later(tmp_path: Path) -> None:
    path = tmp_path / "g.db"
    with make(path, 512) as gallery:
        gallery.enroll("ann", unit(512, 1))
        gone = stored(gallery, "ann")
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM templates").fetchall()
        erasure = gallery.delete("ann")
        assert erasure.removed == 1
        assert not erasure.erased
        assert erasure.pending is not None
        assert "run edgeface gallery list once no other process has it open" in erasure.pending
        assert erasure.to_dict()["erased"] is False
        assert gone in on_disk(path)
        assert gallery.people() == []
        assert gallery.finish_erasure() is not None
        reader.execute("ROLLBACK")
        assert gone in on_disk(path)
        # The next opening finishes it, even though the first connection is still open.
        Gallery(path).close()
        assert gone not in on_disk(path)
        assert gallery.finish_erasure() is None
        reader.close()


def test_a_closed_gallery_says_so(tmp_path: Path) -> None:
    gallery = make(tmp_path / "g.db")
    gallery.close()
    gallery.close()
    with pytest.raises(InputError, match="is closed"):
        gallery.people()


def test_a_name_typed_two_ways_is_one_person(tmp_path: Path) -> None:
    composed, decomposed = "Zo\u00eb", "Zoe\u0308"
    with make(tmp_path / "g.db") as gallery:
        gallery.enroll(decomposed, [1, 0, 0, 0])
        gallery.enroll(composed, [0, 1, 0, 0])
        assert [(p.name, p.templates) for p in gallery.people()] == [(composed, 2)]
        assert [c.name for c in gallery.search([1, 0, 0, 0])] == [composed]
        erasure = gallery.delete(decomposed)
        assert (erasure.name, erasure.removed) == (composed, 2)


@pytest.mark.parametrize("typed", ["Zo\u00eb", "Zoe\u0308"])
def test_names_as_earlier_versions_kept_them_can_be_deleted(tmp_path: Path, typed: str) -> None:
    path = tmp_path / "g.db"
    with make(path) as gallery:
        gallery.enroll("ann", [1, 0, 0, 0])
    connection = sqlite3.connect(path)
    connection.execute("UPDATE templates SET name = ?", ("Zoe\u0308",))
    connection.commit()
    connection.close()
    with Gallery(path) as gallery:
        assert gallery.delete(typed).removed == 1


FullDisk = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def full_disk(
    monkeypatch: pytest.MonkeyPatch, small_files: Callable[[int], AbstractContextManager[None]]
) -> FullDisk:
    """`with full_disk()`: no file may grow beyond 1000 bytes, and the disk says that it has no room."""
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=0))
    return lambda: small_files(1000)


def test_a_full_disk_is_said_and_no_new_gallery_left(tmp_path: Path, full_disk: FullDisk) -> None:
    refused = pytest.raises(InputError, match=r"^cannot write gallery .*g.db: no space left on device$")
    with refused, full_disk():
        make(tmp_path / "g.db")
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_while_enrolling(tmp_path: Path) -> None:
    with make(tmp_path / "g.db", 512) as gallery:
        gallery.enroll("ann", unit(512, 1))
        connection = gallery._connection
        assert connection is not None
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(InputError, match=r"^cannot write gallery .*: no space left on device$"):
            gallery.enroll_many("bob", [unit(512, k) for k in range(99)], [""] * 99)
        assert [p.name for p in gallery.people()] == ["ann"]
        assert gallery.delete("ann").erased


def test_what_was_there_stays_when_it_cannot_be_opened(tmp_path: Path, full_disk: FullDisk) -> None:
    path = tmp_path / "g.db"
    path.touch()
    with pytest.raises(InputError, match="no space left"), full_disk():
        make(path)
    assert path.exists()


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"file is a file, not a folder$"):
        make(tmp_path / "file" / "g.db")
