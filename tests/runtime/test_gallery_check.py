"""`gallery check`: every changed byte of a template is found, and a sound gallery is left exactly as it is."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeface_runtime import gallery_layout as layout
from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.gallery import Gallery
from edgeface_runtime.gallery_backup import backup, restore
from edgeface_runtime.gallery_check import check
from edgeface_runtime.gallery_index_file import index_path
from edgeface_runtime.gallery_repair import repair
from edgeface_runtime.gallery_report import Report

MODEL = "a" * 64
SIZE = 128
PAGE = 4096


def states(report: Report) -> dict[str, str]:
    return {finding.what: finding.state for finding in report.findings}


def test_a_sound_gallery_is_left_alone(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "g.db"
    rows = damage.make(path)
    before = path.read_bytes()
    report = check(path)
    assert report.sound and report.advice == "nothing to do" and not report.bad
    assert (report.templates, report.people) == (len(rows), len({name for name, _, _ in rows.values()}))
    assert report.to_dict()["sound"] is True
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_every_changed_byte_of_a_template_is_found(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "g.db"
    rows = damage.make(path, 8, 1)
    data = path.read_bytes()
    rng = random.Random(5)
    for row_id, (name, template, _) in rows.items():
        at = data.index(template)
        for offset in range(rng.randrange(37), 4 * SIZE, 37):
            changed = bytearray(data)
            changed[at + offset] ^= 1 << rng.randrange(8)
            path.write_bytes(changed)
            report = check(path)
            assert not report.sound, (row_id, offset)
            assert [(bad["id"], bad["name"]) for bad in report.bad] == [(row_id, name)]
            assert "edgeface gallery repair" in report.advice and "restore" in report.advice
    path.write_bytes(data)
    assert check(path).sound


@pytest.mark.parametrize("what", ["name", "source", "created"])
def test_a_change_elsewhere_in_a_row_is_found(tmp_path: Path, damage: Any, what: str) -> None:
    path = tmp_path / "g.db"
    damage.make(path, 5, 1)
    connection = sqlite3.connect(path)
    connection.execute(f"UPDATE templates SET {what} = {what} || 'x' WHERE id = 2")
    connection.commit()
    connection.close()
    assert [bad["id"] for bad in check(path).bad] == [2]


def test_every_page_of_zeros_is_found(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "g.db"
    damage.make(path, 20, 2)
    data = path.read_bytes()
    connection = sqlite3.connect(path)
    (free,) = connection.execute("PRAGMA freelist_count").fetchone()
    connection.close()
    assert free == 0
    for page in range(len(data) // PAGE):
        path.write_bytes(data[: page * PAGE] + bytes(PAGE) + data[(page + 1) * PAGE :])
        assert not check(path).sound, page


def test_a_cut_file_and_a_lost_row(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "g.db"
    damage.make(path)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert not check(path).sound
    path.write_bytes(data)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE sqlite_sequence SET seq = 5 WHERE name = 'templates'")
    connection.commit()
    connection.close()
    assert states(check(path))["changes"] == "damaged"


def test_the_two_copies_of_the_header_must_agree(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "g.db"
    damage.make(path, 5, 1)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE meta SET value = ? WHERE key = 'model_id'", ("b" * 64,))
    connection.commit()
    connection.close()
    report = check(path)
    assert [f.detail for f in report.findings if f.state == "damaged"] == ["its two copies differ"]


@pytest.mark.parametrize("content", [b"", b"my notes\n" * 900, b"SQLite format 3\0" + bytes(8000)])
def test_what_is_no_gallery(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "g.db"
    path.write_bytes(content)
    with pytest.raises(ArtefactError, match="is not a gallery"):
        check(path)
    assert path.read_bytes() == content


def test_another_programs_and_a_newer_one(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "songs.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE songs (title TEXT)")
    connection.commit()
    connection.close()
    with pytest.raises(ArtefactError, match="is not a gallery"):
        check(path)
    with pytest.raises(InputError, match="gallery not found"):
        check(tmp_path / "missing.db")
    with pytest.raises(InputError, match="is a folder"):
        check(tmp_path)
    damage.make(tmp_path / "g.db", 2, 1)
    connection = sqlite3.connect(tmp_path / "g.db")
    connection.execute("UPDATE meta SET value = '99' WHERE key = 'version'")
    connection.commit()
    connection.close()
    with pytest.raises(ArtefactError, match="upgrade edgeface"):
        check(tmp_path / "g.db")


def old(path: Path, damage: Any) -> dict[int, tuple[str, bytes, str]]:
    """Make it a gallery as version 1 wrote them, by plain sqlite3."""
    rows = damage.make(path)
    connection = sqlite3.connect(path)
    connection.execute("ALTER TABLE templates DROP COLUMN checksum")
    for table in ("spare", "erasures", "crops"):
        connection.execute(f"DROP TABLE {table}")
    connection.execute("DELETE FROM meta WHERE key IN ('gallery_id', 'erasure_salt')")
    connection.execute("UPDATE meta SET value = '1' WHERE key = 'version'")
    connection.commit()
    connection.close()
    return rows


def test_a_gallery_of_version_1_is_brought_up_in_place(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "g.db"
    rows = old(path, damage)
    before = path.read_bytes()
    report = check(path)
    assert report.sound and states(report)["checksums"] == "note"
    assert path.read_bytes() == before
    with Gallery(path, MODEL) as gallery, Gallery(path) as other:
        assert gallery.count() == other.count() == len(rows)
    assert damage.truth(path) == rows
    report = check(path)
    assert report.sound and "checksums" not in states(report)
    data = path.read_bytes()
    at = data.index(rows[9][1])
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])  # the lowest bit of a mantissa
    assert [bad["id"] for bad in check(path).bad] == [9]


def test_bringing_up_is_all_or_nothing(tmp_path: Path, damage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "g.db"
    rows = old(path, damage)

    def fails(connection: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(layout, "seal_meta", fails)
        with pytest.raises(InputError, match="no space left"):
            Gallery(path)
    assert states(check(path))["checksums"] == "note"
    assert damage.truth(path) == rows


Spoil = Callable[[Path], None]


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[5000] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("spoil", [cut, flip])
def test_the_index_file(tmp_path: Path, damage: Any, monkeypatch: pytest.MonkeyPatch, spoil: Spoil) -> None:
    monkeypatch.setattr("edgeface_runtime.gallery.INDEX_FROM", 4)
    monkeypatch.setattr("edgeface_runtime.gallery_search.FILE_FROM", 50)
    path = tmp_path / "g.db"
    damage.make(path)
    with Gallery(path) as gallery:
        gallery.prepare()
    with Gallery(path) as gallery:
        gallery.delete("person 007")
        gallery.enroll("new", damage.vectors(1, 5)[0])
    assert states(check(path))["index"] == "ok"
    spoil(index_path(path))
    report = check(path)
    assert states(report)["index"] == "damaged"
    assert report.advice == f"delete {path}.index: it is made anew"


def test_an_index_of_other_templates(tmp_path: Path, damage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeface_runtime.gallery.INDEX_FROM", 4)
    monkeypatch.setattr("edgeface_runtime.gallery_search.FILE_FROM", 50)
    path = tmp_path / "g.db"
    damage.make(path)
    with Gallery(path) as gallery:
        gallery.prepare()
    connection = sqlite3.connect(path)
    connection.execute("DROP TRIGGER templates_deleted")  # so that the index cannot know of it
    connection.execute("DELETE FROM templates WHERE id = 20")
    connection.commit()
    connection.close()
    report = check(path)
    assert states(report)["index"] == "damaged" and states(report)["changes"] == "note"


def test_features_and_templates_that_are_none(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "g.db"
    features = np.random.default_rng(1).standard_normal((5, 64, 4, 4))
    with Gallery(path, MODEL, SIZE, create=True, features=(64, 4, 4)) as gallery:
        gallery.enroll_batch(list("abcde"), damage.vectors(5), features=list(features))
    assert check(path).sound
    data = path.read_bytes()
    at = data.index(np.asarray(features[2], "<f2").tobytes()[-64:])  # on another page than its template
    path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    assert [bad["name"] for bad in check(path).bad] == ["c"]


def test_it_looks_while_others_work(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "g.db"
    rows = damage.make(path)
    with Gallery(path) as gallery:
        gallery.enroll("ann", damage.vectors(1, 3)[0])
        report = check(path)
        assert report.sound and report.templates == len(rows) + 1
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM templates").fetchall()
        gallery.delete("ann")
        assert states(check(path))["erasure"] == "note"
        reader.close()


def test_a_read_only_folder(tmp_path: Path, damage: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root everything may be written: what the system says is put in place of it."""
    path = tmp_path / "g.db"
    rows = damage.make(path)
    monkeypatch.setattr("edgeface_runtime.gallery_files.os.access", lambda *_: False)
    assert check(path).templates == len(rows)
    assert list(tmp_path.iterdir()) == [path]


