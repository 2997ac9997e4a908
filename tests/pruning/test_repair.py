"""Predictions of what goes from what stays: exact where it is exact, else the least squares of a second hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from edgeface.models import FaceNet, build_spec
from edgeface.models.blocks import BasicBlock, Block
from edgeface.pruning.depth import bypassed
from edgeface.pruning.groups import groups, resized
from edgeface.pruning.importance import importance
from edgeface.pruning.latency.losses import SHARES, measure_losses
from edgeface.pruning.observe import Seen
from edgeface.pruning.repair import Repair
from edgeface.pruning.silence import silenced

WEAK = torch.tensor([1, 5])


@pytest.fixture
def dense(lived_in: Callable[[FaceNet], FaceNet]) -> FaceNet:
    torch.manual_seed(0)
    return lived_in(FaceNet(build_spec("iresnet18", 0.125, mask="decoder")))


@pytest.fixture(scope="module")
def faces() -> Tensor:
    return torch.rand(40, 3, 112, 96, generator=torch.Generator().manual_seed(2)) * 2 - 1


def embedded(model: FaceNet, faces: Tensor) -> Tensor:
    with torch.inference_mode():
        return model(faces[:4])


def twins(model: FaceNet, block: str) -> None:
    """Inner channels 1 and 5 become those before them."""
    layer = model.get_submodule(block)
    names = [name for name, _ in layer.named_parameters()] + [name for name, _ in layer.named_buffers()]
    norm = {Block: "bn2", BasicBlock: "bn1"}[type(layer)]
    for name in names:
        if name.split(".")[0] in ("conv1", norm, "prelu", "prelu1") and "tracked" not in name:
            value = layer.get_parameter(name) if "running" not in name else layer.get_buffer(name)
            with torch.no_grad():
                value[WEAK] = value[WEAK - 1].clone()


@pytest.mark.parametrize("arch", ["iresnet18", "resnet34"])
def test_a_channel_that_another_tells_is_not_missed(
    arch: str, lived_in: Callable[[FaceNet], FaceNet], faces: Tensor
) -> None:
    model = lived_in(FaceNet(build_spec(arch, 0.125)))
    twins(model, "stages.2.1")
    whole, repair = embedded(model, faces), Repair(model, faces[4:])
    with silenced(model, {"stages.2.1.inner": WEAK}):
        silent = embedded(model, faces)
    with repair.narrowed("stages.2.1.inner", WEAK):
        predicted = embedded(model, faces)
    gap = (predicted - whole).norm() / (silent - whole).norm()
    assert (silent - whole).norm() > 0.01 and gap < 0.05
    assert torch.equal(embedded(model, faces), whole)  # nothing stays behind


def test_of_one_channel_none_goes(lived_in: Callable[[FaceNet], FaceNet], faces: Tensor) -> None:
    model = lived_in(FaceNet(resized(spec := build_spec("iresnet18", 0.125), {g.name: 1 for g in groups(spec)})))
    losses = measure_losses(model, faces[:4], importance("l1"), refit=faces[4:])
    assert set(losses.groups.values()) == {(0.0, 0.0, 0.0)}


@pytest.mark.parametrize("group", ["stem", "stages.1.out", "stages.2.1.inner"])
def test_channels_are_predicted_by_least_squares(dense: FaceNet, faces: Tensor, group: str) -> None:
    repair = Repair(dense, faces)
    name = {"stem": "stem", "stages.1.out": "stages.1.1", "stages.2.1.inner": "stages.2.1.prelu"}[group]
    with torch.inference_mode(), Seen(dense, [name]) as seen:
        dense(faces)
    maps = seen.outputs[name].double().numpy()
    with torch.inference_mode(), repair.narrowed(group, WEAK), Seen(dense, [name]) as seen:
        dense(faces)
    found = seen.outputs[name].double().numpy()
    stay = [channel for channel in range(maps.shape[1]) if channel not in WEAK]
    if name != "stages.1.1":  # what reaches the second block of a stage is predicted already
        assert np.array_equal(found[:, stay], maps[:, stay])
    reads = maps[:, stay].transpose(0, 2, 3, 1).reshape(-1, len(stay))
    gives = maps[:, WEAK].transpose(0, 2, 3, 1).reshape(-1, len(WEAK))
    middle, mean = reads.mean(0), gives.mean(0)
    pull = 0.01 * reads.var(0).mean() * len(reads)
    stacked = np.vstack([reads - middle, np.sqrt(pull) * np.eye(len(stay))])
    weight, *_ = np.linalg.lstsq(stacked, np.vstack([gives - mean, np.zeros((len(stay), len(WEAK)))]), rcond=None)
    expected = (found[:, stay].transpose(0, 2, 3, 1).reshape(-1, len(stay)) - middle) @ weight + mean
    assert np.allclose(found[:, WEAK].transpose(0, 2, 3, 1).reshape(-1, len(WEAK)), expected, atol=1e-3)


def test_the_block_behind_makes_up_for_what_it_can(dense: FaceNet, faces: Tensor) -> None:
    repair = Repair(dense, faces)
    for block, behind in {"stages.0.1": "stages.1.0", "stages.2.1": "stages.3.0"}.items():
        with torch.inference_mode(), Seen(dense, [behind]) as seen:
            dense(faces)
        wanted = seen.outputs[behind]
        with torch.inference_mode(), bypassed(dense, block), Seen(dense, [behind, f"{behind}.prelu"]) as seen:
            dense(faces)
        alone, inner = seen.outputs[behind], seen.outputs[f"{behind}.prelu"][:, :, ::2, ::2]
        with torch.inference_mode(), repair.without(block):
            dense(faces[:1])  # hooks are called in any order of looking
            with Seen(dense, [dense_next(behind)]) as seen:
                dense(faces)
        made_up = seen.inputs[dense_next(behind)]
        missed = (wanted - made_up).square().mean() / (wanted - alone).square().mean()
        rows = inner.transpose(0, 1).flatten(1).T.numpy()
        gap = (wanted - alone).transpose(0, 1).flatten(1).T.numpy()
        reads = np.column_stack([rows, np.ones(len(rows))])
        best = gap - reads @ np.linalg.lstsq(reads, gap, rcond=None)[0]
        least = np.square(best).mean() / np.square(gap).mean()
        assert least <= missed + 1e-4 and missed < least + 0.05 and least < 0.95


def dense_next(block: str) -> str:
    stage, number = block.split(".")[1:]
    return f"stages.{stage}.{int(number) + 1}"


def test_the_last_block_is_predicted_from_what_it_reads(dense: FaceNet, faces: Tensor) -> None:
    block = dense.get_submodule("stages.3.1")
    with torch.no_grad():
        block.prelu.weight.fill_(1)  # linear now, and of one place alone
        block.conv2.weight[:, :, [0, 0, 0, 1, 1, 2, 2, 2], [0, 1, 2, 0, 2, 0, 1, 2]] = 0
    whole, repair = embedded(dense, faces), Repair(dense, faces[4:])
    with bypassed(dense, "stages.3.1"):
        without = embedded(dense, faces)
    with repair.without("stages.3.1"):
        predicted = embedded(dense, faces)
    assert (predicted - whole).norm() < 0.1 * (without - whole).norm()


def test_losses_are_below_those_of_silence(dense: FaceNet, faces: Tensor) -> None:
    rank = importance("l1")
    silent, words = measure_losses(dense, faces[:4], rank), []
    found = measure_losses(dense, faces[:4], rank, words.append, refit=faces[4:])
    trunk = [part.name for part in groups(dense.spec) if not part.name.startswith("decoder.")]
    half = SHARES.index(0.5)
    assert sum(found.groups[name][half] for name in trunk) < 0.7 * sum(silent.groups[name][half] for name in trunk)
    assert sum(found.blocks.values()) < sum(silent.blocks.values())
    assert found.groups["decoder.smooth"] == silent.groups["decoder.smooth"]
    assert not any("forward" in vars(module) or module._forward_hooks for module in dense.modules())
