"""Losses are those of the network really pruned in that one place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from edgeface.models import FaceNet, build_spec
from edgeface.pruning.depth import drop_blocks
from edgeface.pruning.groups import groups
from edgeface.pruning.importance import importance
from edgeface.pruning.latency.losses import SHARES, Losses, loss_steps, measure_losses
from edgeface.pruning.prune import kept_channels, shrink


@pytest.fixture(scope="module")
def dense(lived_in: Callable[[FaceNet], FaceNet]) -> FaceNet:
    torch.manual_seed(0)
    return lived_in(FaceNet(build_spec("iresnet18", 0.125, mask="decoder")))


@pytest.fixture(scope="module")
def faces() -> Tensor:
    return torch.rand(4, 3, 112, 96, generator=torch.Generator().manual_seed(2)) * 2 - 1


@pytest.fixture(scope="module")
def measured(dense: FaceNet, faces: Tensor) -> Losses:
    words: list[str] = []
    found = measure_losses(dense, faces, importance("l1"), words.append)
    assert len(words) == loss_steps(dense)
    return found


def loss(dense: FaceNet, smaller: FaceNet, faces: Tensor) -> float:
    with torch.inference_mode():
        return 1 - float(torch.nn.functional.cosine_similarity(dense(faces), smaller(faces)).mean())


@pytest.mark.parametrize("name", ["stem", "stages.1.out", "stages.2.1.inner", "stages.3.out", "decoder.smooth"])
def test_of_a_group_at_half(dense: FaceNet, faces: Tensor, measured: Losses, name: str) -> None:
    rank, parts = importance("l1"), groups(dense.spec)
    half = {part.name: part.width // (2 if part.name == name else 1) for part in parts}
    smaller = shrink(dense, {part.name: kept_channels(rank(dense, part), half[part.name]) for part in parts})
    (group,) = [part for part in parts if part.name == name]
    assert group.width % 2 == 0
    expected = loss(dense, smaller, faces)
    assert measured.groups[name][SHARES.index(0.5)] == pytest.approx(
        max(expected, measured.groups[name][0]), abs=1e-5
    )
    assert measured.of(group, group.width) == 0
    assert measured.of(group, half[name]) == pytest.approx(measured.groups[name][SHARES.index(0.5)])


def test_of_a_block(dense: FaceNet, faces: Tensor, measured: Losses) -> None:
    for block, found in measured.blocks.items():
        assert found == pytest.approx(loss(dense, drop_blocks(dense, [block]), faces), abs=1e-5)
    assert len(measured.blocks) == 4 and min(measured.blocks.values()) > 1e-4


def test_the_network_is_left_as_it_was(dense: FaceNet, measured: Losses, faces: Tensor) -> None:
    assert not any("forward" in vars(module) or module._forward_hooks for module in dense.modules())


def test_between_shares_the_root_is_a_straight_line() -> None:
    (group,) = [part for part in groups(build_spec("iresnet18")) if part.name == "stem"]
    losses = Losses({"stem": (0.04, 0.16, 0.81)}, {})
    assert losses.of(group, 56) == pytest.approx(0.01)
    assert losses.of(group, 40) == pytest.approx(0.09)
    assert losses.of(group, 16) == pytest.approx(0.81)


def test_against_another_networks_embeddings_what_is_lost_beyond_the_present(dense: FaceNet, faces: Tensor) -> None:
    with torch.inference_mode():
        target = dense(faces)
    shallow = drop_blocks(dense, ["stages.1.1"])
    found = measure_losses(shallow, faces, importance("l1"), target=target)
    both = loss(dense, drop_blocks(dense, ["stages.1.1", "stages.2.1"]), faces) - loss(dense, shallow, faces)
    assert found.blocks["stages.2.1"] == pytest.approx(max(both, 0), abs=1e-5)
    assert "stages.1.1" not in found.blocks
