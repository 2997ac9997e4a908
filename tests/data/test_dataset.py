"""Samples and their order: pure functions of (seed, epoch, position), evened, divisible among processes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from edgeface.data.dataset import Augment, Background, FaceDataset, Occlusion, is_occluded, shifted
from edgeface.data.faces import Faces
from edgeface.data.folders import FaceFolder
from edgeface.data.landmarks import Landmarks, mirrored
from edgeface.data.sampler import Draw, EvenBatches, epoch_order
from edgeface.data.synthetic import synth_face
from edgeface_calibration.patterns import pattern_label
from edgeface_runtime.align import TEMPLATE

PLAIN = Augment(flip=False, shift_px=0)


def make_faces(sizes: tuple[int, ...]) -> Faces:
    samples = tuple((Path(f"{label}/{n}.png"), label) for label, size in enumerate(sizes) for n in range(size))
    pixels = np.stack([synth_face(label, int(path.stem)) for path, label in samples])
    return Faces(FaceFolder(Path(), tuple(str(n) for n in range(len(sizes))), samples), pixels)


FACES = make_faces((6, 2, 1, 3))


def test_every_person_comes_equally_often() -> None:
    """12 pictures of 4 people: 3 draws each an epoch."""
    labels = FACES.labels
    for epoch in range(3):
        order = epoch_order(labels, 5, epoch)
        assert Counter(labels[order].tolist()) == {0: 3, 1: 3, 2: 3, 3: 3}
        assert np.array_equal(order, epoch_order(labels, 5, epoch))
    assert not np.array_equal(epoch_order(labels, 5, 0), epoch_order(labels, 5, 1))
    assert not np.array_equal(epoch_order(labels, 5, 0), epoch_order(labels, 6, 0))


def test_rounds_run_on_over_epochs() -> None:
    """The first person's six pictures come once each in two epochs of three draws, the second's thrice in two."""
    labels = FACES.labels
    both = np.concatenate([epoch_order(labels, 1, 0), epoch_order(labels, 1, 1)])
    times = Counter(both.tolist())
    assert [times[index] for index in range(6)] == [1] * 6
    assert [times[index] for index in (6, 7)] == [3, 3]
    assert times[8] == 6


def test_uneven_order_is_every_picture_once() -> None:
    assert sorted(epoch_order(FACES.labels, 1, 4, even=False)) == list(range(12))


def test_processes_share_an_epoch() -> None:
    def batches(rank: int, world: int, batch: int) -> list[list[Draw]]:
        sampler = EvenBatches(FACES.labels, batch, 3, rank=rank, world=world)
        sampler.set_epoch(2)
        assert len(list(sampler)) == len(sampler)
        return list(sampler)

    alone = [draw for batch in batches(0, 1, 4) for draw in batch]
    first, second = batches(0, 2, 2), batches(1, 2, 2)
    together = [draw for pair in zip(first, second, strict=True) for batch in pair for draw in batch]
    assert together == alone, "two processes of batch 2 see what one of batch 4 sees"
    assert [draw.position for draw in alone] == list(range(12))


def test_small_epochs_fill_one_step() -> None:
    (batch,) = EvenBatches(FACES.labels, 20, 0)
    assert len(batch) == 20 and [draw.position for draw in batch] == list(range(20))


def test_a_third_stays_clean() -> None:
    pattern = [is_occluded(position, 2 / 3) for position in range(3000)]
    assert sum(pattern) == 2000
    assert all(sum(pattern[start : start + 3]) == 2 for start in range(2998))
    assert not any(is_occluded(position, 0.0) for position in range(20))
    assert all(is_occluded(position, 1.0) for position in range(20))


def test_samples_are_pure_functions() -> None:
    one, other = (FaceDataset(FACES, 9, occlusion=Occlusion()) for _ in range(2))
    list(map(one.__getitem__, [Draw(0, place, 3) for place in range(4)]))  # another history
    for place in range(6):
        draw = Draw(2, place, 5)
        assert np.array_equal(one[draw][0], other[draw][0])
    changed = [
        FaceDataset(FACES, 10, occlusion=Occlusion())[Draw(2, 1, 5)],
        one[Draw(3, 1, 5)],
        one[Draw(2, 4, 5)],
    ]
    assert all(not np.array_equal(image, one[Draw(2, 1, 5)][0]) for image, _ in changed)


def test_occlusion_leaves_the_clean_part_alone() -> None:
    samples = FaceDataset(FACES, 1, PLAIN, Occlusion(kinds=("block",), share=(0.2, 0.4)))
    for place in range(12):
        image, label = samples[Draw(0, place, place)]
        covered = float((image != FACES[place]).any(axis=2).mean())
        assert label == FACES.labels[place]
        if is_occluded(place, 2 / 3):
            assert 0.15 < covered <= 0.42
        else:
            assert covered == 0
    assert np.array_equal(FACES.pixels, make_faces((6, 2, 1, 3)).pixels), (
        "the faces kept in memory are not painted on"
    )


def test_flip_and_shift() -> None:
    face = FACES[0]
    flips = 0
    samples = FaceDataset(FACES, 4, Augment(flip=True, shift_px=0))
    for place in range(40):
        image, _ = samples[Draw(0, place, 0)]
        mirrored = np.array_equal(image, face[:, ::-1])
        assert mirrored or np.array_equal(image, face)
        flips += mirrored
    assert 10 < flips < 30
    moved = shifted(face, 2, -1)
    assert moved.shape == face.shape
    assert np.array_equal(moved[:-1, 2:], face[1:, :-2])
    assert np.array_equal(moved[:-1, 0], face[1:, 0]), "the border is repeated"


def test_mirrored_landmarks() -> None:
    """Mirroring twice gives the template; left stays left."""
    points = mirrored(TEMPLATE, 96)
    assert points[0, 0] < points[1, 0] and points[3, 0] < points[4, 0]
    assert points[0] == pytest.approx((95 - TEMPLATE[1, 0], TEMPLATE[1, 1]))
    assert np.allclose(mirrored(points, 96), TEMPLATE)


def test_a_sample_knows_what_covers_it() -> None:
    """Only there the picture has changed; with the shift, mask and pictures move together."""
    samples = FaceDataset(FACES, 3, Augment(shift_px=4), Occlusion(part=1.0, kinds=("block",), share=(0.2, 0.3)))
    for place in range(8):
        sample = samples.sample(Draw(0, place, place))
        assert sample.mask.shape == (112, 96) and sample.mask.dtype == bool
        assert 0.1 < sample.mask.mean() < 0.4
        changed = (sample.image != sample.clean).any(axis=2)
        assert changed[~sample.mask].mean() < 0.05, "its soft edge alone"
        assert changed[sample.mask].mean() > 0.9
        assert np.array_equal(sample.image, samples[Draw(0, place, place)][0])


def test_pattern_labels() -> None:
    """A sample's third value is the pattern of its mask, 0 without one; images are those without patterns."""
    settings = Occlusion(kinds=("block",), share=(0.2, 0.3))
    plain, told = FaceDataset(FACES, 3, None, settings), FaceDataset(FACES, 3, None, settings, patterns=4)
    for place in range(6):
        draw = Draw(1, place, place)
        image, label, pattern = told[draw]
        assert np.array_equal(image, plain[draw][0]) and label == plain[draw][1]
        assert pattern == pattern_label(told.sample(draw).mask, 4)
        assert (pattern > 0) == is_occluded(place, 2 / 3)


