"""Samples of a segmenter: seeded, covered pixels marked, people held out; and the loss by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeface.data.dataset import Augment, Occlusion
from edgeface.data.faces import Faces
from edgeface.data.folders import FaceFolder
from edgeface.data.sampler import Draw
from edgeface.data.synthetic import synth_face
from edgeface.segmentation.dataset import SegmentDataset, jittered, split_people
from edgeface.segmentation.loss import segment_loss, soft_dice
from edgeface.segmentation.settings import SegmentSettings

PIXELS = np.stack([synth_face(number, 0) for number in range(4)])
FACES = Faces(FaceFolder(Path(), tuple("abcd"), tuple((Path(f"{n}/0.png"), n) for n in range(4))), PIXELS)
ALL = np.arange(4)


def test_what_changed_is_what_is_marked() -> None:
    """Blocks are opaque: every unmarked pixel away from the edge is the face's; clean samples have no mark."""
    samples = SegmentDataset(FACES, ALL, 0, Occlusion(0.5, ("block",), share=(0.2, 0.2)))
    shares = []
    for place in range(4):
        image, mask = samples[Draw(0, place, place)]
        assert image.shape == (112, 96, 3) and mask.shape == (112, 96) and mask.dtype == bool
        changed = (image != PIXELS[place]).any(2)
        assert changed.mean() == pytest.approx(mask.mean(), abs=0.03)
        shares.append(float(mask.mean()))
    assert shares == pytest.approx([0, 0.2, 0, 0.2], abs=0.01)


def test_a_sample_is_a_pure_function() -> None:
    def sample(seed: int, draw: Draw) -> tuple[bytes, bytes]:
        samples = SegmentDataset(FACES, ALL[1:], seed, Occlusion(1.0), augment=Augment(), jitter=0.25)
        image, mask = samples[draw]
        return image.tobytes(), mask.tobytes()

    first = sample(0, Draw(1, 2, 0))
    assert first == sample(0, Draw(1, 2, 0))
    assert (
        first != sample(1, Draw(1, 2, 0)) and first != sample(0, Draw(2, 2, 0)) and first != sample(0, Draw(1, 3, 0))
    )


def test_the_difference_label_is_the_papers() -> None:
    occlusion = Occlusion(1.0, ("mask",))
    exact = SegmentDataset(FACES, ALL, 0, occlusion)[Draw(0, 0, 0)]
    difference = SegmentDataset(FACES, ALL, 0, occlusion, label="difference")[Draw(0, 0, 0)]
    assert np.array_equal(exact[0], difference[0])
    assert not np.array_equal(exact[1], difference[1])
    assert (exact[1] & difference[1]).sum() > 0.7 * exact[1].sum()


def test_jitter_keeps_shapes_and_bounds() -> None:
    face = PIXELS[0]
    other = jittered(face, np.random.default_rng(0), 0.25)
    assert other.shape == face.shape and other.dtype == np.uint8 and not np.array_equal(other, face)
    assert np.array_equal(jittered(face, np.random.default_rng(0), 0.0), face)


def test_nobody_is_on_both_sides() -> None:
    labels = np.repeat(np.arange(10), 5)
    train, held = split_people(labels, 0.2, 100, 3)
    assert len(held) == 10 and len(train) == 40
    assert not set(labels[train]) & set(labels[held])
    assert len(split_people(labels, 0.2, 4, 3)[1]) == 4
    train, held = split_people(np.array([0, 0, 1]), 0.9, 100, 0)
    assert len(train) and len(held)


def test_loss_by_hand() -> None:
    """Probabilities 1/2 on two pixels, one covered: BCE log 2; Dice 1 - (2 * 1/2 + 1) / (1 + 1 + 1)."""
    logits, truth = torch.zeros(1, 1, 1, 2), torch.tensor([[[[1.0, 0.0]]]])
    assert float(soft_dice(logits, truth)) == pytest.approx(1 / 3)
    assert float(segment_loss(logits, truth, 2.0)) == pytest.approx(math.log(2) + 2 / 3)
    sure = torch.tensor([[[[30.0, -30.0]]]])
    assert float(segment_loss(sure, truth)) == pytest.approx(0, abs=1e-6)
    assert float(soft_dice(torch.full((1, 1, 1, 2), -30.0), torch.zeros(1, 1, 1, 2))) == pytest.approx(0, abs=1e-6)


def test_the_rate() -> None:
    settings = SegmentSettings(lr=0.1, warmup=0.1)
    assert [settings.rate(step, 100) for step in (0, 9)] == pytest.approx([0.01, 0.1])
    assert settings.rate(10, 100) == pytest.approx(0.1)
    assert settings.rate(55, 100) == pytest.approx(0.05)
    assert SegmentSettings(optimizer="sgd", schedule="constant", warmup=0).rate(99, 100) == 0.05


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("arch", "unet", "unet-light"),
        ("kinds", ("hat",), "--kind"),
        ("kinds", (), "at least one"),
        ("label", "guess", "--labels"),
        ("input_size", (100, 96), "--input-size"),
        ("batch", 1, "--batch"),
        ("lr", 0.0, "--lr"),
        ("share", (0.5, 0.2), "--share"),
        ("schedule", "step", "--schedule"),
    ],
)
def test_settings_speak_the_flags_words(field: str, value: object, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        SegmentSettings(**{field: value})  # type: ignore[arg-type]
