"""Kept crops: what was embedded, whose it is, gone with its template; and a gallery enrolled anew from them."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface_runtime.align import TEMPLATE
from edgeface_runtime.backends import open_backend
from edgeface_runtime.bundle import open_bundle
from edgeface_runtime.detect import Face
from edgeface_runtime.errors import InputError
from edgeface_runtime.gallery import Gallery
from edgeface_runtime.gallery_check import check
from edgeface_runtime.gallery_migrate import migrate
from edgeface_runtime.gallery_repair import repair
from edgeface_runtime.recognizer import Recognizer

MakeBundle = Callable[..., Path]


class WholePicture:
    """Takes every picture for one aligned face."""

    def detect(self, image: np.ndarray) -> list[Face]:
        return [Face(np.array([0, 0, 96, 112], np.float32), np.array(TEMPLATE, np.float32), 0.9)]

    def close(self) -> None:
        pass


def crop(seed: int) -> np.ndarray:
    blocks = np.random.default_rng(seed).integers(1, 256, (7, 6, 3), dtype=np.uint8)
    return blocks.repeat(16, axis=0).repeat(16, axis=1)


def by_hand(pixels: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The tiny network's embedding of one crop, by numpy."""
    rgb = pixels[..., ::-1].astype(np.float64) / 127.5 - 1
    raw = rgb.reshape(7, 16, 6, 16, 3).mean(axis=(1, 3)).transpose(2, 0, 1).reshape(-1) @ weights
    return np.asarray(raw / np.linalg.norm(raw))


def load(folder: Path) -> Recognizer:
    bundle = open_bundle(folder)
    return Recognizer(bundle, open_backend("onnxruntime", bundle.model_path(), threads=1), detector=WholePicture())


@pytest.fixture
def old(tiny_bundle: MakeBundle) -> Iterator[Recognizer]:
    with load(tiny_bundle("old")) as loaded:
        yield loaded


@pytest.fixture
def new(tiny_bundle: MakeBundle, tmp_path: Path) -> Iterator[tuple[Recognizer, np.ndarray]]:
    """Another model, and its weights."""
    import onnx
    from onnx import numpy_helper

    from edgeface_runtime.manifest import read_manifest, write_manifest

    folder = tiny_bundle("new")
    model = onnx.load(str(folder / "recognizer.onnx"))
    weights = np.random.default_rng(99).standard_normal((126, 512)).astype(np.float32)
    for tensor in model.graph.initializer:
        if tensor.name == "w":
            tensor.CopyFrom(numpy_helper.from_array(weights, "w"))
    onnx.save(model, str(folder / "recognizer.onnx"))
    write_manifest(folder, read_manifest(folder))
    with load(folder) as loaded:
        yield loaded, weights


def enrol(recognizer: Recognizer, path: Path, folder: Path | None, **people: list[int]) -> None:
    with recognizer.open_gallery(path, create=True) as gallery:
        for name, seeds in people.items():
            recognizer.enroll(gallery, name, [crop(seed) for seed in seeds], keep_crops=folder)


