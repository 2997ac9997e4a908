"""Signatures: what a key signed is let in, everything else is refused in one line before it is loaded."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from edgeface_runtime import cache
from edgeface_runtime.backends import tensorrt
from edgeface_runtime.backends.driver import Gpu
from edgeface_runtime.bundle import open_bundle, pack_bundle, read_manifest, write_manifest
from edgeface_runtime.engine import Profile, Sidecar, signature_path, write_sidecar
from edgeface_runtime.engine_check import Here, checked_engine, whole_engine
from edgeface_runtime.errors import ArtefactError, EdgefaceError, InputError, MissingExtraError
from edgeface_runtime.recognizer import Recognizer
from edgeface_runtime.signature import check_bundle_signature, load_public_key, required_key

pytest.importorskip("cryptography", reason="needs cryptography: pip install 'edgeface[sign]'")

from edgeface_export.sign import KeyPair, make_keys, sign_bundle, sign_engine

MakeBundle = Callable[..., Path]


@dataclass(frozen=True)
class Keys:
    """Ours and a stranger's."""

    own: KeyPair
    other: KeyPair


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    root = tmp_path_factory.mktemp("keys")
    return Keys(make_keys(root / "own"), make_keys(root / "other"))


def check(path: Path, key: Path) -> str:
    return check_bundle_signature(open_bundle(path, full=True), key)


def refused(call: Callable[[], object], pattern: str, error: type[EdgefaceError] = ArtefactError) -> None:
    with pytest.raises(error, match=pattern) as info:
        call()
    assert "\n" not in str(info.value)


def test_only_the_owner_may_read_a_private_key(keys: Keys) -> None:
    assert stat.S_IMODE(keys.own.private.stat().st_mode) == 0o600
    assert keys.own.private.read_bytes().startswith(b"-----BEGIN PRIVATE KEY-----")
    assert b"PRIVATE" not in keys.own.public.read_bytes()
    refused(lambda: make_keys(keys.own.private.parent), "exists: choose another --out", InputError)


@pytest.mark.parametrize("kind", ["folder", "tar"])
def test_a_signature_is_ed25519_over_the_manifest(
    tiny_bundle: MakeBundle, tmp_path: Path, keys: Keys, kind: str
) -> None:
    """Checked by hand with another entry to the library than the one that made it."""
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    path = tiny_bundle() if kind == "folder" else pack_bundle(tiny_bundle(), tmp_path / "b.tar")
    signed = sign_bundle(path, keys.own.private)
    bundle = open_bundle(path)
    assert signed.signature == (path / "manifest.sig" if kind == "folder" else path)
    data = json.loads((bundle.folder / "manifest.sig").read_text())
    assert (data["format"], data["version"], data["algorithm"]) == ("edgeface-signature", 1, "ed25519")
    public = load_pem_public_key(keys.own.public.read_bytes())
    public.verify(base64.b64decode(data["signature"]), (bundle.folder / "manifest.json").read_bytes())  # type: ignore[call-arg, union-attr]
    assert data["key"] == hashlib.sha256(public.public_bytes_raw()).hexdigest() == check(path, keys.own.public)  # type: ignore[union-attr]
    assert sign_bundle(path, keys.own.private).key == signed.key  # again


def test_signed_folders_and_archives_are_one(tiny_bundle: MakeBundle, tmp_path: Path, keys: Keys) -> None:
    folder = tiny_bundle()
    tar = pack_bundle(folder, tmp_path / "b.tar")
    sign_bundle(folder, keys.own.private)
    sign_bundle(tar, keys.own.private)
    assert pack_bundle(folder, tmp_path / "c.tar").read_bytes() == tar.read_bytes()
    assert set(open_bundle(tar).manifest.files) == {"recognizer.onnx"}


def test_what_is_not_signed_by_the_key_is_refused(tiny_bundle: MakeBundle, keys: Keys) -> None:
    folder = tiny_bundle()
    refused(lambda: check(folder, keys.own.public), "is not signed: .* edgeface bundle sign .* --key PRIVATE")
    sign_bundle(folder, keys.other.private)
    refused(lambda: check(folder, keys.own.public), f"signed by key {keys.other.key[:12]}, .*key {keys.own.key[:12]}")
    sign_bundle(folder, keys.own.private)
    assert check(folder, keys.own.public) == keys.own.key
    file = folder / "manifest.sig"
    good = file.read_text()
    forged = json.loads(good) | {"signature": base64.b64encode(bytes(64)).decode()}
    for text, why in (
        (json.dumps(forged), "was altered after it was signed"),
        (json.dumps(json.loads(good) | {"signature": "?"}), "manifest.sig is damaged"),
        (json.dumps(json.loads(good) | {"signature": "AAAA"}), "was altered after it was signed"),
        (json.dumps(json.loads(good) | {"version": 2}), "of version 2 .*upgrade edgeface"),
        (json.dumps(json.loads(good) | {"algorithm": "rsa"}), "by 'rsa'"),
        ("[]", "is not a signature"),
        ("", "it is not JSON"),
    ):
        file.write_text(text)
        refused(lambda: check(folder, keys.own.public), why)


