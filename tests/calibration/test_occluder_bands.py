"""Blocks on landmarks: rows counted by hand from the rule in `bands.py`."""

from __future__ import annotations

import numpy as np
import pytest

from edgeface_calibration.occluders import BANDS, KINDS, needs_landmarks, occlude
from edgeface_runtime.errors import InputError

# Eyes 40 apart at height 60 (one a little higher), nose at 85, mouth at 100: d = 40, e = 60, n = 85, m = 100.
FACE = np.array([(30.0, 60.0), (70.0, 60.0), (52.0, 85.0), (36.0, 101.0), (64.0, 99.0)])
ROWS = {
    "forehead": (0, 46),  # 60 - 64 < 0 .. 60 - 14
    "eyes": (46, 70),  # 46 .. 60 + 10
    "nose": (70, 93),  # 70 .. (85 + 100) / 2 = 92.5: row 92 is above it
    "mouth": (93, 112),  # 92.5 .. 100 + 12
    "chin": (112, 128),  # 112 .. 100 + 52 = 152, beyond the picture
    "lower": (70, 128),
}


def covered_rows(mask: np.ndarray) -> tuple[int, int]:
    rows = np.flatnonzero(mask.any(1))
    np.testing.assert_array_equal(mask, np.isin(np.arange(len(mask)), rows)[:, None] & np.ones_like(mask))
    assert len(rows) == rows[-1] - rows[0] + 1
    return int(rows[0]), int(rows[-1]) + 1


@pytest.mark.parametrize("kind", BANDS)
def test_rows_of_a_box_crop(kind: str) -> None:
    image = np.random.default_rng(0).integers(0, 255, (128, 96, 3), dtype=np.uint8)
    result = occlude(image, kind, np.random.default_rng(0), landmarks=FACE)
    assert covered_rows(result.mask) == ROWS[kind] and result.kind == kind
    assert (result.image[result.mask] == 255).all()
    np.testing.assert_array_equal(result.image[~result.mask], image[~result.mask])


def test_on_a_photograph_they_end_with_the_head() -> None:
    image = np.zeros((250, 250, 3), np.uint8)
    at = FACE + np.array((60, 50))  # e = 110, m = 150
    rows = {kind: covered_rows(occlude(image, kind, np.random.default_rng(0), landmarks=at).mask) for kind in BANDS}
    assert rows == {
        "forehead": (46, 96),
        "eyes": (96, 120),
        "nose": (120, 143),
        "mouth": (143, 162),
        "chin": (162, 202),
        "lower": (120, 202),
    }


def test_aligned_crops_are_tiled() -> None:
    image = np.zeros((112, 96, 3), np.uint8)
    masks = {kind: occlude(image, kind, np.random.default_rng(0)).mask for kind in BANDS}
    regions = [masks[kind] for kind in BANDS if kind != "lower"]
    np.testing.assert_array_equal(np.sum(regions, 0), np.ones((112, 96)))
    np.testing.assert_array_equal(masks["lower"], masks["nose"] | masks["mouth"] | masks["chin"])
    # Template: e = 51.59885, d = 35.2377, n = 71.7366, m = 92.2848.
    assert covered_rows(masks["eyes"]) == (40, 61)  # 39.27 .. 60.41
    assert covered_rows(masks["mouth"]) == (83, 103)  # 82.01 .. 102.86


def test_share_and_scale() -> None:
    image = np.zeros((112, 96, 3), np.uint8)
    for kind in BANDS:
        for share in (0.05, 0.3, 0.9):
            start, stop = covered_rows(occlude(image, kind, np.random.default_rng(0), share=share).mask)
            assert stop - start == round(share * 112)
    at = FACE + np.array((60, 50))
    picture = np.zeros((250, 250, 3), np.uint8)
    # The eyes' own band is 24 high about 108; scale 5 is 1.2 times that: 93.6 .. 122.4.
    assert covered_rows(occlude(picture, "eyes", np.random.default_rng(0), scale=5, landmarks=at).mask) == (94, 123)
    with pytest.raises(InputError, match=r"eyes cannot cover 0\.015 of a picture 20 pixels high"):
        occlude(np.zeros((20, 96, 3), np.uint8), "eyes", np.random.default_rng(0), share=0.015, landmarks=FACE / 8)


def test_faces_that_allow_none() -> None:
    image = np.zeros((128, 96, 3), np.uint8)
    upside_down = FACE * (1, -1) + (0, 127)
    with pytest.raises(InputError, match="the nose block would lie outside this picture or be empty"):
        occlude(image, "nose", np.random.default_rng(0), landmarks=upside_down)
    low = FACE * (0.5, 1) + (0, 26)  # d = 20, m = 126: the chin begins at 132
    with pytest.raises(InputError, match="the chin block would lie outside"):
        occlude(image, "chin", np.random.default_rng(0), landmarks=low)
    with pytest.raises(InputError, match="outside the 96x128 picture"):
        occlude(image, "eyes", np.random.default_rng(0), landmarks=FACE + np.array((50, 0)))


def test_larger_than_the_face() -> None:
    image = np.zeros((64, 96, 3), np.uint8)
    close = np.array([(44.0, 0.0), (52.0, 0.0), (48.0, 30.0), (40.0, 60.0), (56.0, 60.0)])  # rows 2 .. 64 of 64
    with pytest.raises(InputError, match="lower would cover 97 % of this picture: it is larger than the face"):
        occlude(image, "lower", np.random.default_rng(0), landmarks=close)


def test_any_five_points_are_drawn_on_or_refused_in_a_line() -> None:
    rng = np.random.default_rng(0)
    refused = 0
    for index in range(400):
        height, width = (int(side) for side in rng.integers(12, 260, 2))
        image = np.zeros((height, width, 3), np.uint8)
        points = rng.uniform(0, 1, (5, 2)) * (width - 1e-3, height - 1e-3)
        kind = KINDS[index % len(KINDS)]
        try:
            result = occlude(image, kind, rng, landmarks=points)
        except InputError as exc:
            assert "\n" not in str(exc) and needs_landmarks(kind)
            refused += 1
        else:
            assert result.mask.any() and result.image.shape == image.shape
    assert refused < 200
