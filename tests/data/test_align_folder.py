"""Aligning a folder tree: what is written, listed, taken up again and refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface.data import align_folder as module
from edgeface.data import align_one as one_module
from edgeface.data.align_folder import AlignSettings, align_folder
from edgeface_runtime.errors import InputError
from edgeface_runtime.image import read_image

pytest.importorskip("onnxruntime", reason="needs onnxruntime")


@pytest.fixture
def photos(data_dir: Path, tmp_path: Path) -> Path:
    """Three people, four good pictures, and one of each kind of bad one."""
    source = tmp_path / "photos"
    pictures = sorted((data_dir / "photos" / "lfw").glob("*.jpg"))[:4]
    for person, picture in zip(("ann", "ann/holiday", "ben", "cem"), pictures, strict=True):
        (source / person).mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, source / person / "one.jpg")
    shutil.copy(pictures[0], source / "stray.jpg")
    (source / "ben" / "text.jpg").write_text("no picture")
    (source / "ben" / "cut.jpg").write_bytes(pictures[1].read_bytes()[:4000])
    cv2.imwrite(str(source / "cem" / "blank.png"), np.zeros((80, 80, 3), np.uint8))
    return source


@pytest.mark.data
def test_crops_manifest_and_skipped(photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "crops"
    report = align_folder(photos, target, workers=2, progress=False)
    assert (report.aligned, report.reused, report.identities) == (4, 0, 3)
    crops = sorted(path.relative_to(target).as_posix() for path in target.rglob("*.jpg"))
    assert crops == ["ann/holiday_one.jpg", "ann/one.jpg", "ben/one.jpg", "cem/one.jpg"]
    assert all(read_image(target / crop).shape == (112, 96, 3) for crop in crops)
    reasons = {item.source: item.reason for item in report.skipped}
    assert set(reasons) == {"stray.jpg", "ben/text.jpg", "ben/cut.jpg", "cem/blank.png"}
    assert "no person's folder" in reasons["stray.jpg"]
    assert "not a JPEG" in reasons["ben/text.jpg"]
    assert "truncated" in reasons["ben/cut.jpg"]
    assert "no face" in reasons["cem/blank.png"]
    manifest = json.loads(report.manifest.read_text())
    assert (manifest["format"], manifest["version"], manifest["min_face"]) == ("edgeface-align", 1, 40)
    assert len(manifest["pictures"]) == 8
    assert sorted(e["crop"] for e in manifest["pictures"] if "crop" in e) == crops
    assert sorted(path.name for path in target.iterdir()) == ["align.json", "ann", "ben", "cem"]


@pytest.mark.data
def test_only_what_changed_is_done_again(photos: Path, tmp_path: Path) -> None:
    target = tmp_path / "crops"
    align_folder(photos, target, progress=False)
    (target / "ben" / "one.jpg").unlink()
    shutil.copy(photos / "cem" / "one.jpg", photos / "ben" / "text.jpg")
    report = align_folder(photos, target, progress=False)
    assert (report.aligned, report.reused) == (5, 6)
    assert align_folder(photos, target, progress=False).reused == 8


@pytest.mark.data
def test_a_killed_run_is_taken_up(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = align_folder(photos, tmp_path / "whole", progress=False)
    target, calls = tmp_path / "crops", []
    original = one_module.align

    def dies_at_the_third(*args: object) -> object:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(one_module, "align", dies_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        align_folder(photos, target, progress=False)
    assert not (target / "align.json").exists()
    with (target / "align.part.jsonl").open("a") as stream:
        stream.write('{"source": "half a li')
    monkeypatch.setattr(one_module, "align", original)
    report = align_folder(photos, target, progress=False)
    assert report.reused >= 2 and report.aligned == whole.aligned
    assert report.manifest.read_bytes() == whole.manifest.read_bytes()
    for crop in (tmp_path / "whole").rglob("*.jpg"):
        assert (target / crop.relative_to(tmp_path / "whole")).read_bytes() == crop.read_bytes()


@pytest.mark.data
def test_pictures_of_one_stem_keep_apart(photos: Path, tmp_path: Path) -> None:
    shutil.copy(photos / "ben" / "one.jpg", photos / "ben" / "one.jpeg")
    report = align_folder(photos, tmp_path / "crops", progress=False)
    assert report.aligned == 5
    assert (tmp_path / "crops" / "ben" / "one.jpg.jpg").is_file()


def test_refusals_are_one_line(tmp_path: Path) -> None:
    source, target = tmp_path / "photos", tmp_path / "crops"
    with pytest.raises(InputError, match="not found"):
        align_folder(source, target)
    source.mkdir()
    with pytest.raises(InputError, match="no pictures"):
        align_folder(source, target)
    (source / "ann").mkdir()
    (source / "ann" / "a.jpg").write_text("no picture")
    with pytest.raises(InputError, match="lies in"):
        align_folder(source, source / "crops")
    with pytest.raises(InputError, match="--workers"):
        align_folder(source, target, workers=0)
    align_folder(source, target, progress=False)
    with pytest.raises(InputError, match="other settings"):
        align_folder(source, target, AlignSettings(min_face=60), progress=False)
    (target / "align.json").write_text("{}")
    with pytest.raises(InputError, match="no list of aligned faces"):
        align_folder(source, target, progress=False)
    with pytest.raises(ValueError, match="--min-face"):
        AlignSettings(min_face=3)
    assert [path.name for path in source.iterdir()] == ["ann"]


def test_crops_of_two_sources_are_not_mixed(tmp_path: Path) -> None:
    one, two, target = tmp_path / "one", tmp_path / "two", tmp_path / "crops"
    for source in (one, two):
        (source / "ann").mkdir(parents=True)
        (source / "ann" / "a.jpg").write_text("no picture")
    manifest = align_folder(one, target, progress=False).manifest
    assert json.loads(manifest.read_text())["source"] == str(one)
    before = manifest.read_bytes()
    with pytest.raises(InputError, match=rf"^{target} holds the crops of {one}: choose another folder for {two}$"):
        align_folder(two, target, progress=False)
    assert manifest.read_bytes() == before
    assert align_folder(one / ".." / "one", target, progress=False).reused == 1
    lines = [json.dumps({**module._header(one, AlignSettings())})]
    manifest.unlink()
    (target / "align.part.jsonl").write_text("\n".join(lines))
    with pytest.raises(InputError, match=f"holds the crops of {one}"):
        align_folder(two, target, progress=False)


def test_other_formats_are_listed(tmp_path: Path) -> None:
    source, target = tmp_path / "photos", tmp_path / "crops"
    (source / "ann" / "holiday").mkdir(parents=True)
    for name in ("a.heic", "b.GIF", "holiday/c.tiff", "d.mp4", "e"):
        (source / "ann" / name).write_bytes(b"x")
    for name in ("n.txt", "n.json", "n.md", "n.csv", "n.XML", ".DS_Store", "Thumbs.db", ".hidden.heic"):
        (source / "ann" / name).write_bytes(b"x")
    (source / "stray.heic").write_bytes(b"x")
    with pytest.raises(InputError, match=r"no pictures below .*, 5 files of other formats \(first ann/a.heic\)"):
        align_folder(source, target, progress=False)
    (source / "ann" / "f.jpg").write_text("no picture")
    for reused in (0, 1):
        report = align_folder(source, target, progress=False)
        assert report.reused == reused
        listed = [entry for entry in report.skipped if not entry.source.endswith(".jpg")]
        assert [entry.source.removeprefix("ann/") for entry in listed] == [
            "a.heic",
            "b.GIF",
            "d.mp4",
            "e",
            "holiday/c.tiff",
        ]
        assert {entry.reason for entry in listed} == {"not a format edgeface reads (.bmp, .jpeg, .jpg, .png, .webp)"}
    pictures = json.loads(report.manifest.read_text())["pictures"]
    assert [entry["source"] for entry in pictures if "heic" in entry["source"]] == ["ann/a.heic"]