def test_accidents_to_a_signature(tiny_bundle: MakeBundle, keys: Keys) -> None:
    """Flipped bits: refused in one line; what is still accepted is the same signature in another spelling."""
    folder = tiny_bundle()
    sign_bundle(folder, keys.own.private)
    bundle = open_bundle(folder)
    file = folder / "manifest.sig"
    good = file.read_bytes()
    signature = base64.b64decode(json.loads(good)["signature"])
    for at in range(len(good)):
        changed = bytearray(good)
        changed[at] ^= 1 << at % 8
        file.write_bytes(changed)
        try:
            check_bundle_signature(bundle, keys.own.public)
        except EdgefaceError as exc:
            assert "\n" not in str(exc)
        else:
            assert base64.b64decode(json.loads(bytes(changed))["signature"]) == signature, at
        if at % 9 == 0:
            file.write_bytes(good[:at])
            refused(lambda: check_bundle_signature(bundle, keys.own.public), "manifest.sig")


def test_a_stranger_who_repairs_all_hashes_is_refused(tiny_bundle: MakeBundle, keys: Keys) -> None:
    """Another model with its right hash in the manifest, and the old signature put back."""
    folder = tiny_bundle()
    sign_bundle(folder, keys.own.private)
    old = (folder / "manifest.sig").read_bytes()
    with (folder / "recognizer.onnx").open("ab") as stream:
        stream.write(b"\x00")
    write_manifest(folder, read_manifest(folder))
    (folder / "manifest.sig").write_bytes(old)
    open_bundle(folder, full=True)  # every hash holds
    refused(lambda: check(folder, keys.own.public), "was altered after it was signed: do not use it")


def test_writing_a_manifest_takes_its_signature_away(tiny_bundle: MakeBundle, keys: Keys) -> None:
    folder = tiny_bundle()
    sign_bundle(folder, keys.own.private)
    manifest = open_bundle(folder).manifest
    assert "manifest.sig" not in manifest.files
    write_manifest(folder, replace(manifest, thresholds={"1e-2": 0.4}))
    assert not (folder / "manifest.sig").exists()
    refused(lambda: check(folder, keys.own.public), "is not signed")


def test_a_damaged_bundle_is_not_signed(tiny_bundle: MakeBundle, keys: Keys) -> None:
    folder = tiny_bundle()
    (folder / "recognizer.onnx").write_bytes(b"x")
    refused(lambda: sign_bundle(folder, keys.own.private), "is damaged")
    assert not (folder / "manifest.sig").exists()