def test_copies_beside_are_told(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "g.db"
    damage.make(path)
    shutil.copy(path, tmp_path / "g.db.before-restore-1")
    report = check(path)
    assert report.sound and states(report)["copies"] == "note"
    with Gallery(path) as gallery:
        erasure = gallery.delete("person 005")
        assert not erasure.erased and "g.db.before-restore-1" in str(erasure.pending)
        (tmp_path / "g.db.before-restore-1").unlink()
        assert gallery.finish_erasure() is None


def test_a_damaged_gallery_of_version_1_is_still_a_gallery(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "g.db"
    old(path, damage)
    path.write_bytes(bytes(PAGE) + path.read_bytes()[PAGE:])
    assert not check(path).sound


def test_who_is_lost_is_named_where_sqlite_cannot_read(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "g.db"
    rows = damage.make(path)
    data = path.read_bytes()
    where = damage.pages_of(data, rows)
    hit = where[40]
    changed = bytearray(data)
    changed[:PAGE] = bytes(PAGE)
    changed[hit * PAGE : (hit + 1) * PAGE] = bytes(PAGE)
    path.write_bytes(changed)
    lost = {row_id: rows[row_id][0] for row_id, page in where.items() if page == hit}
    report = check(path)
    assert {bad["id"]: bad["name"] for bad in report.bad} == lost and 40 in lost
    assert report.templates == len(rows) - len(lost)


@pytest.mark.parametrize("quoted", [b"sparespare\x07CREATE", b"crops_by_template ON crops (template_id)"])
def test_damage_that_sqlite_quotes_in_bytes_that_are_no_text(tmp_path: Path, damage: Any, quoted: bytes) -> None:
    """Its message cannot be read then, and Python raises something else than an error of SQLite's."""
    path, backup_file = tmp_path / "g.db", tmp_path / "b.db"
    rows = damage.make(path)
    backup(path, backup_file)
    data = bytearray(path.read_bytes())
    data[data.index(quoted) + 2] |= 0x80
    path.write_bytes(data)
    report = check(path)
    assert not report.sound and "edgeface gallery repair" in report.advice and report.templates == len(rows)
    with pytest.raises(ArtefactError, match="is damaged"):
        Gallery(path)
    with pytest.raises(ArtefactError, match="is damaged"):
        backup(path, tmp_path / "no.db")
    with pytest.raises(InputError, match="is not a backup"):
        backup(backup_file, path)
    assert not repair(path, tmp_path / "r.db").lost and check(tmp_path / "r.db").sound
    assert restore(path, backup_file).templates == len(rows) and check(path).sound


def test_a_template_that_is_called_text_is_damage(tmp_path: Path, damage: Any) -> None:
    """Its bytes are all there, but who opens the gallery cannot read it; one bit of its row's header is enough."""
    path = tmp_path / "g.db"
    rows = damage.make(path)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE templates SET template = CAST(template AS TEXT) WHERE id = 2")
    connection.commit()
    connection.close()
    report = check(path)
    assert not report.sound and [bad["id"] for bad in report.bad] == [2]
    with Gallery(path) as gallery, pytest.raises(ArtefactError, match="is damaged"):
        gallery.templates()
    assert not repair(path, tmp_path / "r.db").lost
    with Gallery(tmp_path / "r.db") as gallery:
        assert len(gallery.templates()[0]) == len(rows)


@pytest.mark.parametrize("word", [b"(old.id, randomblob(8)); END", b"last_id INTEGER", b"templates (name, id)"])
def test_a_changed_letter_in_the_schema_is_found(tmp_path: Path, damage: Any, word: bytes) -> None:
    path = tmp_path / "g.db"
    damage.make(path)
    data = bytearray(path.read_bytes())
    data[data.index(word) + word.index(b"id") + 1] ^= 1  # ie for id
    path.write_bytes(data)
    report = check(path)
    assert not report.sound
    assert not repair(path, tmp_path / "r.db").lost and check(tmp_path / "r.db").sound


def test_a_table_that_has_lost_its_name_is_missed(tmp_path: Path, damage: Any) -> None:
    """Here the marks of who was deleted: without them a backup would bring people back."""
    path = tmp_path / "g.db"
    damage.make(path)
    connection = sqlite3.connect(path)
    connection.execute("ALTER TABLE erasures RENAME TO erasuret")
    connection.close()
    report = check(path)
    assert not report.sound and "erasures is missing" in [finding.detail for finding in report.findings]
