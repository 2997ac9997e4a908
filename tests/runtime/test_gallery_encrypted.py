"""Encrypted galleries: read by hand as documented, nothing plain on the disk, nothing altered unnoticed."""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.gallery import Gallery, GalleryKey
from edgeface_runtime.gallery_key import Scrypt, key_from_environment, make_key_file

pytest.importorskip("cryptography", reason="needs cryptography: pip install 'edgeface[sign]'")

MODEL = "a" * 64
SIZE = 24
KEY = GalleryKey(bytes(range(32)))
OTHER = GalleryKey(bytes(32))


def make(
    path: Path, size: int = SIZE, key: GalleryKey = KEY, features: tuple[int, int, int] | None = None
) -> Gallery:
    return Gallery(path, MODEL, size, create=True, features=features, key=key)


def vectors(count: int, seed: int = 0, size: int = SIZE) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((count, size)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def on_disk(path: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(path.parent.rglob("*")) if file.is_file())


def raw(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


@pytest.fixture
def quick_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Scrypt, "new", classmethod(lambda cls: cls(bytes(range(16)), 1024, 8, 1)))


# Independent of the package: the format as docs/gallery-encryption.md gives it.


def subkey(master: bytes, gallery_id: str, use: str) -> bytes:
    """HKDF-SHA256 by RFC 5869, one block."""
    extracted = hmac.digest(gallery_id.encode(), master, "sha256")
    return hmac.digest(extracted, f"edgeface-gallery-1 {use}".encode() + b"\1", "sha256")


def opened(key: bytes, blob: bytes, *parts: str) -> bytes:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key).decrypt(blob[:12], blob[12:], "\0".join(("edgeface-gallery-1", *parts)).encode())


def by_hand(path: Path, master: bytes) -> list[tuple[str, bytes, str]]:
    """Name, template and source of every row."""
    connection = raw(path)
    meta = dict(connection.execute("SELECT key, value FROM meta"))
    gallery = meta["gallery_id"]
    wrap, lookups = subkey(master, gallery, "wrap"), subkey(master, gallery, "lookup")
    assert meta["key_id"] == subkey(master, gallery, "id")[:8].hex()
    found = []
    for row_id, person, template, source, created in connection.execute(
        "SELECT id, name, template, source, created FROM templates ORDER BY id"
    ):
        lookup, wrapped, name = connection.execute(
            "SELECT lookup, key, name FROM people WHERE person = ?", (person,)
        ).fetchone()
        key = opened(wrap, wrapped, "key", gallery, person, lookup.hex(), MODEL)
        plain = opened(key, name, "name", gallery, person, "", MODEL)
        assert len(plain) % 64 == 0
        spelt = plain.rstrip(b"\0")[:-1].decode()
        assert lookup == hmac.digest(lookups, spelt.encode(), "sha256")[:16]
        place = (gallery, person, str(row_id), created, MODEL)
        text = opened(key, source, "source", *place).rstrip(b"\0")[:-1].decode()
        found.append((spelt, opened(key, template, "template", *place), text))
    connection.close()
    return found


def test_it_is_read_by_hand(tmp_path: Path) -> None:
    path, rows = tmp_path / "g.db", vectors(3)
    with make(path) as gallery:
        gallery.enroll_batch(["Ann", "Zo\u00eb", "Ann"], rows, ["a.jpg", "", "b\u00e9.jpg"])
        assert gallery.describe()["encrypted"] is True
    sources = ["a.jpg", "", "b\u00e9.jpg"]
    wanted = [(n, r.tobytes(), s) for n, r, s in zip(["Ann", "Zo\u00eb", "Ann"], rows, sources, strict=True)]
    found = by_hand(path, KEY.secret)
    assert [(n, s) for n, _, s in found] == [(n, s) for n, _, s in wanted]
    np.testing.assert_allclose(
        np.frombuffer(b"".join(t for _, t, _ in found), "<f4").reshape(3, SIZE), rows, atol=1e-7
    )


