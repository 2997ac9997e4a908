"""Occluded copies of faces that are not aligned: every picture by its own landmarks, whatever its size."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface_calibration.occluded_set import occluded_view, write_occluded_set
from edgeface_runtime.errors import InputError

POINTS = {
    "Ann/a.png": [[30, 50], [66, 50], [48, 75], [34, 95], [62, 95]],
    "Ann/b.png": [[100, 110], [150, 110], [125, 140], [105, 165], [145, 165]],
    "Bob/c.jpg": [[20, 40], [50, 44], [30, 66], [22, 84], [48, 88]],
}
SIZES = {"Ann/a.png": (128, 96), "Ann/b.png": (250, 250), "Bob/c.jpg": (128, 96)}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "boxes"
    rng = np.random.default_rng(0)
    for name, size in SIZES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / name), cv2.resize(rng.integers(40, 220, (7, 6, 3), dtype=np.uint8), size[::-1]))
    (folder / "landmarks.json").write_text(json.dumps(POINTS))
    return folder


def mask_of(out: Path, name: str) -> np.ndarray:
    return cv2.imread(str(out / "masks" / f"{name}.png"), cv2.IMREAD_UNCHANGED) > 0


def test_every_picture_by_its_own_landmarks(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = write_occluded_set(source, out, "eyes", 0)
    assert (report.pictures, report.skipped) == (3, ())
    # Rows by hand: e - .35 d to e + .25 d; c's eyes lie at 42, 30.27 apart.
    for name, rows in {"Ann/a.png": (38, 59), "Ann/b.png": (93, 123), "Bob/c.jpg": (32, 50)}.items():
        mask = mask_of(out, name)
        assert mask.shape == SIZES[name]
        assert (np.flatnonzero(mask.all(1))[[0, -1]] + (0, 1) == rows).all() and mask.any(1).sum() == rows[1] - rows[
            0
        ]
    assert json.loads((out / "images" / "landmarks.json").read_text()) == POINTS
    # So the copy is a set of box crops too.
    assert write_occluded_set(out / "images", tmp_path / "again", "mask", 0).pictures == 3


def test_pictures_are_the_views_of_their_names(source: Path, tmp_path: Path) -> None:
    write_occluded_set(source, tmp_path / "out", "sunglasses", 3, alpha=0.5)
    for name in ("Ann/a.png", "Ann/b.png"):
        image, own = cv2.imread(str(source / name)), np.array(POINTS[name], float)
        view = occluded_view(image, "sunglasses", 3, name, landmarks=own, alpha=0.5)
        np.testing.assert_array_equal(cv2.imread(str(tmp_path / "out/images" / name)), view.image)
        np.testing.assert_array_equal(mask_of(tmp_path / "out", name), view.mask)
        assert [bool(view.mask[round(y), round(x)]) for x, y in own] == [True, True, False, False, False]


def test_opacity_and_landmarks_are_recorded_and_kept(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_occluded_set(source, out, "cup", 1, alpha=0.5)
    settings = json.loads((out / "manifest.json").read_text())["settings"]
    assert settings["alpha"] == 0.5 and len(settings["landmarks"]) == 64
    with pytest.raises(InputError, match=r"holds a set made with alpha 0\.5"):
        write_occluded_set(source, out, "cup", 1)
    assert write_occluded_set(source, out, "cup", 1, alpha=0.5).written == 0
    (source / "landmarks.json").write_text(json.dumps({**POINTS, "Ann/a.png": POINTS["Bob/c.jpg"]}))
    with pytest.raises(InputError, match="holds a set made with landmarks"):
        write_occluded_set(source, out, "cup", 1, alpha=0.5)
    for alpha in (0.0, 0.05, 1.1, float("nan")):
        with pytest.raises(InputError, match=r"alpha must be between 0\.1 and 1 \(opaque\)"):
            write_occluded_set(source, tmp_path / "new", "cup", 1, alpha=alpha)


def test_sets_from_before_opacity_go_on(tmp_path: Path) -> None:
    (tmp_path / "faces").mkdir()
    cv2.imwrite(str(tmp_path / "faces" / "a.png"), np.full((112, 96, 3), 99, np.uint8))
    out = tmp_path / "out"
    write_occluded_set(tmp_path / "faces", out, "cup", 1)
    manifest = json.loads((out / "manifest.json").read_text())
    del manifest["settings"]["alpha"], manifest["settings"]["landmarks"]
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert write_occluded_set(tmp_path / "faces", out, "cup", 1).written == 0
    with pytest.raises(InputError, match=r"made with alpha 1\.0"):
        write_occluded_set(tmp_path / "faces", out, "cup", 1, alpha=0.5)


def test_bad_landmarks_are_counted(source: Path, tmp_path: Path) -> None:
    outside = [[x + 40, y] for x, y in POINTS["Ann/a.png"]]
    few = {"Ann/a.png": outside, "Ann/b.png": POINTS["Ann/b.png"]}
    (source / "landmarks.json").write_text(json.dumps(few))
    report = write_occluded_set(source, tmp_path / "out", "mask", 0)
    assert report.pictures == 1
    reasons = {skipped.name: skipped.reason for skipped in report.skipped}
    assert "landmarks lie outside the 96x128 picture" in reasons["Ann/a.png"]
    assert "landmarks.json has no landmarks for it" in reasons["Bob/c.jpg"]
    assert len(json.loads((tmp_path / "out/manifest.json").read_text())["skipped"]) == 2
    assert list(json.loads((tmp_path / "out/images/landmarks.json").read_text())) == ["Ann/b.png"]
    # What lies anywhere asks for no landmarks.
    assert write_occluded_set(source, tmp_path / "cups", "cup", 0).pictures == 3
    with pytest.raises(InputError, match="none of the 3 pictures"):
        (source / "landmarks.json").write_text(json.dumps({"Ann/a.png": outside}))
        write_occluded_set(source, tmp_path / "none", "lower", 0)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "is not JSON"), ("[]", "names no pictures"), ('{"Ann/a.png": [[1, 2]]}', "Ann/a.png has no five")],
)
def test_unreadable_landmarks(source: Path, tmp_path: Path, text: str, message: str) -> None:
    (source / "landmarks.json").write_text(text)
    with pytest.raises(InputError, match=message):
        write_occluded_set(source, tmp_path / "out", "mask", 0)
    assert not (tmp_path / "out").exists()


def test_landmarks_from_another_file(source: Path, tmp_path: Path) -> None:
    (source / "landmarks.json").rename(tmp_path / "points.json")
    with pytest.raises(InputError, match=r"none of the 3 pictures .*landmarks\.json beside the pictures"):
        write_occluded_set(source, tmp_path / "out", "n95", 0)
    report = write_occluded_set(source, tmp_path / "out", "n95", 0, landmarks=tmp_path / "points.json")
    assert report.pictures == 3 and report.kinds == {"n95": 3}
    with pytest.raises(InputError, match="cannot read landmarks"):
        write_occluded_set(source, tmp_path / "new", "n95", 0, landmarks=tmp_path / "missing.json")


@pytest.mark.data
def test_photographs_by_their_landmarks(data_dir: Path, tmp_path: Path) -> None:
    points = json.loads((data_dir / "lfw" / "landmarks.json").read_text())
    for picture in sorted((data_dir / "lfw" / "photos158").glob("*/*_0001.jpg"))[:12]:
        (tmp_path / "faces" / picture.parent.name).mkdir(parents=True)
        shutil.copy(picture, tmp_path / "faces" / picture.parent.name)
    for kind in ("sunglasses", "surgical", "lower"):
        report = write_occluded_set(
            tmp_path / "faces", tmp_path / kind, kind, 0, landmarks=data_dir / "lfw" / "landmarks.json"
        )
        assert report.pictures == 12
        for name in json.loads((tmp_path / kind / "images" / "landmarks.json").read_text()):
            mask = mask_of(tmp_path / kind, name)
            eyes = [bool(mask[round(y), round(x)]) for x, y in points[name][:2]]
            assert all(eyes) if kind == "sunglasses" else not any(eyes)
