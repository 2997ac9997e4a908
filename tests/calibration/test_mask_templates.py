"""Masks from pictures in MaskTheFace's layout: laid on the landmarks, the right view, refused in one line."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeface_calibration.occluders import kinds, needs_landmarks, occlude
from edgeface_calibration.occluders.head import head_pose
from edgeface_calibration.occluders.mask_templates import _lay, mask_templates
from edgeface_runtime.align import TEMPLATE
from edgeface_runtime.errors import ImageError, InputError

ANCHORS = {"a": (10, 20), "b": (100, 5), "c": (190, 20), "d": (15, 110), "e": (100, 160), "f": (185, 110)}
COLOURS = {"plain": (0, 0, 255, 255), "plain_left": (0, 255, 0, 255), "plain_right": (255, 0, 0, 255)}


def write(folder: Path, name: str, colour: tuple[int, ...], path: str, anchors: dict[str, object] = ANCHORS) -> str:
    picture = np.zeros((170, 200, 4), np.uint8)
    outline = np.array([ANCHORS[letter] for letter in "abcfed"], np.int32)
    cv2.fillPoly(picture, [outline], colour, cv2.LINE_AA)
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(target), picture)
    lines = [f"[{name}]", f"template: masks/templates/{Path(path).name}"]
    for letter, at in anchors.items():
        lines.append(f"mask_{letter}: {at[0]}, {at[1]}" if isinstance(at, tuple) else f"mask_{letter}: {at}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    sections = [write(tmp_path, name, colour, f"masks/{name}.png") for name, colour in COLOURS.items()]
    (tmp_path / "masks.cfg").write_text(";[old]\n;template: x\n" + "\n".join(sections) + "\n[empty]\n[empty_left]\n")
    return tmp_path


def turned(degrees: float) -> np.ndarray:
    """The landmarks of the head model, turned; a positive angle looks to the picture's right."""
    solid = np.column_stack((TEMPLATE - (48, 70), (0, 0, 16, 3, 3)))
    angle = np.radians(degrees)
    x = solid[:, 0] * np.cos(angle) + solid[:, 2] * np.sin(angle)
    return np.column_stack((x, solid[:, 1])) * 1.5 + (120, 120)


def test_pose_of_a_turned_head_is_found() -> None:
    for degrees in (-50, -20, 0, 10, 40):
        assert head_pose(turned(degrees)).turn_deg == pytest.approx(degrees, abs=1.5)
    straight = head_pose(TEMPLATE)
    np.testing.assert_allclose(straight.linear, np.eye(2, 3), atol=1e-9)
    with pytest.raises(InputError, match="coincide or lie on a line"):
        head_pose(np.stack((np.arange(5.0), np.arange(5.0)), 1))


