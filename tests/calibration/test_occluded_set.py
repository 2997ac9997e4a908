"""Occluded sets: the same files from the same seed, nothing dropped in silence, nothing mixed up."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface_calibration.occluded_set import occluded_view, write_occluded_set
from edgeface_runtime.errors import InputError
from edgeface_runtime.files import PART_SUFFIX


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    rng = np.random.default_rng(0)
    for name in ("Ann/Ann_0001.jpg", "Ann/Ann_0002.png", "deep/er/Bob/Bob_0001.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        smooth = cv2.resize(rng.integers(40, 220, (7, 6, 3), dtype=np.uint8), (96, 112))
        cv2.imwrite(str(folder / name), smooth)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_layout_manifest_and_report(source: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    out = tmp_path / "out"
    report = write_occluded_set(source, out, "random", 3, share=0.4, progress=lambda *at: seen.append(at))
    assert sorted(content(out)) == [
        "images/Ann/Ann_0001.jpg",
        "images/Ann/Ann_0002.png",
        "images/deep/er/Bob/Bob_0001.jpg",
        "manifest.json",
        "masks/Ann/Ann_0001.jpg.png",
        "masks/Ann/Ann_0002.png.png",
        "masks/deep/er/Bob/Bob_0001.jpg.png",
    ]
    assert (report.pictures, report.written, report.skipped) == (3, 3, ())
    assert report.images_dir == str(out / "images") and sum(report.kinds.values()) == 3
    assert report.mean_share == pytest.approx(0.4, abs=0.01)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["complete"] is True and manifest["format"] == "edgeface-occluded-set"
    assert manifest["settings"]["seed"] == 3 and manifest["settings"]["share"] == 0.4
    assert manifest["pictures"][0]["name"] == "Ann/Ann_0001.jpg"
    json.dumps(report.to_dict())


def test_pictures_are_the_views_of_their_names(source: Path, tmp_path: Path) -> None:
    write_occluded_set(source, tmp_path / "out", "mask", 3)
    view = occluded_view(cv2.imread(str(source / "Ann/Ann_0002.png")), "mask", 3, "Ann/Ann_0002.png")
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "out/images/Ann/Ann_0002.png")), view.image)
    mask = cv2.imread(str(tmp_path / "out/masks/Ann/Ann_0002.png.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(mask, view.mask * 255)
    view = occluded_view(cv2.imread(str(source / "Ann/Ann_0001.jpg")), "mask", 3, "Ann/Ann_0001.jpg")
    written = cv2.imread(str(tmp_path / "out/images/Ann/Ann_0001.jpg")).astype(int)
    assert np.abs(written - view.image).mean() < 4  # JPEG at 95


def test_reproducible_and_resumable(source: Path, tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write_occluded_set(source, one, "mix", 1)
    whole = content(one)
    # Stopped in the middle: the manifest is not complete, some files are missing.
    (one / "images/Ann/Ann_0002.png").unlink()
    (one / "masks/Ann/Ann_0001.jpg.png").unlink()
    manifest = json.loads((one / "manifest.json").read_text())
    (one / "manifest.json").write_text(json.dumps({**manifest, "complete": False, "pictures": []}))
    assert write_occluded_set(source, one, "mix", 1).written == 2
    assert content(one) == whole
    assert write_occluded_set(source, one, "mix", 1).written == 0
    write_occluded_set(source, two, "mix", 1)
    assert content(two) == whole
    write_occluded_set(source, tmp_path / "three", "mix", 2)
    assert content(tmp_path / "three")["images/Ann/Ann_0001.jpg"] != whole["images/Ann/Ann_0001.jpg"]


def test_without_masks(source: Path, tmp_path: Path) -> None:
    write_occluded_set(source, tmp_path / "out", "cup", 1, write_masks=False)
    assert not (tmp_path / "out/masks").exists()


def test_unreadable_pictures_are_listed(source: Path, tmp_path: Path) -> None:
    (source / "Ann/Ann_0003.jpg").write_text("no picture")
    cv2.imwrite(str(source / "Ann/Ann_0004.jpg"), np.zeros((250, 250, 3), np.uint8))
    report = write_occluded_set(source, tmp_path / "out", "mask", 1)
    assert report.pictures == 3
    assert [skipped.name for skipped in report.skipped] == ["Ann/Ann_0003.jpg", "Ann/Ann_0004.jpg"]
    assert "250x250" in report.skipped[1].reason
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert [entry["name"] for entry in manifest["skipped"]] == ["Ann/Ann_0003.jpg", "Ann/Ann_0004.jpg"]


def test_other_settings_are_not_mixed_in(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_occluded_set(source, out, "cup", 1)
    before = content(out)
    with pytest.raises(InputError, match="holds a set made with kind cup, seed 1"):
        write_occluded_set(source, out, "book", 2)
    assert content(out) == before


def test_foreign_folders_are_left_alone(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").touch()
    with pytest.raises(InputError, match="not an empty folder"):
        write_occluded_set(source, out, "cup", 1)
    for text in ("{", "[]", '{"format": "other"}'):
        (out / "manifest.json").write_text(text)
        with pytest.raises(InputError, match=r"manifest\.json is no"):
            write_occluded_set(source, out, "cup", 1)
    assert sorted(content(out)) == ["manifest.json", "notes.txt"]


def test_never_into_the_source(source: Path, tmp_path: Path) -> None:
    before = content(source)
    for out in (source, source / "occluded", source.parent, source / ".." / "faces" / "x"):
        with pytest.raises(InputError, match="lie in one another"):
            write_occluded_set(source, out, "cup", 1)
    assert content(source) == before


def test_bad_settings_write_nothing(source: Path, tmp_path: Path) -> None:
    out, empty = tmp_path / "out", tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="unknown occluder 'hat'"):
        write_occluded_set(source, out, "hat", 1)
    with pytest.raises(InputError, match="share must be"):
        write_occluded_set(source, out, "cup", 1, share=1.5)
    with pytest.raises(InputError, match="no picture below"):
        write_occluded_set(empty, out, "cup", 1)
    with pytest.raises(InputError, match="folder not found"):
        write_occluded_set(tmp_path / "none", out, "cup", 1)
    assert not out.exists()


def test_nothing_could_be_occluded(tmp_path: Path) -> None:
    source = tmp_path / "faces"
    source.mkdir()
    (source / "a.jpg").write_text("no picture")
    with pytest.raises(InputError, match="none of the 1 pictures"):
        write_occluded_set(source, tmp_path / "out", "cup", 1)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["cup", "mask", "block"])
def test_photographs_are_no_crops(source: Path, tmp_path: Path, kind: str) -> None:
    cv2.imwrite(str(source / "Ann/Ann_0003.jpg"), np.zeros((250, 200, 3), np.uint8))
    cv2.imwrite(str(source / "Ann/Ann_0004.jpg"), np.zeros((96, 112, 3), np.uint8))
    report = write_occluded_set(source, tmp_path / "out", kind, 1)
    assert report.pictures == 3
    reasons = {skipped.name: skipped.reason for skipped in report.skipped}
    assert set(reasons) == {"Ann/Ann_0003.jpg", "Ann/Ann_0004.jpg"}
    assert reasons["Ann/Ann_0003.jpg"].startswith("200x250 pixels")
    assert all("edgeface data align" in reason for reason in reasons.values())


def test_only_photographs_leave_nothing(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.jpg"), np.zeros((250, 250, 3), np.uint8))
    (tmp_path / "faces").mkdir()
    (tmp_path / "a.jpg").rename(tmp_path / "faces" / "a.jpg")
    with pytest.raises(InputError, match=r"none of the 1 pictures .*edgeface data align"):
        write_occluded_set(tmp_path / "faces", tmp_path / "new" / "out", "cup", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]


def test_an_occluded_set_is_no_source(source: Path, tmp_path: Path) -> None:
    one = tmp_path / "one"
    write_occluded_set(source, one, "cup", 1)
    with pytest.raises(InputError, match=rf"{one} is an occluded set, .*give {one}/images"):
        write_occluded_set(one, tmp_path / "two", "book", 1)
    assert not (tmp_path / "two").exists()
    assert write_occluded_set(one / "images", tmp_path / "two", "book", 1).pictures == 3


def test_what_a_killed_run_left_goes_with_the_next(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / f".manifest.json{PART_SUFFIX}").write_text("{")
    write_occluded_set(source, out, "cup", 1)
    (out / "images/Ann/Ann_0002.png").unlink()
    (out / f"images/Ann/.Ann_0002.png{PART_SUFFIX}").write_bytes(b"half")
    assert write_occluded_set(source, out, "cup", 1).written == 1
    assert not list(out.rglob(".*"))