def test_a_passphrase_is_stretched_by_scrypt(tmp_path: Path) -> None:
    path = tmp_path / "g.db"
    key = GalleryKey.from_passphrase("correct horse Zo\u00eb")
    with make(path, key=key) as gallery:
        gallery.enroll("Ann", vectors(1)[0])
    connection = raw(path)
    kdf = json.loads(connection.execute("SELECT value FROM meta WHERE key = 'kdf'").fetchone()[0])
    connection.close()
    assert (kdf["name"], kdf["n"], kdf["r"], kdf["p"], len(kdf["salt"])) == ("scrypt", 65536, 8, 2, 32)
    master = hashlib.scrypt(
        "correct horse Zo\u00eb".encode(),
        salt=bytes.fromhex(kdf["salt"]),
        n=65536,
        r=8,
        p=2,
        maxmem=1 << 28,
        dklen=32,
    )
    assert by_hand(path, master)[0][0] == "Ann"
    # The same, typed in another spelling.
    with Gallery(path, key=GalleryKey.from_passphrase("correct horse Zoe\u0308")) as gallery:
        assert gallery.people()[0].name == "Ann"


def test_scrypt_by_the_vectors_of_rfc_7914() -> None:
    derived = Scrypt(b"SodiumChloride__"[:16], 16384, 8, 1)
    assert derived.derive(b"pleaseletmein") == hashlib.scrypt(
        b"pleaseletmein", salt=b"SodiumChloride__"[:16], n=16384, r=8, p=1, dklen=32
    )
    # RFC 7914, 12: salts there are shorter than any gallery's.
    short = Scrypt(bytes(16), 16384, 8, 1)
    object.__setattr__(short, "salt", b"SodiumChloride")
    assert short.derive(b"pleaseletmein").hex() == "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2"


@pytest.mark.parametrize("text", ["{}", "[]", '{"name": "scrypt", "n": 3, "r": 8, "p": 1, "salt": ""}'])
def test_other_derivations_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="scrypt"):
        Scrypt.from_text(text)
    for n, r, p in ((1 << 30, 8, 1), (1 << 20, 64, 1), (1024, 1, 1 << 20), (1000, 8, 1), (0, 8, 1)):
        with pytest.raises(ValueError, match="out of range"):
            Scrypt.from_text(json.dumps({"name": "scrypt", "n": n, "r": r, "p": p, "salt": "00" * 16}))


