"""Where regions lie, computed by hand, and the landmarks they are placed by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeface.dictionary.landmarks import LandmarkStats, aligned_stats, read_landmarks, spread
from edgeface.dictionary.layouts import TAU, cell_masks, cells, grid, layout, lm1, lm2, lm2s
from edgeface_runtime.align import TEMPLATE
from edgeface_runtime.dictionary import DICTIONARY_KINDS
from edgeface_runtime.errors import InputError

BOX = (128, 96)
CELL = (16.0, 16.0)


def stats(
    eyes: tuple[float, float] = (40, 4), mouth: tuple[float, float] = (96, 4), nose_x: float = 50
) -> LandmarkStats:
    """Eyes and mouth as (mean, sigma) of their height; both eyes spread 5 px across and 6 px down."""
    mean = np.array([(30, 40), (70, 40), (nose_x, 64), (38, 96), (62, 96)], float)
    std = np.array([(5, 6), (5, 6), (7, 8), (3, 3), (3, 3)], float)
    return LandmarkStats(mean, std, eyes, (np.array([50.0, mouth[0]]), np.array([6.0, mouth[1]])), 9, "hand")


def boxes(regions: Any) -> dict[str, tuple[float, ...]]:
    return {region.name: tuple(round(value, 6) for value in region.box) for region in regions}


def test_grid_of_three() -> None:
    found = boxes(grid((112, 96), CELL))
    assert len(found) == 9 and list(found)[:4] == ["row1_column1", "row1_column2", "row1_column3", "row2_column1"]
    assert found["row1_column1"] == pytest.approx((0, 0, 32, 112 / 3))
    assert found["row3_column3"] == pytest.approx((64, 224 / 3, 96, 112))


def test_a_grid_finer_than_the_features_is_refused() -> None:
    assert len(grid((112, 96), CELL, 6)) == 36
    with pytest.raises(InputError, match="smaller than a feature cell: use --grid 7"):
        grid((112, 96), (16, 13), 8)


def test_lm1_boxes_are_four_sigma() -> None:
    found = boxes(lm1(BOX, CELL, stats(mouth=(96, 5))))
    assert found == {
        "left_eye": (20, 28, 40, 52),
        "right_eye": (60, 28, 80, 52),
        "nose": (36, 48, 64, 80),
        "mouth": (38, 86, 62, 106),
    }


def test_lm1_boxes_are_at_least_a_cell_and_within_the_crop() -> None:
    tight = stats()
    tight.std[:] = 1
    tight.mean[0] = (3, 40)
    tight.mean[1] = (93, 40)
    found = boxes(lm1(BOX, CELL, tight))
    assert found["nose"] == (42, 56, 58, 72), "1.0 sigma raised to 16 / 4"
    assert found["left_eye"] == (0, 32, 16, 48), "moved inside"
    assert found["right_eye"] == (80, 32, 96, 48)


def test_lm2_bands() -> None:
    """Eyes at 40 with sigma 4: 28 to 48. Mouth at 96 with sigma 4: 88 to 104."""
    assert boxes(lm2(BOX, CELL, stats())) == {
        "forehead": (0, 0, 96, 28),
        "eyes": (0, 28, 96, 48),
        "nose": (0, 48, 96, 88),
        "mouth": (0, 88, 96, 104),
        "chin": (0, 104, 96, 128),
    }


def test_lm2_on_aligned_crops() -> None:
    """Sigma 1.3 is raised to 16/5 about the eyes (51.6) and 16/4 about the mouth (92.3); the chin keeps a cell."""
    aligned = LandmarkStats(
        np.array(TEMPLATE), np.full((5, 2), 1.3), (51.6, 1.3), (np.array([48.0, 92.3]), np.array([1.3, 1.3])), 1, ""
    )
    found = boxes(lm2((112, 96), CELL, aligned))
    assert found["eyes"] == pytest.approx((0, 42, 96, 58))
    assert found["nose"] == pytest.approx((0, 58, 96, 80))
    assert found["mouth"] == pytest.approx((0, 80, 96, 96))
    assert found["chin"] == pytest.approx((0, 96, 96, 112))
    for kind in DICTIONARY_KINDS:
        for region in layout(kind, (112, 96), CELL, aligned):
            x1, y1, x2, y2 = region.box
            assert x2 - x1 >= 16 - 1e-9 and y2 - y1 >= 16 - 1e-9, (kind, region)


def test_lm2_without_room_for_the_nose_is_refused() -> None:
    with pytest.raises(InputError, match="do not fit: eyes at 40 and mouth at 60"):
        lm2(BOX, CELL, stats(mouth=(60, 4)))


def test_lm2_split_at_the_nose() -> None:
    found = boxes(lm2s(BOX, CELL, stats()))
    assert len(found) == 10
    assert found["left_eyes"] == (0, 28, 50, 48) and found["right_eyes"] == (50, 28, 96, 48)
    assert boxes(lm2s(BOX, CELL, stats(nose_x=2)))["left_chin"] == (0, 104, 16, 128), "at least a cell"


def test_layouts_by_name() -> None:
    counts = {kind: len(layout(kind, BOX, CELL, stats())) for kind in DICTIONARY_KINDS}
    assert counts == {"grid": 9, "lm1": 4, "lm2": 5, "lm2s": 10, "lmface": 6, "cell": 48}
    assert (TAU["grid"], TAU["lm1"], TAU["lm2"]) == (0.25, 0.20, 0.30), "the paper's"
    with pytest.raises(InputError, match="choose one of grid, lm1"):
        layout("lm3", BOX, CELL)
    with pytest.raises(InputError, match="needs the statistics"):
        layout("lm1", BOX, CELL)


def test_statistics_by_hand() -> None:
    """Two faces: the second 4 px right and 2 px down of the first, its right mouth corner 2 px further down."""
    first = np.array([(30, 40), (70, 44), (50, 64), (40, 90), (60, 90)], float)
    second = first + np.array((4, 2))
    second[4, 1] += 2
    found = spread([first, second])
    assert found.mean[0].tolist() == [32, 41] and found.std[0].tolist() == [2, 1]
    assert found.eyes_y[0] == pytest.approx((40 + 44 + 42 + 46) / 4)
    assert found.eyes_y[1] == pytest.approx(np.sqrt((3**2 + 1 + 1 + 3**2) / 4))
    assert found.mouth[0].tolist() == [52, 91.5] and found.mouth[1].tolist() == [2, 1.5]
    assert found.faces == 2
    with pytest.raises(InputError, match="five points"):
        spread(np.zeros((0, 5, 2)))


def test_landmarks_outside_missing_and_unusable_are_counted(tmp_path: Path) -> None:
    inside = [[10, 20], [30, 20], [20, 30], [12, 40], [28, 40]]
    table: dict[str, Any] = {
        "a/1.jpg": inside,
        "a/2.jpg": [[-1, 20], *inside[1:]],
        "b/1.jpg": [*inside[:4], [28, 63.5]],
        "b/2.jpg": inside[:4],
        "b/3.jpg": [[float("nan"), 1], *inside[1:]],
        "b/4.jpg": "none",
        "b/6.jpg": [[10, 20], [10, 20], [20, 30], [10, 20], [10, 20]],
        "c/1.jpg": inside,
    }
    (tmp_path / "landmarks.json").write_text(json.dumps(table))
    names = ["a/1.jpg", "a/2.jpg", "b/1.jpg", "b/2.jpg", "b/3.jpg", "b/4.jpg", "b/5.jpg", "b/6.jpg"]
    found = read_landmarks(tmp_path, names, (64, 48))
    assert found is not None
    assert sorted(found.points) == ["a/1.jpg", "a/2.jpg", "b/1.jpg"]
    assert found.outside == ("a/2.jpg", "b/1.jpg"), "counted, not dropped"
    assert found.missing == ("b/5.jpg",)
    assert found.unusable == ("b/2.jpg", "b/3.jpg", "b/4.jpg", "b/6.jpg")


def test_landmark_files_that_cannot_be_used(tmp_path: Path) -> None:
    assert read_landmarks(tmp_path, ["a/1.jpg"], (64, 48)) is None
    path = tmp_path / "landmarks.json"
    for text, words in (("{", "damaged"), ("[]", "not a table"), ("{}", "none of the 1 pictures")):
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            read_landmarks(tmp_path, ["a/1.jpg"], (64, 48))


def test_aligned_crops_without_a_face_have_an_assumed_spread() -> None:
    found = aligned_stats([np.zeros((112, 96, 3), np.uint8)] * 2, (112, 96))
    assert "assumed" in found.source and "0 of 2 crops" in found.source
    assert found.std.tolist() == np.full((5, 2), 1.3).tolist()
    assert np.allclose(found.mean, TEMPLATE)
    with pytest.raises(InputError, match=r"96x128 need a landmarks\.json"):
        aligned_stats([], (128, 96))


def test_spread_of_detected_points_on_real_aligned_crops(data_dir: Path) -> None:
    from edgeface_runtime.image import read_image

    people = sorted((data_dir / "lfw" / "aligned").iterdir())[:24]
    crops = [read_image(next(iter(sorted(folder.iterdir())))) for folder in people]
    found = aligned_stats(crops, (112, 96))
    assert "faces found" in found.source and found.faces >= 12
    assert (found.std < 6).all() and (found.std > 0.2).all()


def test_one_misplaced_face_does_not_widen_sigma() -> None:
    rng = np.random.default_rng(0)
    faces = np.array(TEMPLATE) + rng.normal(0, 1.2, (60, 5, 2))
    clean = spread(faces)
    faces[7] += 60
    found = spread(faces, "test")
    assert found.faces == 59 and found.source == "test, 1 left out whose landmarks are misplaced"
    np.testing.assert_allclose(found.std, clean.std, atol=0.1)
    assert clean.faces == 60 and 0.9 < float(clean.std.mean()) < 1.5


def test_cells_by_hand() -> None:
    found = cells((32, 48), (16.0, 16.0))
    assert [region.name for region in found] == [f"row{y}_column{x}" for y in (1, 2) for x in (1, 2, 3)]
    assert found[4].box == (16.0, 16.0, 32.0, 32.0)
    masks = cell_masks((5, 2, 3))
    assert masks.shape == (6, 5, 2, 3) and (masks[:, 0] == masks[:, 4]).all()
    assert masks[4, 0].tolist() == [[True, True, True], [True, False, True]]
    assert layout("cell", (32, 48), (16.0, 16.0)) == found