def test_own_landmarks_place_what_is_worn() -> None:
    """The same faces with landmarks 30 pixels higher: sunglasses lie about that much higher."""
    high = np.repeat((TEMPLATE - (0, 30))[None], len(FACES), 0)
    moved = Faces(FACES.folder, FACES.pixels, landmarks=Landmarks(high, "", (), ()))
    settings = Occlusion(part=1.0, kinds=("sunglasses",))
    rows = []
    for faces in (FACES, moved):
        sample = FaceDataset(faces, 2, Augment(shift_px=0), settings).sample(Draw(0, 0, 0))
        rows.append(float(np.nonzero(sample.mask)[0].mean()))
    assert rows[0] - rows[1] == pytest.approx(30, abs=5)


def test_box_crops() -> None:
    pixels = np.stack([np.full((128, 96, 3), value, np.uint8) for value in range(len(FACES))])
    faces = Faces(FACES.folder, pixels, (128, 96))
    samples = FaceDataset(faces, 2, None, Occlusion(part=1.0, kinds=("mix",)), patterns=3, background=Background(1.0))
    for place in range(6):
        image, _, pattern = samples[Draw(0, place, place)]
        assert image.shape == (128, 96, 3) and 0 < pattern < 37


def test_backgrounds_change_only_backgrounds() -> None:
    """Half of the samples; order, flips, shifts and occluders stay as they are without."""
    settings = Occlusion(part=0.5, kinds=("block",), share=(0.1, 0.2))
    plain = FaceDataset(FACES, 7, None, settings)
    other = FaceDataset(FACES, 7, None, settings, background=Background(0.5))
    changed = 0
    for place in range(40):
        draw = Draw(0, place, place % 12)
        before, after = plain.sample(draw), other.sample(draw)
        assert np.array_equal(before.mask, after.mask)
        assert np.array_equal(before.image[30:90, 25:70], after.image[30:90, 25:70]), "the face is as it was"
        changed += not np.array_equal(before.image, after.image)
        assert np.array_equal(after.image, other[draw][0])
    assert 10 <= changed <= 30
