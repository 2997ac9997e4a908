"""nvinfer's crop, on pictures whose pixels say where they are from."""

from __future__ import annotations

import numpy as np
import pytest

from edgeface_calibration.nvinfer_crop import nvinfer_crop
from edgeface_runtime.errors import FaceError, InputError


def places(height: int, width: int) -> np.ndarray:
    """(height, width, 3) uint8: column, row and 9."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x, y, np.full_like(x, 9)], axis=2).astype(np.uint8)


def test_the_box_as_it_is() -> None:
    picture = places(100, 120)
    np.testing.assert_array_equal(nvinfer_crop(picture, (20, 30, 60, 80), (50, 40)), picture[30:80, 20:60])


def test_edges_come_to_even_pixels_as_nvinfer_rounds_them() -> None:
    """Left 21.7 -> 22 and top 30.2 -> 30; 39.9 wide -> 38, 51.3 high -> 50."""
    picture = places(100, 120)
    np.testing.assert_array_equal(nvinfer_crop(picture, (21.7, 30.2, 61.6, 81.5), (50, 38)), picture[30:80, 22:60])


def test_what_lies_outside_the_frame_is_cut_off_not_black() -> None:
    picture = places(100, 120)
    np.testing.assert_array_equal(nvinfer_crop(picture, (-20, -30, 60, 70), (70, 60)), picture[:70, :60])


def test_a_margin_widens_every_side() -> None:
    picture = places(100, 120)
    np.testing.assert_array_equal(
        nvinfer_crop(picture, (20, 30, 60, 70), (60, 60), margin=0.25),
        nvinfer_crop(picture, (10, 20, 70, 80), (60, 60)),
    )


@pytest.mark.parametrize(("symmetric", "left"), [(True, 10), (False, 0)])
def test_kept_aspect_leaves_the_rest_black(symmetric: bool, left: int) -> None:
    picture = np.full((100, 120, 3), 200, np.uint8)
    crop = nvinfer_crop(picture, (20, 20, 60, 60), (40, 60), keep_aspect=True, symmetric=symmetric)
    columns = np.flatnonzero(crop.any(axis=(0, 2)))
    assert (columns[0], columns[-1], crop.max()) == (left, left + 39, 200)
    tall = nvinfer_crop(picture, (20, 20, 60, 60), (60, 40), keep_aspect=True)
    assert not tall[:10].any() and tall[10:50].all() and not tall[50:].any()


def test_nothing_to_cut() -> None:
    with pytest.raises(FaceError, match="outside the frame"):
        nvinfer_crop(places(100, 120), (130, 10, 160, 40), (40, 40))
    with pytest.raises(InputError, match="leaves nothing"):
        nvinfer_crop(places(100, 120), (10, 10, 60, 60), (40, 40), margin=-0.5)