def pictures(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.png"))


def linked(path: Path) -> dict[str, list[str]]:
    """Name -> files, by plain sqlite3."""
    connection = sqlite3.connect(path)
    found: dict[str, list[str]] = {}
    rows = connection.execute(
        "SELECT name, folder, file FROM templates JOIN crops ON crops.template_id = templates.id"
    )
    for name, folder, file in rows:
        found.setdefault(name, []).append(str(path.parent / folder / file))
    connection.close()
    return found


def test_what_was_embedded_is_kept_under_a_random_name(tmp_path: Path, old: Recognizer) -> None:
    path, folder = tmp_path / "g.db", tmp_path / "kept" / "crops"
    enrol(old, path, folder, ann=[1, 2], bob=[3])
    enrol(old, path, None, cyd=[4])
    found = linked(path)
    assert {name: len(files) for name, files in found.items()} == {"ann": 2, "bob": 1}
    for name, seeds in (("ann", [1, 2]), ("bob", [3])):
        for file, seed in zip(found[name], seeds, strict=True):
            np.testing.assert_array_equal(cv2.imread(file), crop(seed))
    assert len(pictures(folder)) == 3
    assert all(file.stat().st_mode & 0o777 == path.stat().st_mode & 0o777 for file in pictures(folder))
    assert all(len(file.stem) == 32 and "ann" not in file.stem for file in pictures(folder))
    assert {finding.what: finding.detail for finding in check(path).findings}["crops"] == "3 kept"
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for entry in (path, tmp_path / "kept"):
        entry.rename(moved / entry.name)
    assert "3 kept" in str(check(moved / "g.db").findings)


def test_deleting_takes_the_crops_off_the_disk(tmp_path: Path, old: Recognizer) -> None:
    path, folder = tmp_path / "g.db", tmp_path / "crops"
    enrol(old, path, folder, ann=[1, 2], bob=[3])
    gone = [Path(file) for file in linked(path)["ann"]]
    os.link(gone[0], tmp_path / "same file")
    with old.open_gallery(path) as gallery:
        erasure = gallery.delete("ann")
    assert erasure.erased
    assert [str(file) for file in pictures(folder)] == linked(path)["bob"]
    assert set((tmp_path / "same file").read_bytes()) == {0}
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT COUNT(*) FROM crops").fetchone() == (1,)
    connection.close()


def test_erasure_is_pending_while_the_crops_cannot_be_reached(tmp_path: Path, old: Recognizer) -> None:
    path, folder, away = tmp_path / "g.db", tmp_path / "crops", tmp_path / "away"
    enrol(old, path, folder, ann=[1], bob=[3])
    folder.rename(away)  # a card that was taken out
    with old.open_gallery(path) as gallery:
        erasure = gallery.delete("ann")
        assert not erasure.erased and f"the folder {folder} of kept crops is not there" in str(erasure.pending)
        assert "\n" not in str(erasure.pending)
    assert "wait for erasure" in str(check(path).findings)
    away.rename(folder)
    Gallery(path).close()  # the next opening tries again
    assert len(pictures(folder)) == 1 and str(pictures(folder)[0]) in linked(path)["bob"]
    pictures(folder)[0].unlink()  # somebody was faster
    with old.open_gallery(path) as gallery:
        assert gallery.delete("bob").erased


def test_a_replaced_template_takes_its_crop_along(tmp_path: Path, old: Recognizer) -> None:
    path, folder = tmp_path / "g.db", tmp_path / "crops"
    enrol(old, path, folder, ann=[1, 2])
    gone = Path(linked(path)["ann"][0])
    with old.open_gallery(path) as gallery:
        assert gallery.replace(1, np.ones(512)).erased
    assert not gone.exists() and len(pictures(folder)) == 1
    assert check(path).sound


@pytest.mark.parametrize("how", ["name", "disk"])
def test_an_enrolment_that_fails_keeps_no_crop(
    tmp_path: Path, old: Recognizer, how: str, small_files: Callable[[int], AbstractContextManager[None]]
) -> None:
    path, folder = tmp_path / "g.db", tmp_path / "crops"
    enrol(old, path, folder, ann=[1])
    before = pictures(folder)
    with old.open_gallery(path) as gallery:
        if how == "name":
            with pytest.raises(InputError, match="cannot enrol the name"):
                old.enroll(gallery, "b\nb", [crop(2), crop(3)], keep_crops=folder)
        else:
            with pytest.raises(InputError, match="cannot write"), small_files(100):
                old.enroll(gallery, "bob", [crop(2), crop(3)], keep_crops=folder)
        assert gallery.count() == 1
    assert pictures(folder) == before and len(list(folder.iterdir())) == 1


def test_check_tells_of_crops_that_do_not_fit(tmp_path: Path, old: Recognizer) -> None:
    path, folder = tmp_path / "g.db", tmp_path / "crops"
    enrol(old, path, folder, ann=[1], bob=[2], cyd=[3])
    Path(linked(path)["ann"][0]).unlink()
    Path(linked(path)["bob"][0]).write_bytes(b"changed")
    (folder / f"{'0' * 32}.png").write_bytes(b"left by a killed enrolment")
    (folder / "photo.png").write_bytes(b"somebody's own")
    told = [finding.detail for finding in check(path).findings if finding.what == "crops"]
    assert told[0] == "missing or changed: those of templates 1, 2"
    assert told[1].startswith("1 in ") and told[1].endswith(f"first {'0' * 32}.png")
    assert len(told) == 2


def test_repair_keeps_the_crops_of_who_was_lost(tmp_path: Path, old: Recognizer) -> None:
    path, folder = tmp_path / "g.db", tmp_path / "crops"
    enrol(old, path, folder, ann=[1], bob=[2])
    files = linked(path)
    data = bytearray(path.read_bytes())
    connection = sqlite3.connect(path)
    (template,) = connection.execute("SELECT template FROM templates WHERE name = 'bob'").fetchone()
    connection.close()
    data[data.index(template)] ^= 1
    path.write_bytes(data)
    assert [lost.name for lost in repair(path).lost] == ["bob"]
    Gallery(path).close()
    assert linked(path) == {"ann": files["ann"]}
    assert len(pictures(folder)) == 2


def test_everybody_is_enrolled_anew(tmp_path: Path, old: Recognizer, new: tuple[Recognizer, np.ndarray]) -> None:
    recognizer, weights = new
    path, out, folder = tmp_path / "g.db", tmp_path / "far" / "new.db", tmp_path / "crops"
    seeds = {"ann": [1, 2], "bob": [3], **{f"p{k}": [100 + k] for k in range(70)}}
    enrol(old, path, folder, **seeds)
    before = path.read_bytes()
    seen: list[tuple[int, int]] = []
    with old.open_gallery(path) as gallery:
        done = migrate(gallery, recognizer, out, progress=lambda n, of: seen.append((n, of)))
    assert (done.people, done.templates, done.left_out, done.missing) == (72, 73, (), ())
    assert seen[-1] == (73, 73) and path.read_bytes() == before
    assert sorted(entry.name for entry in out.parent.iterdir()) == ["new.db"]
    with recognizer.open_gallery(out) as gallery:
        names, rows = gallery.templates()
        at = 0
        for name in sorted(seeds):
            for seed in seeds[name]:
                assert names[at] == name
                np.testing.assert_allclose(rows[at], by_hand(crop(seed), weights), atol=1e-5)
                at += 1
        assert check(out).sound and "73 kept" in str(check(out).findings)
        assert gallery.delete("ann").erased  # the new one knows whose the crops are, too
    assert len(pictures(folder)) == 71
    with old.open_gallery(path) as gallery:  # gone already
        assert gallery.delete("ann").erased


def test_who_cannot_be_migrated_is_told(tmp_path: Path, old: Recognizer, new: tuple[Recognizer, np.ndarray]) -> None:
    path, folder = tmp_path / "g.db", tmp_path / "crops"
    enrol(old, path, folder, ann=[1, 2], bob=[3], cyd=[4])
    enrol(old, path, None, dan=[5])
    files = linked(path)
    Path(files["ann"][1]).unlink()
    Path(files["bob"][0]).write_bytes(Path(files["cyd"][0]).read_bytes())  # a face that is not his
    folder.rename(tmp_path / "moved")
    with old.open_gallery(path) as gallery:
        done = migrate(gallery, new[0], tmp_path / "new.db", tmp_path / "moved")
    assert [(left.name, left.why.split(" ")[-1]) for left in done.left_out] == [
        ("ann", "directory"),
        ("bob", "changed"),
        ("dan", "kept"),
    ]
    assert done.missing == ("bob", "dan")
    with new[0].open_gallery(tmp_path / "new.db") as gallery:
        assert [(person.name, person.templates) for person in gallery.people()] == [("ann", 1), ("cyd", 1)]


def test_migrations_that_cannot_be(
    tmp_path: Path, old: Recognizer, new: tuple[Recognizer, np.ndarray], tiny_bundle: MakeBundle
) -> None:
    recognizer, _ = new
    path, out = tmp_path / "g.db", tmp_path / "new.db"
    enrol(old, path, None, ann=[1])
    with old.open_gallery(path) as gallery, pytest.raises(InputError, match=r"has no kept crops: .* --keep-crops"):
        migrate(gallery, recognizer, out)
    enrol(old, path, tmp_path / "crops", bob=[2])
    moved = tuple((x + 1.0, y) for x, y in TEMPLATE)
    with (
        load(tiny_bundle("shifted", template=moved)) as other,
        old.open_gallery(path) as gallery,
        pytest.raises(InputError, match=r"no crop of gallery .* can be used"),
    ):
        migrate(gallery, other, out)
    out.touch()
    with old.open_gallery(path) as gallery, pytest.raises(InputError, match="exists: give another name"):
        migrate(gallery, recognizer, out)
    assert out.read_bytes() == b""


def test_a_full_disk_makes_no_new_gallery(
    tmp_path: Path,
    old: Recognizer,
    new: tuple[Recognizer, np.ndarray],
    small_files: Callable[[int], AbstractContextManager[None]],
) -> None:
    path = tmp_path / "g.db"
    enrol(old, path, tmp_path / "crops", **{f"p{k}": [k] for k in range(40)})
    there = {entry.name for entry in tmp_path.iterdir()}
    for room in (1000, 100_000):
        refused = pytest.raises(InputError, match=r"^cannot (write|use) .*new\.db: ")
        with old.open_gallery(path) as gallery, refused, small_files(room):
            migrate(gallery, new[0], tmp_path / "new.db")
        assert {entry.name for entry in tmp_path.iterdir()} == there
