"""Another key for a gallery: all or nothing, the old one useless; encrypting and decrypting what is there."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from edgeface_runtime.errors import InputError
from edgeface_runtime.gallery import Gallery, GalleryKey
from edgeface_runtime.gallery_encryption import encryption_of
from edgeface_runtime.gallery_key import Scrypt

pytest.importorskip("cryptography", reason="needs cryptography: pip install 'edgeface[sign]'")

MODEL = "a" * 64
SIZE = 64
OLD, NEW = GalleryKey(bytes(range(32))), GalleryKey(bytes(32))
NAMES = [f"Zebulon-{k // 2:04d}" for k in range(120)]
ROWS = np.random.default_rng(0).standard_normal((120, SIZE)).astype(np.float32)


def make(path: Path, key: GalleryKey | None = OLD, **more: object) -> Gallery:
    gallery = Gallery(path, MODEL, SIZE, create=True, key=key, **more)  # type: ignore[arg-type]
    gallery.enroll_batch(NAMES, ROWS, [f"picture-{k}.jpg" for k in range(120)])
    return gallery


def on_disk(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(path.parent.rglob("*")) if file.is_file())


def rows_of(path: Path, table: str = "templates") -> list[tuple[object, ...]]:
    connection = sqlite3.connect(path)
    rows = connection.execute(f"SELECT * FROM {table} ORDER BY id").fetchall()
    connection.close()
    return rows


def whole(gallery: Gallery) -> bool:
    names, matrix = gallery.templates()
    unit = ROWS / np.linalg.norm(ROWS, axis=1, keepdims=True)
    return names == NAMES and bool(np.allclose(matrix, unit, atol=1e-6))


def test_the_old_key_is_useless_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "g.db"
    with make(path) as gallery:
        before, people, meta = rows_of(path), rows_of(path, "people"), dict(sqlite3_meta(path))
        done = gallery.rekey(NEW)
        assert done.to_dict() == {"encrypted": True, "people": 60, "erased": True, "pending": None}
        assert whole(gallery)
        gallery.enroll("Ann", ROWS[0])
        assert {c.name for c in gallery.search(ROWS[0], 2)} == {"Ann", NAMES[0]}
        gallery.delete("Ann")
    left = on_disk(path)
    for row in people:
        assert row[2] not in left  # lookup
        assert row[3] not in left  # wrapped key
        assert row[4] in left  # the name, by the person's own key
    assert meta["key_proof"].encode() not in left
    assert rows_of(path) == before  # what the people's keys encrypt stays
    with pytest.raises(InputError, match="wrong key"):
        Gallery(path, key=OLD)
    with Gallery(path, key=NEW) as gallery:
        assert whole(gallery)


def sqlite3_meta(path: Path) -> list[tuple[str, str]]:
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT key, value FROM meta").fetchall()
    connection.close()
    return rows


def test_from_key_to_passphrase_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scrypt, "new", classmethod(lambda cls: cls(os.urandom(16), 1024, 8, 1)))
    path = tmp_path / "g.db"
    make(path).close()
    word, other = GalleryKey.from_passphrase("a passphrase"), GalleryKey.from_passphrase("another one")
    for old, new, said in (
        (OLD, word, "AES-256-GCM, by a passphrase (scrypt)"),
        (word, other, "AES-256-GCM, by a passphrase (scrypt)"),
        (other, OLD, "AES-256-GCM, by a key"),
    ):
        with Gallery(path, key=old) as gallery:
            same = GalleryKey(old.secret, old.kind)
            with pytest.raises(InputError, match=f"is encrypted by that {old.kind} already: give another one"):
                gallery.rekey(same)
            with pytest.raises(InputError, match="already"):
                gallery.check_new_key(same)
            gallery.check_new_key(new)
            gallery.rekey(new)
        assert encryption_of(path) == said
        with Gallery(path, key=new) as gallery:
            assert whole(gallery)


@pytest.mark.parametrize("large", [False, True])
def test_encrypting_leaves_nothing_plain(tmp_path: Path, large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if large:
        monkeypatch.setattr("edgeface_runtime.gallery.INDEX_FROM", 4)
        monkeypatch.setattr("edgeface_runtime.gallery_search.FILE_FROM", 50)
    path = tmp_path / "g.db"
    with make(path, None) as gallery, Gallery(path) as other:
        assert gallery.search(ROWS[7])[0].name == NAMES[7] == other.search(ROWS[7])[0].name
        plain = [bytes(row[2]) for row in rows_of(path)]  # type: ignore[arg-type]
        assert path.with_name("g.db.index").exists() == large
        assert plain[5] in on_disk(path)
        seen: list[tuple[int, int]] = []
        assert gallery.rekey(OLD, lambda *some: seen.append(some)).erased
        assert seen[-1] == (120, 120)
        assert whole(gallery)
        assert gallery.describe()["encrypted"] is True
        assert gallery.search(ROWS[7])[0].name == NAMES[7]
        for act in (
            lambda: other.enroll("Ann", ROWS[0]),
            lambda: other.search(ROWS[0]),
            lambda: other.delete(NAMES[0]),
            lambda: other.replace(1, ROWS[0]),
            other.people,
        ):
            with pytest.raises(InputError, match="was encrypted by another process: open it again with the key"):
                act()
    left = on_disk(path)
    for k, row in enumerate(plain):
        for trace in (row[:16], row[-16:], NAMES[k].encode(), NAMES[k].encode("utf-16-le"), b"picture-"):
            assert trace not in left
    assert [file.name for file in tmp_path.iterdir()] == ["g.db"]


def test_decrypting_gives_back_what_was_encrypted(tmp_path: Path) -> None:
    path, shape = tmp_path / "g.db", (2, 3, 4)
    features = np.random.default_rng(2).standard_normal((3, *shape))
    with Gallery(path, MODEL, SIZE, create=True, features=shape) as gallery:
        gallery.enroll_batch(["a", "b", "a"], ROWS[:3], ["x", "", "\u00e9 \x80\0"], features)
        before = rows_of(path)
        gallery.rekey(OLD)
        assert rows_of(path) != before
        with pytest.raises(InputError, match="is encrypted by that key already"):
            gallery.rekey(OLD)
        done = gallery.rekey(None)
        assert (done.encrypted, done.people) == (False, 2)
        assert rows_of(path) == before
        with pytest.raises(InputError, match="nothing to decrypt"):
            gallery.rekey(None)
        with pytest.raises(InputError, match="has no key to change"):
            gallery.check_new_key(NEW)
        gallery.enroll_batch(["c"], ROWS[:1], None, features[:1])
    assert encryption_of(path) is None
    assert {row[0] for row in sqlite3_meta(path)}.isdisjoint({"kdf", "key_id", "key_proof", "encryption"})
    with Gallery(path) as gallery:
        assert [p.name for p in gallery.people()] == ["a", "b", "c"]


def test_names_of_earlier_versions_become_one_person(tmp_path: Path) -> None:
    path = tmp_path / "g.db"
    with Gallery(path, MODEL, SIZE, create=True) as gallery:
        gallery.enroll_batch(["Zo\u00eb", "x"], ROWS[:2])
        connection = sqlite3.connect(path)
        connection.execute("UPDATE templates SET name = ? WHERE id = 2", (unicodedata.normalize("NFD", "Zo\u00eb"),))
        connection.commit()
        connection.close()
        gallery.rekey(OLD)
        assert [(p.name, p.templates) for p in gallery.people()] == [("Zo\u00eb", 2)]


def test_who_has_it_open_by_the_old_key_must_open_it_again(tmp_path: Path) -> None:
    path = tmp_path / "g.db"
    with make(path) as gallery, Gallery(path, key=OLD) as other:
        assert whole(other)
        gallery.rekey(NEW)
        for act in (
            lambda: other.enroll("Ann", ROWS[0]),
            lambda: other.search(ROWS[0]),
            lambda: other.delete(NAMES[0]),
            lambda: other.replace(1, ROWS[0]),
            lambda: other.rekey(GalleryKey(bytes([7] * 32))),
            other.people,
        ):
            with pytest.raises(InputError, match="was changed by another process: open it again"):
                act()
        gallery.rekey(None)
        with pytest.raises(InputError, match="was changed by another process"):
            other.enroll("Ann", ROWS[0])
        assert whole(gallery)


def test_a_reader_makes_it_pending(tmp_path: Path) -> None:
    path = tmp_path / "g.db"
    with make(path) as gallery:
        wrapped = rows_of(path, "people")[0][3]
        assert isinstance(wrapped, bytes)
        reader = sqlite3.connect(path, isolation_level=None)
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM people").fetchall()
        done = gallery.rekey(NEW)
        assert not done.erased
        assert done.pending is not None
        assert "another process is reading" in done.pending
        assert wrapped in on_disk(path)
        reader.execute("ROLLBACK")
        reader.close()
        with pytest.raises(InputError, match="wrong key"):
            Gallery(path, key=OLD)
        Gallery(path, key=NEW).close()
        assert wrapped not in on_disk(path)


def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "g.db"
    with make(path, None) as gallery:
        connection = gallery._connection
        assert connection is not None
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(InputError, match="no space left on device"):
            gallery.rekey(OLD)
        assert whole(gallery)
        gallery.delete(NAMES[0])
    assert encryption_of(path) is None


def swap(path: Path, keys: list[GalleryKey | None]) -> None:
    """Go round the keys until killed."""
    with open_by_one(path, keys) as gallery:
        at = next(k for k, key in enumerate(keys) if opens(path, key))
        while True:
            at = (at + 1) % len(keys)
            gallery.rekey(keys[at])


def opens(path: Path, key: GalleryKey | None) -> bool:
    try:
        Gallery(path, key=key).close()
    except InputError as exc:
        assert any(word in str(exc) for word in ("wrong key", "not encrypted", "is encrypted"))
        return False
    return True


def open_by_one(path: Path, keys: list[GalleryKey | None]) -> Gallery:
    """By the one key that opens it."""
    (key,) = [key for key in keys if opens(path, key)]
    return Gallery(path, key=key)


@pytest.mark.parametrize("keys", [[OLD, NEW], [OLD, None]], ids=["rekey", "encrypt and decrypt"])
def test_killed_anywhere_one_of_both_keys_works(tmp_path: Path, keys: list[GalleryKey | None]) -> None:
    path = tmp_path / "g.db"
    make(path).close()
    rng = random.Random(0)
    found: list[int] = []
    for _ in range(25):
        child = os.fork()
        if not child:
            try:
                swap(path, keys)
            finally:
                os._exit(1)
        time.sleep(rng.uniform(0.005, 0.12))
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        found.append([opens(path, key) for key in keys].index(True))
        with open_by_one(path, keys) as gallery:
            assert whole(gallery)
            assert gallery.finish_erasure() is None
    assert set(found) == {0, 1}
