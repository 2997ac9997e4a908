"""Bundles: what is written is read, and whatever is damaged, foreign or too new is refused in one line."""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeface_runtime import archive, cache
from edgeface_runtime.bundle import open_bundle, pack_bundle, read_manifest, write_manifest
from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.manifest import Manifest

MakeBundle = Callable[..., Path]
LONG_AGO_NS = 1_600_000_000_000_000_000


def refused(path: Path, pattern: str, error: type[Exception] = ArtefactError) -> None:
    with pytest.raises(error, match=pattern) as info:
        open_bundle(path)
    assert "\n" not in str(info.value)


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a manifest as written before manifests had a checksum."""
    file = folder / "manifest.json"
    data = json.loads(file.read_text())
    data.pop("manifest_sha256", None)
    change(data)
    file.write_text(json.dumps(data))


def flip_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_bundle_says_what_was_written(tiny_bundle: MakeBundle) -> None:
    folder = tiny_bundle(macs=123, parity={"fp32": {"cosine_min": 1.0, "cosine_mean": 1.0, "faces": 3}})
    bundle = open_bundle(folder)
    model = (folder / "recognizer.onnx").read_bytes()
    assert bundle.model_id == hashlib.sha256(model).hexdigest()
    assert bundle.model_path("fp32") == folder / "recognizer.onnx"
    assert bundle.manifest.files["recognizer.onnx"].size_bytes == len(model)
    assert (bundle.manifest.macs, bundle.manifest.peak_memory_bytes) == (123, None)
    assert Manifest.from_dict(json.loads(json.dumps(bundle.manifest.to_dict()))) == bundle.manifest
    assert open_bundle(folder / "manifest.json").model_id == bundle.model_id


def test_an_unknown_precision_lists_the_known(tiny_bundle: MakeBundle) -> None:
    bundle = open_bundle(tiny_bundle())
    words = r"has no int8 model, it has fp32: add it with edgeface calibrate int8 .* --data FACES --precision int8$"
    with pytest.raises(InputError, match=words):
        bundle.model_path("int8")
    imported = open_bundle(tiny_bundle("own", arch={"imported": {"file": "a.onnx"}}))
    with pytest.raises(InputError, match=r"has no fp16 model, it has fp32: import it again with --precision fp16$"):
        imported.model_path("fp16")
    with pytest.raises(InputError, match=r"has no fp16 model, it has fp32: export it with --precision fp16$"):
        bundle.model_path("fp16")


def test_what_is_not_there(tmp_path: Path) -> None:
    refused(tmp_path / "none", "bundle not found", InputError)
    refused(tmp_path, "is not a bundle: manifest.json is missing")
    (tmp_path / "notes.txt").write_text("hello")
    refused(tmp_path / "notes.txt", "neither a bundle's folder nor a .tar")


def test_a_manifest_is_checked_by_its_own_checksum(tiny_bundle: MakeBundle) -> None:
    folder = tiny_bundle()
    file = folder / "manifest.json"
    text = file.read_text()
    data = json.loads(text)
    rest = {key: value for key, value in data.items() if key != "manifest_sha256"}
    canonical = json.dumps(rest, sort_keys=True, separators=(",", ":")).encode()
    assert data["manifest_sha256"] == hashlib.sha256(canonical).hexdigest()
    file.write_text(json.dumps(data))  # laid out anew: nothing has changed
    assert open_bundle(folder).manifest.thresholds == {"1e-2": 0.3, "1e-3": 0.5}
    for before, after in ((": 0.5", ": 0.4"), ("manifest_sha256", "manifest_sha25v"), ("tiny", "tine")):
        assert before in text
        file.write_text(text.replace(before, after))
        refused(folder, "manifest.json is damaged: its checksum differs: copy or export the bundle again")
    file.write_text(json.dumps(rest))  # written before there were checksums
    assert open_bundle(folder).manifest.name == "tiny"


@pytest.mark.parametrize("text", ["", "{", "not json", "\x00\xff"])
def test_a_manifest_that_is_not_json(tiny_bundle: MakeBundle, text: str) -> None:
    folder = tiny_bundle()
    (folder / "manifest.json").write_bytes(text.encode("latin-1"))
    refused(folder, "is damaged: it is not JSON")


def test_foreign_old_and_new_manifests(tiny_bundle: MakeBundle) -> None:
    folder = tiny_bundle()
    edit(folder, lambda d: d.update(format="other"))
    refused(folder, "its format is 'other', not 'edgeface-bundle'")
    edit(folder, lambda d: d.update(format="edgeface-bundle", version=2))
    refused(folder, "has version 2, this edgeface reads version 1: upgrade edgeface")
    for version in (0, "1", None, True):
        edit(folder, lambda d, version=version: d.update(version=version))
        refused(folder, "has version .* not 1")
    (folder / "manifest.json").write_text("[1, 2]")
    refused(folder, "holds no JSON object")


def test_unknown_fields_of_the_same_version_are_kept(tiny_bundle: MakeBundle) -> None:
    folder = tiny_bundle()
    edit(folder, lambda d: d.update(colour_of_the_box="blue"))
    manifest = open_bundle(folder).manifest
    assert manifest.extra == {"colour_of_the_box": "blue"}
    write_manifest(folder, manifest)
    assert json.loads((folder / "manifest.json").read_text())["colour_of_the_box"] == "blue"
    edit(folder, lambda d: d.update(version=2))
    refused(folder, "upgrade edgeface")


@pytest.mark.parametrize(
    ("change", "pattern"),
    [
        (lambda d: d.pop("models"), "models is missing"),
        (lambda d: d.update(macs="many"), "macs is not of type int"),
        (lambda d: d.update(macs=True), "macs is not of type int"),
        (lambda d: d.update(models={}), "lists no fp32 model"),
        (lambda d: d.update(models={"fp32": "other.onnx"}), "'other.onnx' is not among its files"),
        (lambda d: d.update(template=[[1, 2]]), "template is not five points"),
        (lambda d: d["input"].update(layout="NHWC"), "an input this runtime cannot make"),
        (lambda d: d["input"].update(std=0), "an input this runtime cannot make"),
        (lambda d: d["input"].pop("color"), "color is missing"),
        (lambda d: d.update(masking="magic"), "asks for masking 'magic', known are none, decoder"),
        (lambda d: d.update(thresholds={"strict": 0.5}), "'strict' is no false match rate"),
        (lambda d: d.update(thresholds={"1e-3": math.nan}), "thresholds.* is not a finite number"),
        (lambda d: d.update(thresholds={"1e-3": 5.0}), "threshold 5 is no cosine"),
        (lambda d: d.update(thresholds={"1e-3": -math.inf}), "thresholds.* is not a finite number"),
        (lambda d: d.update(thresholds={"1e-3": 10**400}), "thresholds.* is not a finite number"),
        (lambda d: d["input"].update(mean=math.inf), "mean is not a finite number"),
        (lambda d: d.update(outputs=["logits"]), "names no embedding"),
        (lambda d: d["files"].update({"../evil": d["files"]["recognizer.onnx"]}), "outside the bundle: '../evil'"),
        (lambda d: d["files"].update({"/etc/passwd": d["files"]["recognizer.onnx"]}), "outside the bundle"),
        (lambda d: d["files"]["recognizer.onnx"].pop("sha256"), "sha256 is missing"),
        (lambda d: d["files"].update({"gone.bin": d["files"]["recognizer.onnx"]}), "gone.bin is missing"),
    ],
)
def test_a_wrong_field_is_named(
    tiny_bundle: MakeBundle, change: Callable[[dict[str, Any]], object], pattern: str
) -> None:
    folder = tiny_bundle()
    edit(folder, change)
    refused(folder, pattern)


def test_no_nan_is_written(tiny_bundle: MakeBundle) -> None:
    folder = tiny_bundle()
    before = (folder / "manifest.json").read_bytes()
    for changes in ({"thresholds": {"1e-3": math.nan}}, {"accuracy": ({"protocol": "x", "accuracy": math.inf},)}):
        with pytest.raises(ArtefactError, match="finite"):
            write_manifest(folder, replace(read_manifest(folder), **changes))
    assert (folder / "manifest.json").read_bytes() == before


def test_a_truncated_model(tiny_bundle: MakeBundle) -> None:
    folder = tiny_bundle()
    model = folder / "recognizer.onnx"
    model.write_bytes(model.read_bytes()[:-100])
    refused(folder, r"recognizer.onnx has \d+ bytes, not \d+: copy or export")
    model.unlink()
    refused(folder, "recognizer.onnx is missing")


def test_a_flipped_byte(tiny_bundle: MakeBundle) -> None:
    folder = tiny_bundle()
    open_bundle(folder)
    flip_byte(folder / "recognizer.onnx")
    refused(folder, r"recognizer.onnx is not the file that was exported \(SHA-256 differs\)")


def test_hashes_are_remembered_and_read_again_on_demand(
    tiny_bundle: MakeBundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_bundle()
    model = folder / "recognizer.onnx"
    os.utime(model, ns=(LONG_AGO_NS, LONG_AGO_NS))
    hashed: list[Path] = []
    real = cache.sha256_file
    monkeypatch.setattr(cache, "sha256_file", lambda path: (hashed.append(path), real(path))[1])
    open_bundle(folder)
    bundle = open_bundle(folder)
    assert len(hashed) == 1
    bundle.verify(full=True)
    assert len(hashed) == 2
    # Damage below the file system changes no time: only a full check can tell.
    stamp = cache.file_stamp(model.stat())
    monkeypatch.setattr(cache, "file_stamp", lambda info: stamp)
    flip_byte(model)
    open_bundle(folder)
    with pytest.raises(ArtefactError, match="SHA-256 differs"):
        bundle.verify(full=True)
    with pytest.raises(ArtefactError, match="SHA-256 differs"):
        open_bundle(folder, full=True)


def test_another_file_of_the_same_size_and_modification_time_is_read(tiny_bundle: MakeBundle) -> None:
    """As copies that keep times, or system images in which all are alike, put it in the place of the first."""
    folder = tiny_bundle()
    model = folder / "recognizer.onnx"
    os.utime(model, ns=(LONG_AGO_NS, LONG_AGO_NS))
    open_bundle(folder)
    flip_byte(model)
    os.utime(model, ns=(LONG_AGO_NS, LONG_AGO_NS))
    with pytest.raises(ArtefactError, match="SHA-256 differs"):
        open_bundle(folder)


def test_a_file_just_written_is_not_remembered(tiny_bundle: MakeBundle, own_cache: Path) -> None:
    open_bundle(tiny_bundle())
    assert not list(own_cache.rglob("*.json"))


def test_damaged_memory_is_ignored(tiny_bundle: MakeBundle, own_cache: Path) -> None:
    folder = tiny_bundle()
    os.utime(folder / "recognizer.onnx", ns=(LONG_AGO_NS, LONG_AGO_NS))
    open_bundle(folder)
    (note,) = own_cache.rglob("*.json")
    for text in ("{", "[]", '{"sha256": "00"}'):
        note.write_text(text)
        open_bundle(folder)


def unusable_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache folder nothing can be written to, even by root: its parent is a file."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGEFACE_CACHE", str(tmp_path / "file" / "cache"))


def test_no_cache_is_no_failure(tiny_bundle: MakeBundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_bundle()
    os.utime(folder / "recognizer.onnx", ns=(LONG_AGO_NS, LONG_AGO_NS))
    tar = pack_bundle(folder, tmp_path / "b.tar")
    unusable_cache(tmp_path, monkeypatch)
    assert open_bundle(folder).model_id == open_bundle(tar).model_id
    temporary = open_bundle(tar)
    kept = temporary.folder
    assert temporary.model_path().is_file()
    del temporary
    assert not kept.exists()
    monkeypatch.delenv("EDGEFACE_CACHE")
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("no home")))
    assert cache.cache_dir() is None
    assert open_bundle(tar).model_path().is_file()


def test_a_tar_is_the_same_bundle(tiny_bundle: MakeBundle, tmp_path: Path, own_cache: Path) -> None:
    folder = tiny_bundle()
    tar = pack_bundle(folder, tmp_path / "b.tar")
    assert pack_bundle(folder, tmp_path / "c.tar").read_bytes() == tar.read_bytes()
    bundle = open_bundle(tar)
    assert bundle.manifest == read_manifest(folder)
    assert own_cache in bundle.folder.parents
    assert open_bundle(tmp_path / "c.tar").folder == bundle.folder
    # A damaged unpacked copy is mended from the archive.
    bundle.model_path().write_bytes(b"damaged")
    assert open_bundle(tar).model_path().stat().st_size == (folder / "recognizer.onnx").stat().st_size
    assert not list(own_cache.glob("bundles/.part-*"))


def test_a_tar_made_of_the_folder_itself(tiny_bundle: MakeBundle, tmp_path: Path) -> None:
    folder = tiny_bundle()
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        tar.add(folder, arcname="my-bundle")
    assert open_bundle(tmp_path / "b.tar").manifest == read_manifest(folder)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9])
def test_a_truncated_tar(tiny_bundle: MakeBundle, tmp_path: Path, own_cache: Path, share: float) -> None:
    tar = pack_bundle(tiny_bundle(), tmp_path / "b.tar")
    data = tar.read_bytes()
    tar.write_bytes(data[: int(len(data) * share)])
    refused(tar, "copy or export")
    assert not list(own_cache.glob("bundles/*"))


def test_a_newer_tar_is_named_itself(tiny_bundle: MakeBundle, tmp_path: Path) -> None:
    folder = tiny_bundle()
    edit(folder, lambda d: d.update(version=2))
    with tarfile.open(tmp_path / "b.tar", "w") as tar:
        tar.add(folder, arcname=".")
    refused(tmp_path / "b.tar", r"b\.tar \(manifest\.json\) has version 2, .*: upgrade edgeface")


def test_a_flipped_byte_in_a_tar(tiny_bundle: MakeBundle, tmp_path: Path) -> None:
    tar = pack_bundle(tiny_bundle(), tmp_path / "b.tar")
    flip_byte(tar)
    refused(tar, "SHA-256 differs")


def test_what_is_no_tar(tmp_path: Path) -> None:
    (tmp_path / "b.tar").write_text("hello " * 1000)
    refused(tmp_path / "b.tar", "damaged or not a plain tar archive")
    with tarfile.open(tmp_path / "c.tar", "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("manifest.json"))
    refused(tmp_path / "c.tar", "damaged or not a plain tar archive")


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


@pytest.mark.parametrize(
    ("info", "pattern"),
    [
        (member("../evil"), "leads outside: '../evil'"),
        (member("/tmp/evil"), "leads outside"),
        (member("a/../../evil"), "leads outside"),
        (member("link", tarfile.SYMTYPE, "/etc/passwd"), "neither file nor folder: 'link'"),
        (member("link", tarfile.LNKTYPE, "manifest.json"), "neither file nor folder: 'link'"),
        (member("pipe", tarfile.FIFOTYPE), "neither file nor folder"),
        (member("device", tarfile.CHRTYPE), "neither file nor folder"),
        (member("manifest.json"), "has the member 'manifest.json' twice"),
    ],
)
def test_a_hostile_tar_writes_nothing(
    tiny_bundle: MakeBundle, tmp_path: Path, own_cache: Path, info: tarfile.TarInfo, pattern: str
) -> None:
    tar = pack_bundle(tiny_bundle(), tmp_path / "b.tar")
    with tarfile.open(tar, "a") as stream:
        stream.addfile(info, io.BytesIO())
    refused(tar, pattern)
    assert not list(own_cache.glob("bundles/*"))
    assert not list(tmp_path.rglob("evil"))


def test_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_MEMBERS", 3)
    with tarfile.open(tmp_path / "b.tar", "w") as stream:
        for k in range(5):
            stream.addfile(tarfile.TarInfo(str(k)))
    refused(tmp_path / "b.tar", "more than 3 members")
