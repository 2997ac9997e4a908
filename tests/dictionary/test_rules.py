"""Blocks, loss, generator, min-max, percentile, choice of faces: each against a value computed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from edgeface.dictionary.blocks import FILLS, cover, pair_rng
from edgeface.dictionary.build import binary_mask, mean_mask, min_max
from edgeface.dictionary.loss import difference_loss, pair_loss
from edgeface.dictionary.pairs import choose
from edgeface.models.generator import MaskGenerator
from edgeface.training.margin import MARGINS, MarginSoftmax
from edgeface_runtime.errors import InputError
from edgeface_runtime.regions import Region

REGION = Region("mouth", (2.0, 3.0, 6.0, 5.0))


def test_a_block_of_uniform_intensity_covers_the_region_only() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 10, 3), dtype=np.uint8)
    before = image.copy()
    found = cover(image, REGION, pair_rng(7, "a/1.jpg", "mouth"))
    assert found is not None
    inside = found[3:5, 2:6]
    assert (inside == inside[0, 0, 0]).all(), "one grey level in all channels"
    outside = np.ones((8, 10), bool)
    outside[3:5, 2:6] = False
    assert (found[outside] == before[outside]).all() and (image == before).all()


def test_a_pair_follows_from_seed_name_and_region() -> None:
    def level(*key: object) -> int:
        found = cover(np.zeros((8, 10, 3), np.uint8), REGION, pair_rng(*key))  # type: ignore[arg-type]
        assert found is not None
        return int(found[3, 2, 0])

    assert level(7, "a/1.jpg", "mouth") == level(7, "a/1.jpg", "mouth")
    assert len({level(7, "a/1.jpg", "mouth"), level(8, "a/1.jpg", "mouth"), level(7, "a/2.jpg", "mouth")}) > 1
    levels = [level(0, f"a/{number}.jpg", "nose") for number in range(200)]
    assert min(levels) < 30 and max(levels) > 225


@pytest.mark.parametrize("fill", sorted(FILLS))
def test_every_fill_covers_and_repeats(fill: str) -> None:
    image = np.full((112, 96, 3), 9, np.uint8)
    region = Region("band", (0.0, 80.0, 96.0, 112.0))
    found = [cover(image, region, pair_rng(1, "x", "band"), fill) for _ in range(2)]
    assert found[0] is not None and found[1] is not None
    assert (found[0] == found[1]).all() and (found[0][:80] == 9).all() and (found[0][80:] != 9).mean() > 0.8


def test_a_region_outside_the_crop_gives_no_pair() -> None:
    image = np.zeros((8, 10, 3), np.uint8)
    assert cover(image, Region("forehead", (0.0, -9.0, 10.0, 0.0)), pair_rng(0, "x", "forehead")) is None
    with pytest.raises(InputError, match="choose one of block, noise, object, mix"):
        cover(image, REGION, pair_rng(0, "x", "mouth"), "paint")


def test_choose_takes_every_person_before_any_twice() -> None:
    labels = np.array([0] * 50 + [1] * 2 + [2] * 5)
    order = choose(labels, 3)
    assert sorted(order) == list(range(57))
    assert sorted(labels[order[:3]]) == [0, 1, 2] and sorted(labels[order[3:6]]) == [0, 1, 2]
    assert sorted(labels[order[6:8]]) == [0, 2], "person 1 has no third face"
    assert (choose(labels, 3) == order).all() and (choose(labels, 4) != order).any()


def test_loss_by_hand() -> None:
    """One feature map of 2 values, head = flatten, two classes along the axes, CosFace, lambda 10."""
    clean = torch.tensor([[3.0, 4.0]]).view(1, 2, 1, 1)
    occluded = torch.tensor([[1.0, 2.0]]).view(1, 2, 1, 1)
    mask = torch.tensor([[0.5, 1.0]]).view(1, 2, 1, 1)
    margin = MarginSoftmax(2, 2, *MARGINS["cosface"])
    with torch.no_grad():
        margin.weight.copy_(torch.eye(2) * 7)
    with torch.no_grad():
        found = pair_loss(nn.Flatten(), margin, mask, clean, occluded, torch.tensor([0]), 10.0)

    # Masked: (1.5, 4) and (.5, 2). Eq. (1): (|1.5 - .5| + |4 - 2|) / 2 = 1.5.
    assert float(found.difference) == pytest.approx(1.5)
    assert float(difference_loss(mask, clean, occluded)) == pytest.approx(1.5)
    losses = []
    for x, y in ((1.5, 4.0), (0.5, 2.0)):
        norm = np.hypot(x, y)
        own, other = 30 * (x / norm - 0.35), 30 * y / norm
        losses.append(-own + np.log(np.exp(own) + np.exp(other)))
    assert float(found.classification) == pytest.approx(float(np.mean(losses)), rel=1e-5)
    assert float(found.total) == pytest.approx(float(np.mean(losses)) + 15.0, rel=1e-5)


def test_generator_by_hand() -> None:
    """One channel: a centre weight of 2, slope .25, BN scale 3 and shift 1 over fresh statistics (0, 1)."""
    generator = MaskGenerator(1).eval()
    with torch.no_grad():
        generator.conv.weight.zero_()
        generator.conv.weight[0, 0, 1, 1] = -2
        generator.prelu.weight.fill_(0.25)
        generator.bn.weight.fill_(3)
        generator.bn.bias.fill_(1)
    found = generator(torch.tensor([[[[0.0, 1.0]]]]))
    scale = 1 / np.sqrt(1 + 1e-5)
    wanted = [1 / (1 + np.exp(-1)), 1 / (1 + np.exp(-(3 * scale * -0.5 + 1)))]
    assert found.flatten().tolist() == pytest.approx(wanted)


def test_min_max_scales_each_output_by_itself() -> None:
    outputs = torch.tensor([[[[1.0, 3.0]], [[2.0, 5.0]]], [[[0.5, 0.5]], [[0.5, 0.5]]]])
    found = min_max(outputs)
    assert found[0].flatten().tolist() == [0, 0.5, 0.25, 1]
    assert found[1].flatten().tolist() == [1, 1, 1, 1], "a constant output singles nothing out"


class _Given(nn.Module):
    """A stand-in for a generator: gives the difference it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(1))

    def forward(self, difference: torch.Tensor) -> torch.Tensor:
        return difference


def test_mean_mask_is_the_mean_of_scaled_outputs() -> None:
    clean = torch.zeros(3, 1, 1, 3, dtype=torch.float16)
    occluded = torch.tensor([[0, 1, 2], [0, 4, 4], [10, 0, 5]], dtype=torch.float16).view(3, 1, 1, 3)
    found = mean_mask(_Given(), clean, occluded, batch=2)  # type: ignore[arg-type]
    assert found.shape == (1, 1, 3) and found.dtype == np.float32
    assert found.flatten().tolist() == pytest.approx([1 / 3, 0.5, 2.5 / 3])


def test_percentile_discards_the_lowest_share() -> None:
    mean = np.array([0.4, 0.1, 0.3, 0.2], np.float32).reshape(1, 2, 2)
    assert binary_mask(mean, 0.25).flatten().tolist() == [True, False, True, True]
    assert binary_mask(mean, 0.5).flatten().tolist() == [True, False, True, False]
    many = np.random.default_rng(0).random((64, 7, 6)).astype(np.float32)
    assert 1 - binary_mask(many, 0.30).mean() == pytest.approx(0.30, abs=1e-3)
    ties = np.array([0.0, 0.0, 0.0, 1.0])
    assert binary_mask(ties, 0.25).tolist() == [False, False, False, True], "eq. (4) is strict: equal is discarded"
