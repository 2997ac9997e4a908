"""Encrypted galleries through the command line: keys from files, the environment and passphrases; rekey; refusals."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("cryptography", reason="needs cryptography: pip install 'edgeface[sign]'")

Cli = Callable[..., Any]
MODEL = "a" * 64


@pytest.fixture(autouse=True)
def no_key_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeface_runtime.gallery_key import Scrypt

    monkeypatch.delenv("EDGEFACE_GALLERY_KEY", raising=False)
    monkeypatch.delenv("EDGEFACE_GALLERY_PASSPHRASE", raising=False)
    monkeypatch.setattr(Scrypt, "new", classmethod(lambda cls: cls(os.urandom(16), 1024, 8, 1)))


def gallery(path: Path, key: Path | None = None) -> Path:
    from edgeface_runtime.gallery import Gallery, GalleryKey

    with Gallery(path, MODEL, 4, create=True, key=None if key is None else GalleryKey.from_file(key)) as made:
        made.enroll_batch(["Ann", "Bob"], np.eye(4)[:2])
    return path


@pytest.fixture
def key(cli: Cli, tmp_path: Path) -> Path:
    assert cli("gallery", "keygen", tmp_path / "key").code == 0
    return tmp_path / "key"


@pytest.fixture
def other(cli: Cli, tmp_path: Path) -> Path:
    assert cli("gallery", "keygen", tmp_path / "other").code == 0
    return tmp_path / "other"


def refused(done: Any, said: str) -> None:
    assert done.code == 2
    assert said in done.err
    assert done.err.startswith("edgeface: ")
    assert len(done.err.splitlines()) == 1
    assert done.out == ""


def test_keygen(cli: Cli, tmp_path: Path) -> None:
    done = cli("gallery", "keygen", tmp_path / "key", "--json")
    assert (done.code, done.data) == (0, {"key_file": str(tmp_path / "key")})
    text = (tmp_path / "key").read_text()
    assert len(bytes.fromhex(text.strip())) == 32
    assert text.strip() not in done.out + done.err
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    refused(cli("gallery", "keygen", tmp_path / "key"), "exists: choose another name")
    assert (tmp_path / "key").read_text() == text


def test_every_way_to_give_a_key(cli: Cli, tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = gallery(tmp_path / "g.db", key)
    look = ("gallery", "list", "--gallery", path)
    refused(cli(*look), "is encrypted: give --key-file or --key-env, or set EDGEFACE_GALLERY_KEY")
    assert [person["name"] for person in cli(*look, "--key-file", key, "--json").data] == ["Ann", "Bob"]
    monkeypatch.setenv("MY_KEY", key.read_text())
    assert cli(*look, "--key-env", "MY_KEY").code == 0
    refused(cli(*look, "--key-env", "NO_KEY"), "--key-env: there is no environment variable NO_KEY")
    refused(cli(*look, "--key-env", "MY_KEY", "--key-file", key), "--key-file and --key-env are both given")
    refused(cli(*look, "--passphrase"), "there is no terminal: use --passphrase-file")
    monkeypatch.setenv("EDGEFACE_GALLERY_KEY", key.read_text())
    assert cli(*look).code == 0
    monkeypatch.setenv("EDGEFACE_GALLERY_KEY", "12" * 32)
    refused(cli(*look), "wrong key for gallery")
    assert cli(*look, "--key-file", key).code == 0  # a flag goes before the environment
    monkeypatch.setenv("EDGEFACE_GALLERY_KEY", "secret-text")
    done = cli(*look)
    refused(done, "EDGEFACE_GALLERY_KEY holds no key of 64 hexadecimal digits")
    assert "secret-text" not in done.err
    key.chmod(0o644)
    done = cli(*look, "--key-file", key)
    assert f"note: others can read {key}: chmod 600 {key}" in done.err
    key.chmod(0o600)
    plain = gallery(tmp_path / "plain.db")
    refused(cli("gallery", "list", "--gallery", plain, "--key-file", key), "is not encrypted: open it without a key")


def test_passphrases(cli: Cli, tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = gallery(tmp_path / "g.db", key)
    word = tmp_path / "word"
    word.write_text("a long passphrase\n")
    word.chmod(0o600)
    change = ("gallery", "rekey", "--gallery", path, "--key-file", key)
    (tmp_path / "short").write_text("short\n")
    refused(
        cli(*change, "--quiet", "--new-passphrase-file", tmp_path / "short"), "is short: give at least 8 characters"
    )
    assert cli(*change, "--new-passphrase-file", word).code == 0
    look = ("gallery", "list", "--gallery", path)
    assert cli(*look, "--passphrase-file", word).code == 0
    monkeypatch.setenv("EDGEFACE_GALLERY_PASSPHRASE", "a long passphrase")
    assert cli(*look).code == 0
    monkeypatch.delenv("EDGEFACE_GALLERY_PASSPHRASE")
    refused(cli(*look), "is encrypted: give --passphrase or --passphrase-file, or set EDGEFACE_GALLERY_PASSPHRASE")

    answers = ["a long passphrase"]
    monkeypatch.setattr("getpass.getpass", lambda prompt: answers.pop(0))
    monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
    assert cli(*look, "--passphrase").code == 0
    answers[:] = ["a long passphrase", "another passphrase", "another Passphrase"]
    change = ("gallery", "rekey", "--gallery", path, "--passphrase", "--new-passphrase")
    refused(cli(*change), "the two passphrases differ: try again")
    answers[:] = ["a long passphrase", "another passphrase", "another passphrase"]
    assert cli(*change).code == 0
    answers[:] = ["another passphrase"]
    assert cli(*look, "--passphrase").code == 0
    answers[:] = ["wrong"]
    refused(cli(*look, "--passphrase"), "wrong passphrase for gallery")


def test_rekey(cli: Cli, tmp_path: Path, key: Path, other: Path) -> None:
    path = gallery(tmp_path / "g.db", key)
    change = ("gallery", "rekey", "--gallery", path)
    refused(cli(*change, "--key-file", key), "which new key? give --new-key-file")
    refused(cli(*change, "--key-file", other, "--new-key-file", key), "wrong key for gallery")
    refused(cli(*change, "--key-file", key, "--new-key-file", key), "is encrypted by that key already")
    refused(cli(*change, "--encrypt", "--key-file", key), "is encrypted already: leave out --encrypt")
    done = cli(*change, "--key-file", key, "--new-key-file", other, "--json")
    assert done.data == {"encrypted": True, "people": 2, "erased": True, "pending": None}
    assert f"updated {path}" in done.err
    refused(cli("gallery", "list", "--gallery", path, "--key-file", key), "wrong key")
    assert cli("inspect", path, "--json").data["encrypted"] == "AES-256-GCM, by a key"
    assert cli("inspect", path, "--json").data["people"] == 2

    refused(cli(*change, "--decrypt", "--encrypt"), "--encrypt and --decrypt are both given")
    refused(cli(*change, "--decrypt", "--key-file", other, "--new-key-file", key), "leave it out with --decrypt")
    refused(cli(*change, "--decrypt"), "is encrypted: give --key-file")
    done = cli(*change, "--decrypt", "--key-file", other)
    assert (done.code, done.out) == (0, f"{path}: 2 people, not encrypted any more\n")
    assert cli("inspect", path, "--json").data["encrypted"] is None
    refused(cli(*change, "--key-file", other, "--new-key-file", key), "is not encrypted: encrypt it with --encrypt")
    refused(cli(*change, "--decrypt"), "is not encrypted")
    refused(cli(*change, "--encrypt"), "which key? give --key-file")
    assert cli(*change, "--encrypt", "--key-file", key).code == 0
    assert len(cli("gallery", "list", "--gallery", path, "--key-file", key, "--json").data) == 2


def test_a_pending_rekey_is_exit_code_1(cli: Cli, tmp_path: Path, key: Path, other: Path) -> None:
    path = gallery(tmp_path / "g.db", key)
    reader = sqlite3.connect(path, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM people").fetchall()
    done = cli("gallery", "rekey", "--gallery", path, "--key-file", key, "--new-key-file", other, "--json")
    reader.close()
    assert (done.code, done.data["erased"]) == (1, False)
    assert "erasure pending: another process is reading" in done.err
    assert cli("gallery", "list", "--gallery", path, "--key-file", other).code == 0


def test_delete_and_rekey(cli: Cli, tmp_path: Path, key: Path, other: Path) -> None:
    path = gallery(tmp_path / "g.db", key)
    delete = ("gallery", "delete", "Ann", "--gallery", path, "--key-file", key)
    refused(cli(*delete, "--new-key-file", other), "--new-key-file is the new key of a rekey: give --rekey too")
    refused(cli(*delete, "--rekey"), "which new key?")
    refused(cli(*delete, "--rekey", "--new-key-file", key), "is encrypted by that key already")
    done = cli(*delete, "--rekey", "--new-key-file", other, "--json")
    assert done.code == 0
    assert done.data == {
        "name": "Ann",
        "removed": 1,
        "erased": True,
        "pending": None,
        "rekeyed": {"encrypted": True, "people": 1, "erased": True, "pending": None},
    }
    refused(cli(*delete), "wrong key")
    assert cli("gallery", "delete", "Bob", "--gallery", path, "--key-file", other).out == (
        "Bob: 1 template deleted, erased\n"
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny recogniser, and a photograph."""
    onnx = pytest.importorskip("onnx", reason="needs onnx to make a tiny model: pip install 'edgeface[train]'")
    data = pytest.importorskip("skimage.data", reason="needs scikit-image's photograph: pip install 'edgeface[demo]'")
    from edgeface_runtime.align import TEMPLATE
    from edgeface_runtime.manifest import Manifest, write_manifest

    folder = tmp_path_factory.mktemp("encrypted") / "bundle"
    folder.mkdir()
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    weights = np.random.default_rng(0).standard_normal((126, 64)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("AveragePool", ["input"], ["pooled"], kernel_shape=[16, 16], strides=[16, 16]),
            helper.make_node("Flatten", ["pooled"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w"], ["raw"]),
            helper.make_node("LpNormalization", ["raw"], ["embedding"], axis=1, p=2),
        ],
        "tiny",
        [helper.make_tensor_value_info("input", kind, ["batch", 3, 112, 96])],
        [helper.make_tensor_value_info("embedding", kind, ["batch", 64])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, str(folder / "recognizer.onnx"))
    template = tuple((float(x), float(y)) for x, y in TEMPLATE)
    models = {"fp32": "recognizer.onnx"}
    write_manifest(folder, Manifest("tiny", "2026-01-02T03:04:05+00:00", models, template, embedding_size=64))
    cv2.imwrite(str(folder.parent / "photo.png"), np.ascontiguousarray(data.astronaut()[:300, ..., ::-1]))
    return folder


def test_enroll_and_identify(
    cli: Cli, tmp_path: Path, key: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, photo = tmp_path / "g.db", bundle.parent / "photo.png"
    enroll = ("enroll", bundle, "Zebulon Quux", photo, "--gallery", path, "--largest", "--threads", 1)
    identify = ("identify", bundle, photo, "--gallery", path, "--threshold", ".5", "--threads", 1)
    refused(cli(*enroll, "--encrypt"), "--encrypt: which key?")
    refused(cli(*enroll, "--key-file", key), "is a new gallery and there is a key for it: give --encrypt, or no key")
    monkeypatch.setenv("EDGEFACE_GALLERY_KEY", key.read_text())
    refused(cli(*enroll), "is a new gallery and there is a key for it")
    monkeypatch.delenv("EDGEFACE_GALLERY_KEY")
    assert not path.exists()
    done = cli(*enroll, "--encrypt", "--key-file", key)
    assert (done.code, done.out) == (0, "Zebulon Quux: 1 template added\n")
    assert b"Zebulon" not in path.read_bytes()
    assert b"photo.png" not in path.read_bytes()
    refused(cli(*enroll), "is encrypted: give --key-file or --key-env")
    assert cli(*enroll, "--key-file", key).code == 0
    refused(cli(*identify), "is encrypted: give --key-file or --key-env")
    done = cli(*identify, "--key-file", key, "--json")
    assert "Zebulon Quux" in {face["match"] for face in json.loads(done.out)[0]["faces"]}
    plain = tmp_path / "plain.db"
    again = ("enroll", bundle, "Ann", photo, "--gallery", plain, "--largest", "--threads", 1)
    assert cli(*again).code == 0
    refused(
        cli(*again, "--encrypt", "--key-file", key), "is not encrypted: open it without a key, or encrypt it with"
    )