def test_nothing_plain_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgeface_runtime.gallery.INDEX_FROM", 4)
    monkeypatch.setattr("edgeface_runtime.gallery_search.FILE_FROM", 10)
    path, rows, shape = tmp_path / "g.db", vectors(60, size=512), (2, 8, 8)
    features = np.random.default_rng(5).standard_normal((60, *shape)).astype(np.float16)
    names = [f"Zebulon Quux-{k:03d} \u00c9tienne" for k in range(60)]
    with make(path, 512, features=shape) as gallery:
        gallery.enroll_batch(names, rows, [f"picture-of-{k}.jpg" for k in range(60)], list(features))
        assert gallery.search(rows[7])[0].name == names[7]
        assert gallery.replace(9, rows[3], "another-picture.jpg", features[9]).erased
        gallery.masked(b"k", lambda halves: vectors(len(halves), size=512), 1 << 20)
        seen = on_disk(path)
        assert path.with_name("g.db-wal").exists()
    seen += on_disk(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["g.db"]
    secrets = [KEY.secret, KEY.secret.hex().encode(), b"picture-of-", b"another-picture"]
    for k in range(60):
        row, half = rows[k].tobytes(), features[k].astype("<f2").tobytes()
        secrets += [row[:16], row[-16:], row[400:416], half[:16], half[-16:]]
        for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
            secrets += [names[k].encode(encoding), names[k][:12].encode(encoding)]
    assert [secret for secret in secrets if secret in seen] == []
    with Gallery(path, key=KEY) as gallery:
        np.testing.assert_allclose(gallery.templates()[1][0], rows[0], atol=1e-7)
        assert gallery.search(rows[8])[0].name != names[8]


def test_nonces_and_keys_are_never_the_same(tmp_path: Path) -> None:
    path = tmp_path / "g.db"
    with make(path) as gallery:
        gallery.enroll_batch([f"p{k % 5}" for k in range(50)], np.ones((50, SIZE)))
    connection = raw(path)
    blobs = [row[0] for row in connection.execute("SELECT template FROM templates")]
    blobs += [row[0] for row in connection.execute("SELECT source FROM templates")]
    blobs += [blob for row in connection.execute("SELECT key, name FROM people") for blob in row]
    connection.close()
    assert len({blob[:12] for blob in blobs}) == len({blob[12:] for blob in blobs}) == 110


def test_the_wrong_key_is_one_line_and_writes_nothing(tmp_path: Path, quick_scrypt: None) -> None:
    by_key, by_word = tmp_path / "k.db", tmp_path / "p.db"
    make(by_key).close()
    make(by_word, key=GalleryKey.from_passphrase("a passphrase")).close()
    before = on_disk(by_key)
    word = GalleryKey.from_passphrase("a Passphrase")
    for path, key, said in (
        (by_key, OTHER, "^wrong key for gallery .*k.db: give the one it was encrypted by$"),
        (by_key, None, "^gallery .*k.db is encrypted: give --key-file or --key-env, or set EDGEFACE_GALLERY_KEY$"),
        (by_key, word, "^gallery .*k.db is encrypted by a key: give --key-file"),
        (by_word, word, "^wrong passphrase for gallery .*p.db"),
        (by_word, None, "^gallery .*p.db is encrypted: give --passphrase or --passphrase-file, or set EDGE"),
        (by_word, KEY, "^gallery .*p.db is encrypted by a passphrase: give --passphrase"),
    ):
        for create in (False, True):
            with pytest.raises(InputError, match=said):
                Gallery(path, MODEL, SIZE, create=create, key=key)
    assert on_disk(by_key) == before


def test_a_plain_gallery_in_its_place_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "g.db"
    with Gallery(path, MODEL, SIZE, create=True) as gallery:
        gallery.enroll("Ann", vectors(1)[0])
        assert gallery.describe()["encrypted"] is False
    with pytest.raises(InputError, match="is not encrypted: open it without a key"):
        Gallery(path, MODEL, SIZE, create=True, key=KEY)


def test_a_key_hides_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = GalleryKey.from_passphrase("correct horse")
    assert "horse" not in f"{key!r} {key} {[key]}"
    assert KEY.secret.hex() not in repr(KEY)
    assert str(KEY.secret)[2:10] not in repr(KEY)
    make_key_file(tmp_path / "sub" / "key")
    assert (tmp_path / "sub" / "key").stat().st_mode & 0o777 == 0o600
    made = GalleryKey.from_file(tmp_path / "sub" / "key")
    assert made.secret.hex() == (tmp_path / "sub" / "key").read_text().strip()
    with pytest.raises(InputError, match="exists: choose another name"):
        make_key_file(tmp_path / "sub" / "key")
    (tmp_path / "bad").write_text("secret" * 3)
    with pytest.raises(InputError, match=r"^key file .*bad holds no key of 64 hexadecimal digits: make one") as info:
        GalleryKey.from_file(tmp_path / "bad")
    assert "secret" not in str(info.value)
    with pytest.raises(InputError, match="key file not found"):
        GalleryKey.from_file(tmp_path / "none")
    (tmp_path / "word").write_bytes(b"a passphrase \r\n")
    assert GalleryKey.from_passphrase_file(tmp_path / "word").same_as(GalleryKey.from_passphrase("a passphrase "))
    monkeypatch.delenv("EDGEFACE_GALLERY_KEY", raising=False)
    assert key_from_environment() is None
    monkeypatch.setenv("EDGEFACE_GALLERY_PASSPHRASE", "a passphrase ")
    found = key_from_environment()
    assert found is not None
    assert found.same_as(GalleryKey.from_passphrase("a passphrase "))
    monkeypatch.setenv("EDGEFACE_GALLERY_KEY", "00" * 32)
    with pytest.raises(InputError, match="are both set: unset one"):
        key_from_environment()


TAMPERINGS = {
    "template": "UPDATE templates SET template = flip(template) WHERE id = 2",
    "template cut": "UPDATE people SET key = substr(key, 1, 20) WHERE id = 1",
    "source": "UPDATE templates SET source = flip(source) WHERE id = 2",
    "features": "UPDATE templates SET features = flip(features) WHERE id = 2",
    "time": "UPDATE templates SET created = '2020-01-01T00:00:00+00:00' WHERE id = 2",
    "person of a row": "UPDATE templates SET name = (SELECT person FROM people WHERE id = 2) WHERE id = 1",
    "nobody's row": "UPDATE templates SET name = 'nobody' WHERE id = 1",
    "a person gone": "DELETE FROM people WHERE id = 1",
    "id": "UPDATE templates SET id = 99 WHERE id = 2",
    "two templates of one person": "UPDATE templates SET template = (SELECT template FROM templates WHERE id = 3) "
    "WHERE id = 1",
    "source for features": "UPDATE templates SET features = source",
    "key": "UPDATE people SET key = flip(key) WHERE id = 1",
    "name": "UPDATE people SET name = flip(name) WHERE id = 1",
    "lookup": "UPDATE people SET lookup = flip(lookup) WHERE id = 1",
    "person": "UPDATE people SET person = 'ab' WHERE id = 1",
    "name of another": "UPDATE people SET name = (SELECT name FROM people WHERE id = 2) WHERE id = 1",
    "model_id": "UPDATE meta SET value = value || 'b' WHERE key = 'model_id'",
    "gallery_id": "UPDATE meta SET value = '00' WHERE key = 'gallery_id'",
    "embedding_size": "UPDATE meta SET value = '12' WHERE key = 'embedding_size'",
    "shape": "UPDATE meta SET value = '2,2,8' WHERE key = 'features'",
    "no shape": "DELETE FROM meta WHERE key = 'features'",
    "kdf": "UPDATE meta SET value = 'x' WHERE key = 'kdf'",
    "kdf of more work": "UPDATE meta SET value = "
    '\'{"name": "scrypt", "n": 1048576, "r": 8, "p": 99, "salt": "00112233445566778899aabbccddeeff"}\' '
    "WHERE key = 'kdf'",
    "encryption": "UPDATE meta SET value = '2' WHERE key = 'encryption'",
    "key_id": "UPDATE meta SET value = '0011223344556677' WHERE key = 'key_id'",
    "no key_id": "DELETE FROM meta WHERE key = 'key_id'",
    "key_proof": "UPDATE meta SET value = substr(value, 3) || '00' WHERE key = 'key_proof'",
    "no proof": "DELETE FROM meta WHERE key = 'key_proof'",
}


def flip(blob: bytes) -> bytes:
    return blob[:-1] + bytes([blob[-1] ^ 1])


@pytest.mark.parametrize("what", list(TAMPERINGS))
def test_tampering_is_noticed(tmp_path: Path, what: str) -> None:
    path, shape = tmp_path / "g.db", (2, 4, 4)
    with make(path, features=shape) as gallery:
        gallery.enroll_batch(["Ann", "Bob", "Ann"], vectors(3), ["a", "b", "c"], [np.full(shape, 0.5)] * 3)
    connection = raw(path)
    connection.create_function("flip", 1, flip)
    connection.execute(TAMPERINGS[what])
    connection.close()
    with pytest.raises(InputError) as info, Gallery(path, key=KEY) as gallery:
        gallery.templates()
        gallery.masked(b"k", lambda halves: vectors(len(halves)), 0)
        gallery.rekey(None)
    text = str(info.value)
    assert "\n" not in text
    assert any(word in text for word in ("tampered", "wrong key", "upgrade edgeface"))
    if what in ("template", "features", "source", "time"):
        assert f"{'template' if what == 'time' else what} 2 of 'Bob'" in text
        assert isinstance(info.value, ArtefactError)


def test_rows_of_another_gallery_by_the_same_key_are_noticed(tmp_path: Path) -> None:
    for name in ("one.db", "two.db"):
        with make(tmp_path / name) as gallery:
            gallery.enroll("Ann", vectors(1)[0])
    connection = raw(tmp_path / "one.db")
    connection.execute("ATTACH ? AS two", (str(tmp_path / "two.db"),))
    connection.execute("DELETE FROM people")
    connection.execute("INSERT INTO people SELECT * FROM two.people")
    connection.execute("DELETE FROM templates")
    connection.execute("INSERT INTO templates SELECT * FROM two.templates")
    connection.close()
    with Gallery(tmp_path / "one.db", key=KEY) as gallery, pytest.raises(ArtefactError, match="the row of person"):
        gallery.people()


def test_plain_templates_are_refused_by_the_file_itself(tmp_path: Path) -> None:
    """Whoever writes rows without knowing of encryption gets an error, not a leak."""
    path = tmp_path / "g.db"
    with make(path) as gallery:
        gallery.enroll("Ann", vectors(1)[0])
    connection = raw(path)
    plain = vectors(1)[0].tobytes()
    for statement in (
        "INSERT INTO templates (name, template, source, created) VALUES ('Bob', ?, '', '')",
        "UPDATE templates SET template = ?",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="the gallery is encrypted"):
            connection.execute(statement, (plain,))
    connection.close()


def test_deleting_takes_the_key_off_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "g.db"
    with make(path, 512) as gallery:
        gallery.enroll_batch(["gone", "kept", "gone"], vectors(3, size=512))
        connection = raw(path)
        rows = connection.execute("SELECT key, person, lookup, name FROM people ORDER BY id").fetchall()
        gone, kept = rows
        templates = [row[0] for row in connection.execute("SELECT template FROM templates ORDER BY id")]
        connection.close()
        assert gone[0] in on_disk(path)
        erasure = gallery.delete(" gone ")
        assert (erasure.name, erasure.removed, erasure.erased) == ("gone", 2, True)
        for trace in (gone[0], gone[1].encode(), gone[2], gone[3][:64], templates[0][:64], templates[2][-64:]):
            assert trace not in on_disk(path)
        assert kept[0] in on_disk(path)
        assert [(p.name, p.templates) for p in gallery.people()] == [("kept", 1)]
        with pytest.raises(InputError, match="nobody named 'gone'"):
            gallery.delete("gone")
        gallery.enroll("gone", vectors(1, size=512)[0])  # somebody new: no row of before comes back
        assert [(p.name, p.templates) for p in gallery.people()] == [("gone", 1), ("kept", 1)]


@pytest.mark.parametrize("large", [False, True])
def test_who_was_erased_elsewhere_leaves_the_memory_of_a_reader(
    tmp_path: Path, large: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeface_runtime.gallery.INDEX_FROM", 2 if large else 1000)
    path, rows = tmp_path / "g.db", vectors(3)
    with make(path) as writer, Gallery(path, key=KEY) as reader:
        writer.enroll_batch(["Ann", "Bob", "Cid"], rows)
        assert reader.search(rows[0], 1)[0].name == "Ann"
        keys = reader._rows._keys  # type: ignore[attr-defined]
        assert "Ann" in {name for _, name in keys.values()}
        writer.delete("Ann")
        assert reader.search(rows[1], 1)[0].name == "Bob"
        assert "Ann" not in {name for _, name in keys.values()}


def test_a_reader_makes_erasure_pending(tmp_path: Path) -> None:
    path = tmp_path / "g.db"
    with make(path) as gallery:
        gallery.enroll("ann", vectors(1)[0])
        reader = raw(path)
        wrapped = reader.execute("SELECT key FROM people").fetchone()[0]
        reader.execute("BEGIN")
        reader.execute("SELECT COUNT(*) FROM people").fetchall()
        assert gallery.delete("ann").pending is not None
        assert wrapped in on_disk(path)
        reader.execute("ROLLBACK")
        Gallery(path, key=KEY).close()  # the next opening finishes it
        assert wrapped not in on_disk(path)
        reader.close()


@pytest.mark.parametrize("large", [False, True])
def test_it_finds_what_a_plain_one_finds(tmp_path: Path, large: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two openings of each that follow one another's changes; search, people, order and scores are the same."""
    monkeypatch.setattr("edgeface_runtime.gallery.INDEX_FROM", 4 if large else 10_000)
    monkeypatch.setattr("edgeface_runtime.gallery_search.FILE_FROM", 50)
    rows, names = vectors(400), [f"p{(7 * k) % 131:03d}" for k in range(400)]
    results = []
    for key in (KEY, None):
        path = tmp_path / f"{key is None}.db"
        with (
            Gallery(path, MODEL, SIZE, create=True, key=key) as one,
            Gallery(path, MODEL, key=key) as two,
        ):
            found: list[object] = []

            def look(one: Gallery = one, two: Gallery = two, found: list[object] = found) -> None:
                for gallery in (one, two):
                    for probe in vectors(4, 9):
                        found.append([(c.name, round(c.score, 5)) for c in gallery.search(probe, 7)])
                    found.append([(p.name, p.templates) for p in gallery.people()])
                    order, matrix = gallery.templates()
                    found.append((order, matrix.tobytes()))

            ids = one.enroll_batch(names[:300], rows[:300])
            look()
            ids += two.enroll_batch(names[300:], rows[300:])
            one.enroll("new", -rows[0])
            assert two.replace(ids[5], rows[6]).name == names[5]
            look()
            found.append(two.delete("p007").to_dict())
            with pytest.raises(InputError, match="no template 99999"):
                one.replace(99999, rows[0])
            look()
            found.append(ids)
            results.append(found)
            assert path.with_name(path.name + ".index").exists() == (large and key is None)
    assert results[0] == results[1]


def test_features_of_a_dictionary_model(tmp_path: Path) -> None:
    shape = (3, 2, 2)
    features = np.random.default_rng(1).standard_normal((3, *shape)).astype(np.float16)
    with make(tmp_path / "g.db", features=shape) as gallery:
        gallery.enroll_batch(["b", "a", "b"], vectors(3), None, list(features))
        seen: list[np.ndarray] = []

        def embed(halves: np.ndarray) -> np.ndarray:
            seen.append(halves)
            return np.tile(halves.reshape(len(halves), -1)[:, :2].astype(np.float32), (1, SIZE // 2))

        names, matrix = gallery.masked(b"k", embed, 1 << 20, batch=2)
        assert names == ["a", "b", "b"]
        np.testing.assert_array_equal(matrix[:, :2], features[[1, 0, 2]].reshape(3, -1)[:, :2].astype(np.float32))
        gallery.replace(2, vectors(1)[0], "", features[0])
        names, matrix = gallery.masked(b"k", embed, 1 << 20)
        np.testing.assert_array_equal(matrix[0, :2], features[0].reshape(-1)[:2].astype(np.float32))


def test_a_batch_is_all_or_nothing_and_threads_may_write(tmp_path: Path) -> None:
    path, errors = tmp_path / "g.db", []
    with make(path) as gallery, Gallery(path, key=KEY) as other:
        with pytest.raises(ValueError, match="zip"):
            gallery.enroll_batch(["a", "b", "c"], vectors(3), ["one"])
        assert gallery.people() == []

        def work(which: Gallery, k: int) -> None:
            try:
                for i in range(5):
                    which.enroll_batch([f"p{i}", f"q{k}-{i}"], vectors(2, 10 * k + i))
                    which.search(vectors(1)[0])
            except Exception as exc:
                errors.append(exc)

        threads = [threading.Thread(target=work, args=((gallery, other)[k % 2], k)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        counts = {p.name: p.templates for p in gallery.people()}
        assert (len(counts), counts["p0"], sum(counts.values())) == (25, 4, 40)


def test_two_processes_make_one_gallery(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def open_it(k: int) -> None:
        try:
            with make(tmp_path / "g.db") as gallery:
                gallery.enroll(f"p{k}", vectors(1, k)[0])
        except BaseException as exc:
            failures.append(exc)

    threads = [threading.Thread(target=open_it, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(by_hand(tmp_path / "g.db", KEY.secret)) == 4


def test_without_the_package_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing: Callable[..., None] = lambda *_: (_ for _ in ()).throw(ImportError("no cryptography"))  # noqa: E731
    make(tmp_path / "g.db").close()
    import builtins

    real = builtins.__import__
    monkeypatch.setattr(
        builtins, "__import__", lambda name, *rest: missing() if name == "cryptography" else real(name, *rest)
    )
    for path in (tmp_path / "g.db", tmp_path / "new.db"):
        with pytest.raises(InputError, match=r"pip install 'edgeface\[sign\]'"):
            make(path)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["g.db"]
