"""Looking after an encrypted gallery: check, backup, restore and repair need no key; what they leave opens by it."""

from __future__ import annotations

import os
import sqlite3
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edgeface_runtime.errors import InputError
from edgeface_runtime.gallery import Gallery, GalleryKey
from edgeface_runtime.gallery_backup import backup, restore
from edgeface_runtime.gallery_check import check
from edgeface_runtime.gallery_exchange import export_people, import_people
from edgeface_runtime.gallery_repair import repair

MODEL = "a" * 64
pytest.importorskip("cryptography", reason="needs cryptography: pip install 'edgeface[sign]'")


@pytest.fixture
def key() -> GalleryKey:
    return GalleryKey(os.urandom(32))


def make(path: Path, key: GalleryKey | None, people: int = 40) -> None:
    rows = np.random.default_rng(0).standard_normal((people * 2, 128))
    with Gallery(path, MODEL, 128, create=True, key=key) as gallery:
        gallery.enroll_batch([f"person {k // 2:02d}" for k in range(people * 2)], rows, ["a.jpg"] * people * 2)
        gallery.delete("person 03")


def content(path: Path, key: GalleryKey | None) -> dict[str, list[bytes]]:
    with Gallery(path, key=key) as gallery:
        found: dict[str, list[bytes]] = {}
        for name, row in zip(*gallery.templates(), strict=True):
            found.setdefault(name, []).append(row.tobytes())
    return found


def test_no_key_is_needed_and_the_erased_stay_erased(tmp_path: Path, key: GalleryKey) -> None:
    path, out = tmp_path / "g.db", tmp_path / "b.db"
    make(path, key)
    before = content(path, key)
    report = check(path)
    assert report.sound and (report.templates, report.people) == (78, 39)
    backup(path, out)
    with Gallery(path, key=key) as gallery:
        assert gallery.delete("person 07").erased
        gallery.enroll("person 07", np.ones(128))
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM changes")  # what is left are the marks
    connection.execute("INSERT INTO changes (token) VALUES (randomblob(8))")
    connection.commit()
    connection.close()
    assert restore(path, out).erased_again == 2
    assert content(path, key) == {name: rows for name, rows in before.items() if name != "person 07"}
    assert check(path).sound
    with Gallery(path, key=key) as gallery:
        gallery.enroll("person 07", np.ones(128))
        assert len(gallery.people()) == 39
    with pytest.raises(InputError, match="is encrypted"):
        Gallery(path)


@pytest.mark.parametrize("seed", range(12))
def test_repair(tmp_path: Path, key: GalleryKey, seed: int) -> None:
    path, out = tmp_path / "g.db", tmp_path / "r.db"
    make(path, key)
    before = content(path, key)
    data = bytearray(path.read_bytes())
    page = int(np.random.default_rng(seed).integers(len(data) // 4096))
    data[page * 4096 : (page + 1) * 4096] = bytes(4096)
    path.write_bytes(data)
    assert not check(path).sound
    repair(path, out)
    assert check(out).sound
    with Gallery(out, key=key) as gallery:
        names, rows = gallery.templates()
        wanted = {blob for blobs in before.values() for blob in blobs}
        assert {row.tobytes() for row in rows} <= wanted and len(names) >= 20
        gallery.enroll("new", np.ones(128))
    connection = sqlite3.connect(out)
    with pytest.raises(sqlite3.IntegrityError, match="encrypted"):
        connection.execute("INSERT INTO templates (name, template, source, created) VALUES ('x', x'00', '', '')")
    connection.close()


def test_encrypting_decrypting_and_other_keys_leave_it_sound(tmp_path: Path, key: GalleryKey) -> None:
    path = tmp_path / "g.db"
    make(path, None)
    for new in (key, GalleryKey(os.urandom(32)), None):
        with Gallery(path, key=key) if new not in (key,) else Gallery(path) as gallery:
            gallery.rekey(new)
        report = check(path)
        assert report.sound, report.findings
        key = new or key


def test_a_backup_of_before_encryption_warns(tmp_path: Path, key: GalleryKey) -> None:
    path, out = tmp_path / "g.db", tmp_path / "b.db"
    make(path, None)
    backup(path, out)
    with Gallery(path) as gallery:
        gallery.rekey(key)
    assert "encrypted or decrypted since" in str(restore(path, out).unknown)


def test_people_go_out_plain_and_come_in_encrypted(tmp_path: Path, key: GalleryKey) -> None:
    path, out, new = tmp_path / "g.db", tmp_path / "people.npz", tmp_path / "new.db"
    make(path, key)
    with Gallery(path, key=key) as gallery:
        export_people(gallery, out)
        assert gallery.kept_crops()[0].source == "a.jpg"
    other = GalleryKey(os.urandom(32))
    import_people(new, out, partial(Gallery, key=other))
    assert set(content(new, other)) == set(content(path, key))
    assert b"person 0" not in new.read_bytes()