def test_keys_that_are_none(tiny_bundle: MakeBundle, tmp_path: Path, keys: Keys) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    folder = tiny_bundle()
    (tmp_path / "text.pem").write_text("hello")
    other = X25519PrivateKey.generate().public_key()
    (tmp_path / "x.pem").write_bytes(
        other.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    for path, why in (
        (tmp_path / "none.pem", "public key not found"),
        (tmp_path, "is a folder, not a public key"),
        (tmp_path / "text.pem", "is no public key"),
        (tmp_path / "x.pem", "is no Ed25519 key"),
        (keys.own.private, "is a private key: give the public one"),
    ):
        refused(lambda path=path: load_public_key(path), why, InputError)  # type: ignore[misc]
    for path, why in (
        (tmp_path / "none.pem", "private key not found"),
        (tmp_path / "text.pem", "is no private key"),
        (keys.own.public, "is a public key: signing takes the private one"),
    ):
        refused(lambda path=path: sign_bundle(folder, path), why, InputError)  # type: ignore[misc]


def test_a_missing_package_names_its_extra(
    tiny_bundle: MakeBundle, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_bundle()
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for call in (
        lambda: check(folder, keys.own.public),
        lambda: sign_bundle(folder, keys.own.private),
        lambda: make_keys(folder / "new"),
        lambda: Recognizer.from_bundle(folder, require_signature=keys.own.public),
    ):
        refused(call, r"pip install 'edgeface\[sign\]'", MissingExtraError)


# --- at load ----------------------------------------------------------------------------------------------------


def test_a_recogniser_asks_before_anything_is_loaded(
    tiny_bundle: MakeBundle, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_bundle()
    sign_bundle(folder, keys.own.private)
    refused(
        lambda: Recognizer.from_bundle(folder, "onnxruntime-tensorrt", "fp32", require_signature=keys.own.public),
        "keeps engines of its own, which carry no signature",
        InputError,
    )
    with Recognizer.from_bundle(folder, threads=1, require_signature=keys.own.public):
        pass

    def never(*args: object) -> None:
        raise AssertionError("loaded before it was checked")

    monkeypatch.setattr("edgeface_runtime.recognizer.open_model", never)
    wanted = {"require_signature": keys.other.public}
    refused(lambda: Recognizer.from_bundle(folder, **wanted), "is signed by key")  # type: ignore[arg-type]
    (folder / "manifest.sig").unlink()
    wanted = {"require_signature": keys.own.public}
    refused(lambda: Recognizer.from_bundle(folder, **wanted), "is not signed")  # type: ignore[arg-type]


def test_a_service_is_told_once_by_its_environment(
    tiny_bundle: MakeBundle, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_bundle()
    assert required_key() is None and required_key("k.pem") == Path("k.pem")
    monkeypatch.setenv("EDGEFACE_REQUIRE_SIGNATURE", "")
    with pytest.raises(InputError, match="is empty: name a public key in it, or unset it"):
        required_key()
    monkeypatch.setenv("EDGEFACE_REQUIRE_SIGNATURE", str(keys.own.public))
    assert required_key() == keys.own.public and required_key("k.pem") == Path("k.pem")
    refused(lambda: Recognizer.from_bundle(folder), "is not signed")
    sign_bundle(folder, keys.own.private)
    with Recognizer.from_bundle(folder, threads=1) as recognizer:
        assert recognizer.bundle.model_id
    monkeypatch.setenv("EDGEFACE_REQUIRE_SIGNATURE", "/nowhere.pem")
    refused(lambda: Recognizer.from_bundle(folder), "public key not found: /nowhere.pem", InputError)


def test_a_remembered_hash_is_not_believed(
    tiny_bundle: MakeBundle, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model altered without a trace in its times: a plain start trusts its memory, a signed one reads."""
    folder = tiny_bundle()
    sign_bundle(folder, keys.own.private)
    model = folder / "recognizer.onnx"
    long_ago = 1_600_000_000_000_000_000
    os.utime(model, ns=(long_ago, long_ago))
    stamp = cache.file_stamp(model.stat())
    monkeypatch.setattr(cache, "file_stamp", lambda info: stamp)
    open_bundle(folder)
    data = bytearray(model.read_bytes())
    data[len(data) // 2] ^= 1
    model.write_bytes(data)
    open_bundle(folder)
    refused(lambda: Recognizer.from_bundle(folder, require_signature=keys.own.public), "SHA-256 differs")


# --- engines ----------------------------------------------------------------------------------------------------

ORIN = Gpu(0, "Orin", "8.7", "12.6")
HERE = Here("tensorrt", "10.3.0", ORIN)


def make_engine(path: Path, onnx_sha256: str = "c" * 64, plan: bytes = b"plan") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(plan)
    digest = hashlib.sha256(plan).hexdigest()
    write_sidecar(
        path, Sidecar("tensorrt", "10.3.0", onnx_sha256, digest, "fp32", Profile(1, 1, 8), "Orin", "8.7", "12.6")
    )
    return path


def test_an_engine_is_signed_by_its_sidecar(tmp_path: Path, keys: Keys) -> None:
    engine = make_engine(tmp_path / "r.engine")
    refused(lambda: checked_engine(engine, HERE, key=keys.own.public), "engine .* is not signed")
    assert sign_engine(engine, keys.own.private).signature == tmp_path / "r.engine.sig"
    assert checked_engine(engine, HERE, key=keys.own.public).plan == b"plan"
    refused(lambda: whole_engine(engine, key=keys.other.public), "is signed by key")
    engine.write_bytes(b"PLAN")
    refused(lambda: whole_engine(engine, key=keys.own.public), "SHA-256 differs")
    refused(lambda: sign_engine(engine, keys.own.private), "SHA-256 differs")
    old = signature_path(engine).read_bytes()
    make_engine(engine, plan=b"PLAN")
    assert not signature_path(engine).exists()  # it was of another plan
    signature_path(engine).write_bytes(old)
    refused(lambda: whole_engine(engine, key=keys.own.public), "was altered after it was signed")


def test_where_a_signature_is_required_engines_are_not_built_but_signed(
    tiny_bundle: MakeBundle, own_cache: Path, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Module:
        __version__ = "10.3.0"

    class Never:
        def note(self, message: str) -> None:
            raise AssertionError(message)

        def build(self, *args: object) -> None:
            raise AssertionError("built")

    folder = tiny_bundle()
    sign_bundle(folder, keys.own.private)
    model_id = open_bundle(folder).model_id
    monkeypatch.setattr(tensorrt, "require_gpu", lambda index: ORIN)
    monkeypatch.setattr(tensorrt, "run_engine", lambda checked, found, again: checked)
    monkeypatch.setitem(sys.modules, "tensorrt", Module())  # type: ignore[arg-type]

    def load() -> object:
        return Recognizer.from_bundle(
            folder, "tensorrt", "fp32", require_signature=keys.own.public, builder=Never()
        ).backend

    refused(load, "no tensorrt engine .* and sign that with edgeface bundle sign$", EdgefaceError)
    engine = make_engine(own_cache / "engines" / f"{model_id[:16]}-tensorrt-10.3.0-Orin-8.7.engine", model_id)
    refused(load, f"engine {engine} is not signed: .*edgeface bundle sign {engine} --key PRIVATE")
    sign_engine(engine, keys.other.private)
    refused(load, "is signed by key")
    sign_engine(engine, keys.own.private)
    assert load().path == engine  # type: ignore[attr-defined]
    shutil.rmtree(own_cache / "engines")
