"""Random backgrounds: what is face stays, what is not is replaced, seeded."""

from __future__ import annotations

import numpy as np

from edgeface.data.background import face_share, replace_background
from edgeface_runtime.align import TEMPLATE

WHITE = np.full((112, 96, 3), 255, np.uint8)


def test_the_face_is_an_ellipse_about_the_landmarks() -> None:
    share = face_share(TEMPLATE, (112, 96))
    assert share.shape == (112, 96) and share.dtype == np.float32
    assert share.min() == 0 and share.max() == 1
    for x, y in TEMPLATE:
        assert share[round(y), round(x)] == 1
    assert share[0, 0] == share[0, 95] == share[111, 0] == share[111, 95] == 0
    # Twice as large and moved, it covers four times as much, there.
    large = face_share(TEMPLATE * 2 + (40, 20), (280, 280))
    assert large[20:244, 40:232][::2, ::2][30:100, 20:80].min() > 0.9
    assert 3.5 < large.sum() / share.sum() < 4.6


def test_backgrounds_are_seeded_and_of_three_sorts() -> None:
    dark = np.zeros((112, 96, 3), np.uint8)
    dark[:] = (5, 90, 30)
    sorts = set()
    for seed in range(30):
        made, again = (
            replace_background(WHITE, TEMPLATE, np.random.default_rng(seed), lambda: (dark, TEMPLATE)) for _ in "ab"
        )
        assert np.array_equal(made, again) and made.dtype == np.uint8
        assert (made[45:95, 30:66] == 255).all()
        corner = made[:5, :5].reshape(-1, 3)
        if (corner == (5, 90, 30)).all():
            sorts.add("picture")
        else:
            sorts.add("colour" if np.array_equal(made[0, 0], made[111, 95]) else "noise")
    assert sorts == {"picture", "colour", "noise"}
    assert (WHITE == 255).all()


def test_no_other_face_is_lent() -> None:
    """The lent picture's face is red, its background green: no red comes over."""
    other = np.zeros((112, 96, 3), np.uint8)
    other[:] = (0, 200, 0)
    other[face_share(TEMPLATE, (112, 96)) == 1] = (0, 0, 200)
    moved = TEMPLATE + np.array([0, 25])
    for seed in range(20):
        made = replace_background(WHITE, moved, np.random.default_rng(seed), lambda: (other, TEMPLATE))
        if tuple(made[111, 0]) == (0, 200, 0):
            assert made[:14, 40:56, 2].max() < 60
            return
    raise AssertionError("no background of another picture in 20")
