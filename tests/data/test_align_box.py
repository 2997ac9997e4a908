"""Box crops, and pictures shared between processes."""

from __future__ import annotations

import json
import multiprocessing
import shutil
from pathlib import Path

import numpy as np
import pytest

from edgeface.data import align_one as one_module
from edgeface.data import align_pool
from edgeface.data.align_folder import AlignSettings, align_folder
from edgeface.data.align_one import box_crop
from edgeface_runtime.errors import FaceError, InputError
from edgeface_runtime.image import read_image

pytest.importorskip("onnxruntime", reason="needs onnxruntime")


def tree_of(data_dir: Path, folder: Path, number: int) -> Path:
    for index, picture in enumerate(sorted((data_dir / "photos" / "lfw").glob("*.jpg"))[:number]):
        person = folder / f"p{index % 3}"
        person.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, person / f"{index}.jpg")
    (folder / "p0" / "bad.jpg").write_text("no picture")
    return folder


def test_a_box_within_the_picture_is_cut_and_scaled() -> None:
    image = np.zeros((40, 60, 3), np.uint8)
    image[10:20, 8:16] = 200
    points = np.array([(8, 10), (16, 20), (12, 15), (8, 20), (16, 10)], np.float32)
    crop, moved = box_crop(image, np.array([8.2, 9.9, 16.4, 20.3], np.float32), points, (20, 24))
    assert crop.shape == (20, 24, 3) and (crop == 200).all()
    # 8 x 10 pixels become 24 x 20: x three times, y twice.
    assert moved.tolist() == [[0, 0], [24, 20], [12, 10], [0, 20], [24, 0]]


def test_what_lies_outside_the_picture_is_black() -> None:
    image = np.full((10, 10, 3), 255, np.uint8)
    crop, moved = box_crop(image, np.array([-10, -10, 10, 20], np.float32), np.zeros((5, 2), np.float32), (30, 20))
    assert (crop[10:20, 10:20] == 255).all() and int((crop > 0).sum()) == 10 * 10 * 3
    assert moved[0].tolist() == [10, 10]
    for box in ([20, 0, 30, 9], [5, 5, 5.2, 9], [-500, 0, 5, 5]):
        with pytest.raises(FaceError, match="box"):
            box_crop(image, np.array(box, np.float32), np.zeros((5, 2), np.float32), (40, 20))


@pytest.mark.data
def test_box_crops_have_their_landmarks_beside_them(data_dir: Path, tmp_path: Path) -> None:
    source, target = tree_of(data_dir, tmp_path / "photos", 5), tmp_path / "crops"
    report = align_folder(source, target, AlignSettings(crop="box"), progress=False)
    assert report.aligned == 5 and not report.outside
    points = json.loads((target / "landmarks.json").read_text())
    pictures = {e["crop"]: e for e in json.loads(report.manifest.read_text())["pictures"] if "crop" in e}
    assert sorted(points) == sorted(pictures)
    for name, entry in pictures.items():
        assert read_image(target / name).shape == (128, 96, 3)
        x1, y1, x2, y2 = np.rint(entry["box"])
        expected = (np.array(entry["landmarks"]) - (x1, y1)) * (96 / (x2 - x1), 128 / (y2 - y1))
        assert np.allclose(points[name], expected, atol=0.02)
        left, right, nose, *mouth = points[name]
        assert 5 < left[0] < right[0] < 95 and left[1] < nose[1] < mouth[0][1] < 120
    (target / "landmarks.json").unlink()
    assert align_folder(source, target, AlignSettings(crop="box"), progress=False).reused == 6
    assert json.loads((target / "landmarks.json").read_text()) == points
    with pytest.raises(InputError, match="other settings"):
        align_folder(source, target, progress=False)


@pytest.mark.data
def test_a_landmark_outside_its_crop_is_listed(
    data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, original = tree_of(data_dir, tmp_path / "photos", 2), one_module.box_crop

    def shifts_the_second(*args: object) -> object:
        crop, points = original(*args)  # type: ignore[arg-type]
        shifted.append(1)
        return crop, points + (200 if len(shifted) == 2 else 0)

    shifted: list[int] = []
    monkeypatch.setattr(one_module, "box_crop", shifts_the_second)
    report = align_folder(source, tmp_path / "crops", AlignSettings(crop="box"), progress=False)
    assert (report.aligned, report.outside) == (2, ("p1/1.jpg",))


@pytest.mark.data
def test_processes_give_what_one_does(data_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(align_pool, "CHUNK", 3)
    source = tree_of(data_dir, tmp_path / "photos", 8)
    one = align_folder(source, tmp_path / "one", AlignSettings(crop="box"), progress=False)
    two = align_folder(source, tmp_path / "two", AlignSettings(crop="box"), workers=2, progress=False)
    assert (two.aligned, two.skipped) == (one.aligned, one.skipped)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) == 10
    for name in files:
        assert (tmp_path / "two" / name).read_bytes() == (tmp_path / "one" / name).read_bytes()
    assert not multiprocessing.active_children()


def test_settings_that_cannot_be() -> None:
    for settings, flag in (
        ({"crop": "round"}, "--crop"),
        ({"crop": "box", "template": ((0.0, 0.0),) * 5}, "--crop aligned"),
        ({"crop": "box", "size": (4, 96)}, "--size"),
    ):
        with pytest.raises(ValueError, match=flag):
            AlignSettings(**settings)  # type: ignore[arg-type]
    assert AlignSettings(crop="box").crop_size == (128, 96)
    assert AlignSettings(crop="box", size=(64, 48)).crop_size == (64, 48)
    assert AlignSettings().crop_size == (112, 96)
