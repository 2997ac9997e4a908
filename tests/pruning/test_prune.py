"""The pruned network is the dense one with channels silenced, is really smaller, and meets its ratio."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from edgeface.models import CheckpointMeta, FaceNet, build_spec, count, load_checkpoint, save_checkpoint
from edgeface.pruning import prune, silenced
from edgeface.pruning.allocate import achieved_ratio, allocate
from edgeface.pruning.groups import Group, cuts, groups, resized
from edgeface.pruning.importance import importance
from edgeface_runtime.errors import InputError

RATIOS = [0.1, 0.2, 0.3, 0.4, 0.5]


@pytest.fixture(scope="module", params=[("flatten", 1, "decoder"), ("pool", 2, "none")], ids=["flatten", "pool"])
def dense(request: pytest.FixtureRequest, lived_in: Callable[[FaceNet], FaceNet]) -> FaceNet:
    torch.manual_seed(0)
    head, stem_stride, mask = request.param
    return lived_in(FaceNet(build_spec("iresnet18", 0.5, head=head, stem_stride=stem_stride, mask=mask)))


@pytest.fixture(scope="module")
def faces() -> Tensor:
    return torch.rand(4, 3, 112, 96, generator=torch.Generator().manual_seed(2)) * 2 - 1


def removed(kept: dict[str, Tensor], model: FaceNet) -> dict[str, Tensor]:
    return {
        group.name: torch.tensor(
            [index for index in range(group.width) if index not in set(kept[group.name].tolist())], dtype=torch.long
        )
        for group in groups(model.spec)
    }


@pytest.mark.parametrize("ratio", RATIOS)
def test_equals_the_dense_network_with_removed_channels_silenced(dense: FaceNet, faces: Tensor, ratio: float) -> None:
    pruned = prune(dense, ratio, faces=faces)
    with torch.no_grad():
        with silenced(dense, removed(pruned.kept, dense)):
            expected = dense(faces)
        found = pruned.model(faces)
        assert (expected - found).abs().max() <= 1e-4 * max(1.0, float(expected.abs().max()))
        assert not torch.allclose(found, dense(faces), atol=1e-2)


def test_zeroing_weights_would_not_be_enough(dense: FaceNet, faces: Tensor) -> None:
    pruned = prune(dense, 0.3)
    zeroed = copy.deepcopy(dense)
    for group in groups(dense.spec):
        for conv in group.convs:
            zeroed.get_parameter(f"{conv}.weight").data[removed(pruned.kept, dense)[group.name]] = 0
    with torch.no_grad():
        assert (zeroed(faces) - pruned.model(faces)).abs().max() > 1e-2


def test_silencing_twice_the_reference_way(dense: FaceNet, faces: Tensor) -> None:
    """The same silencing by editing BN, an independent second implementation for inner widths."""
    lost = torch.tensor([0, 3])
    edited = copy.deepcopy(dense)
    block = edited.get_submodule("stages.1.0")
    for name in ("bn2.weight", "bn2.bias"):
        block.get_parameter(name).data[lost] = 0
    with torch.no_grad(), silenced(dense, {"stages.1.0.inner": lost}):
        assert torch.allclose(dense(faces), edited(faces), atol=1e-6)


@pytest.mark.parametrize("mask", ["none", "decoder"])
def test_at_full_width_ratio_is_met_and_counts_fall(mask: str) -> None:
    spec = build_spec("iresnet50", mask=mask)
    parts = groups(spec)
    generator = np.random.default_rng(0)
    for sensitivity in (None, {part.name: float(generator.uniform(0.001, 0.9)) for part in parts}):
        before = count(spec)
        for ratio in RATIOS:
            widths = allocate(parts, ratio, 8, sensitivity)
            assert abs(achieved_ratio(parts, widths) - ratio) <= 0.02
            assert all(width % 8 == 0 for width in widths.values())

            after = count(resized(spec, widths))
            assert after.parameters < before.parameters
            assert after.macs < before.macs
            assert after.filters < before.filters
            assert after.filters == pytest.approx((1 - achieved_ratio(parts, widths)) * count(spec).filters)
            before = after


@pytest.mark.parametrize("width", [0.125, 0.25, 0.5])
def test_no_count_ever_rises_with_the_ratio(width: float) -> None:
    spec = build_spec("iresnet50", width, mask="decoder")
    parts = groups(spec)
    sensitivity = {part.name: float(np.random.default_rng(1).uniform(0.001, 0.9)) for part in parts}
    before = allocate(parts, 0, 8, sensitivity)
    for percent in range(1, 91):
        widths = allocate(parts, percent / 100, 8, sensitivity)
        assert all(widths[name] <= before[name] for name in widths)
        before = widths


def test_uniform_allocation_by_hand() -> None:
    parts = [Group("a", 32, ("x",)), Group("b", 64, ("y", "z"))]
    # 160 filters. Half of them, every group alike: a 16, b 32 -> 16 + 64 = 80 left.
    assert allocate(parts, 0.5, 8, None) == {"a": 16, "b": 32}
    # A tenth: the step that leaves its group least behind is b's (8 of 64 against 8 of 32), and it is enough.
    assert allocate(parts, 0.1, 8, None) == {"a": 32, "b": 56}


def test_sensitive_groups_lose_less() -> None:
    parts = groups(build_spec("iresnet50"))
    sensitivity = {part.name: 0.1 for part in parts}
    sensitivity["stages.2.3.inner"], sensitivity["stages.2.4.inner"] = 0.9, 0.01
    widths = allocate(parts, 0.3, 8, sensitivity)
    assert widths["stages.2.3.inner"] > widths["stages.2.5.inner"] > widths["stages.2.4.inner"]


def test_sensitivity_is_measured_on_the_network(faces: Tensor, lived_in: Callable[[FaceNet], FaceNet]) -> None:
    """A group the output does not depend on has sensitivity 0 and loses more than its like."""
    torch.manual_seed(0)
    model = lived_in(FaceNet(build_spec("iresnet18", 0.5)))
    model.get_parameter("stages.2.1.conv2.weight").data.zero_()
    report = {group.name: group for group in prune(model, 0.3, faces=faces, round_to=1).report.groups}
    assert report["stages.2.1.inner"].sensitivity == pytest.approx(0, abs=1e-6)
    same_width = [group for group in report.values() if group.before == 64]
    most = max(same_width, key=lambda group: group.sensitivity or 0)
    assert most.sensitivity is not None and most.sensitivity > 1e-3
    assert report["stages.2.1.inner"].after < most.after


def test_the_weakest_filters_leave() -> None:
    torch.manual_seed(0)
    model = FaceNet(build_spec("iresnet18", 0.5)).eval()
    weight = model.get_parameter("stages.0.0.conv1.weight").data
    weight[[1, 5]] *= 1e-3
    kept = prune(model, 0.1, round_to=2).kept["stages.0.0.inner"].tolist()
    assert 1 not in kept and 5 not in kept


def test_l1_and_l2_by_hand() -> None:
    model = FaceNet(build_spec("iresnet18", 0.125))
    group = next(group for group in groups(model.spec) if group.name == "stages.0.0.inner")
    weight = model.get_parameter("stages.0.0.conv1.weight").data
    weight.zero_()
    weight[0, :2, 0, 0] = torch.tensor([3.0, -4.0])
    weight[1, 0, 0, 0] = 5.0
    l1, l2 = importance("l1")(model, group), importance("l2")(model, group)
    assert l1[0] / l1[1] == pytest.approx(7 / 5)
    assert l2[0] == pytest.approx(float(l2[1]))


def test_every_tensor_is_covered_by_the_cuts() -> None:
    """No tensor keeps its size by oversight: halving every group halves every dimension but the fixed ones."""
    spec = build_spec("iresnet18", 0.5, mask="decoder")
    fixed = {"head.2.bias", "head.3.weight", "head.3.bias", "head.3.running_mean", "head.3.running_var"}
    state = {name for name, tensor in FaceNet(spec).state_dict().items() if tensor.ndim}
    assert state - set(cuts(spec)) == fixed


def test_survives_save_and_load(dense: FaceNet, faces: Tensor, tmp_path: Path) -> None:
    pruned = prune(dense, 0.5).model
    dense_path, path = tmp_path / "dense.safetensors", tmp_path / "pruned.safetensors"
    save_checkpoint(dense_path, dense, CheckpointMeta())
    save_checkpoint(path, pruned, CheckpointMeta(stage="pruned", ratio_requested=0.5))
    assert path.stat().st_size < 0.6 * dense_path.stat().st_size
    loaded = load_checkpoint(path)
    assert loaded.model.spec == pruned.spec
    with torch.no_grad():
        assert torch.equal(loaded.model(faces), pruned(faces))


def test_ratio_zero_changes_nothing(dense: FaceNet, faces: Tensor) -> None:
    with torch.no_grad():
        assert torch.equal(prune(dense, 0).model(faces), dense(faces))


@pytest.mark.parametrize("ratio", [-0.1, 1.0, 1.5, float("nan")])
def test_impossible_ratios_are_refused(dense: FaceNet, ratio: float) -> None:
    with pytest.raises(InputError, match="--ratio"):
        prune(dense, ratio)


def test_unknown_method_and_rounding_are_refused(dense: FaceNet) -> None:
    with pytest.raises(InputError, match="l1, l2"):
        prune(dense, 0.5, method="magic")
    with pytest.raises(InputError, match="--round-to"):
        prune(dense, 0.5, round_to=0)