@pytest.mark.parametrize(("degrees", "channel"), [(-40, 1), (-10, 2), (0, 2), (15, 2), (40, 0)])
def test_the_side_follows_the_turn(folder: Path, degrees: float, channel: int) -> None:
    image = np.full((250, 250, 3), 128, np.uint8)
    result = occlude(image, "plain", np.random.default_rng(0), landmarks=turned(degrees), templates=folder)
    assert result.kind == "plain"
    core = cv2.erode(result.mask.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    mean = result.image[core].mean(0)
    assert int(mean.argmax()) == channel and np.delete(mean, channel).max() < 5


def test_it_lies_on_nose_and_mouth(folder: Path) -> None:
    assert kinds(folder) == ("plain", "random") and needs_landmarks("plain", folder)
    crop = np.full((112, 96, 3), 128, np.uint8)
    for index in range(15):
        mask = occlude(crop, "random", np.random.default_rng(index), templates=folder).mask
        inside = [bool(mask[round(y), round(x)]) for x, y in TEMPLATE]
        assert inside == [False, False, True, True, True] and mask[110, 48] and not mask[12, 48]
        for degrees in (-45, -15, 0, 30, 50):
            at = turned(degrees)
            picture = np.full((250, 250, 3), 128, np.uint8)
            mask = occlude(picture, "plain", np.random.default_rng(index), landmarks=at, templates=folder).mask
            assert [bool(mask[round(y), round(x)]) for x, y in at[:3]] == [False, False, True]
            assert any(mask[round(y), round(x)] for x, y in at[3:])


def test_share_scale_and_opacity(folder: Path) -> None:
    crop = np.full((112, 96, 3), 128, np.uint8)
    for share in (0.1, 0.4):
        result = occlude(crop, "plain", np.random.default_rng(1), share=share, templates=folder)
        assert result.share == pytest.approx(share, abs=0.01)
    small, large = (
        occlude(crop, "plain", np.random.default_rng(1), scale=scale, templates=folder).share for scale in (1, 5)
    )
    assert small < large
    thin = occlude(crop, "plain", np.random.default_rng(1), templates=folder, alpha=0.3)
    assert 100 < thin.image[thin.mask][:, 2].mean() < 190


def test_six_points_laid_on_a_projection_of_themselves() -> None:
    anchors = np.array(list(ANCHORS.values()), float)
    truth = np.array([[0.4, 0.05, 10], [-0.02, 0.5, 20], [2e-4, -3e-4, 1]])
    there = np.column_stack((anchors, np.ones(6))) @ truth.T
    np.testing.assert_allclose(_lay(anchors, there[:, :2] / there[:, 2:]), truth, atol=1e-6)


def test_wherever_the_pictures_lie(tmp_path: Path) -> None:
    for number, path in enumerate(("masks/templates/x.png", "masks/x.png", "templates/x.png", "x.png")):
        place = tmp_path / str(number)
        place.mkdir()
        (place / "masks.cfg").write_text(write(place, "x", (9, 9, 9, 255), path))
        masks = mask_templates(place)
        assert masks is not None and masks["x"].front.path == (place / path).resolve()
    # As in MaskTheFace: masks/masks.cfg, with paths from the folder above.
    place = tmp_path / "whole" / "masks"
    place.mkdir(parents=True)
    (place / "masks.cfg").write_text(write(place, "x", (9, 9, 9, 255), "templates/x.png"))
    assert kinds(place) == ("random", "x")
    assert mask_templates(tmp_path) is None


def test_bad_folders(tmp_path: Path) -> None:
    def refused(text: str | bytes, message: str) -> None:
        (tmp_path / "masks.cfg").write_bytes(text if isinstance(text, bytes) else text.encode())
        with pytest.raises(InputError, match=message) as caught:
            kinds(tmp_path)
        assert "\n" not in str(caught.value)

    refused("no section", "not readable as MaskTheFace's masks.cfg")
    refused(b"\xff\xfe\x00[x]", "not readable")
    refused("[empty]\n", "names no mask")
    good = write(tmp_path, "x", (9, 9, 9, 255), "x.png")
    refused(good.replace("mask_e: 100, 160\n", ""), r"\[x\] has no mask_e of two numbers")
    refused(good.replace("100, 160", "100"), "has no mask_e of two numbers")
    refused(good.replace("x.png", "y.png"), r"\[x\] names masks/templates/y.png, which is not there")
    (tmp_path / "masks.cfg").write_text(good)
    (tmp_path / "x.png").write_text("no picture")
    with pytest.raises(ImageError, match=r"x\.png is not a readable picture"):
        occlude(np.zeros((112, 96, 3), np.uint8), "x", np.random.default_rng(0), templates=tmp_path)


def test_a_mask_larger_than_the_face_is_refused(tmp_path: Path) -> None:
    tiny = {letter: (98 + x / 50, 80 + y / 50) for letter, (x, y) in ANCHORS.items()}
    (tmp_path / "masks.cfg").write_text(write(tmp_path, "x", (9, 9, 9, 255), "x.png", tiny))
    cv2.imwrite(str(tmp_path / "x.png"), np.full((170, 200, 4), 255, np.uint8))
    crop = np.zeros((60, 80, 3), np.uint8)
    with pytest.raises(InputError, match=r"x would cover \d+ % of this picture: it is larger than the face"):
        occlude(crop, "x", np.random.default_rng(0), landmarks=TEMPLATE - (8, 45), templates=tmp_path)


@pytest.mark.data
def test_research_masks(data_dir: Path) -> None:
    folder = data_dir / "occluders"
    assert kinds(folder) == ("KN95", "N95", "cloth", "gas", "random", "surgical", "surgical_blue", "surgical_green")
    crop = np.full((112, 96, 3), 128, np.uint8)
    for kind in kinds(folder):
        for index in range(4):
            mask = occlude(crop, kind, np.random.default_rng(index), templates=folder).mask
            inside = [bool(mask[round(y), round(x)]) for x, y in TEMPLATE]
            assert inside == [False, False, True, True, True]
