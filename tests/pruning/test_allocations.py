"""The lowest-scored channels of the whole network leave; removal in steps ranks again on what is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from edgeface.models import CheckpointMeta, FaceNet, build_spec, count, load_checkpoint
from edgeface.models.checkpoint import Checkpoint
from edgeface.pruning import prune, silenced
from edgeface.pruning.allocate import ALLOCATIONS, MAX_RATIO, achieved_ratio, allocate_global
from edgeface.pruning.groups import Group, groups, resized
from edgeface.pruning.run import prune_checkpoint
from edgeface_runtime.errors import InputError

PARTS = [Group("a", 8, ("x",)), Group("b", 8, ("y", "z"))]  # 8 + 16 filters
SCORES = {"a": torch.tensor([8.0, 1, 7, 2, 6, 3, 5, 4]), "b": torch.tensor([1.0, 1, 6, 6, 9, 9, 9, 9])}


@pytest.fixture(scope="module")
def model(lived_in: Callable[[FaceNet], FaceNet]) -> FaceNet:
    torch.manual_seed(0)
    return lived_in(FaceNet(build_spec("iresnet18", 0.25)))


@pytest.fixture(scope="module")
def faces() -> Tensor:
    return torch.rand(2, 3, 112, 96, generator=torch.Generator().manual_seed(2)) * 2 - 1


def test_global_allocation_by_hand() -> None:
    # In one unit, per filter, by pairs of channels: a 1.5, 3.5, 5.5, 7.5; b .5, 3, 4.5, 4.5. Of the 24 filters leave
    # 4 (b), 2 (a), 4 (b), 2 (a): half.
    assert allocate_global(PARTS, 0.5, 2, SCORES, one_unit=True) == {"a": 4, "b": 4}
    assert allocate_global(PARTS, 4 / 24, 2, SCORES, one_unit=True) == {"a": 8, "b": 6}
    # By the share of the group's mean, a 4.5 and b 6.25: a .33, .78, 1.22; b .16, .96, 1.44: 4 (b), 2 (a), 2 (a).
    assert allocate_global(PARTS, 8 / 24, 2, SCORES, one_unit=False) == {"a": 4, "b": 6}
    assert allocate_global(PARTS, 12 / 24, 2, SCORES, one_unit=False) == {"a": 4, "b": 4}


def test_no_group_is_cut_below_a_tenth_of_what_it_was() -> None:
    parts = [Group("a", 40, ("x",)), Group("b", 40, ("y",))]
    scores = {"a": torch.zeros(40), "b": torch.ones(40)}
    assert allocate_global(parts, 0.5, 4, scores, one_unit=True) == {"a": 4, "b": 36}
    assert allocate_global(parts, MAX_RATIO, 4, scores, one_unit=True) == {"a": 4, "b": 4}
    # half of 80 each are gone before: to three quarters, and no further than 8
    assert allocate_global(parts, 0.75, 4, scores, one_unit=True, whole={"a": 80, "b": 80}) == {"a": 8, "b": 32}


@pytest.mark.parametrize("one_unit", [True, False])
@pytest.mark.parametrize("width", [0.25, 1.0])
def test_no_count_ever_rises_with_the_ratio(width: float, one_unit: bool) -> None:
    spec = build_spec("iresnet50", width, mask="decoder")
    parts, before = groups(spec), count(spec)
    generator = torch.Generator().manual_seed(0)
    scores = {part.name: torch.rand(part.width, generator=generator) ** 3 for part in parts}
    widths = {part.name: part.width for part in parts}
    for percent in range(5, 95, 5):
        smaller = allocate_global(parts, percent / 100, 8, scores, one_unit)
        assert all(smaller[name] <= widths[name] and smaller[name] % 8 == 0 for name in widths)
        assert all(smaller[part.name] >= (1 - MAX_RATIO) * part.width for part in parts)
        after = count(resized(spec, smaller))
        assert after.macs <= before.macs and after.parameters <= before.parameters
        if width == 1.0 and percent <= 50:
            assert abs(achieved_ratio(parts, smaller) - percent / 100) <= 0.02
        widths, before = smaller, after


def test_globally_the_channels_that_do_nothing_leave_first(model: FaceNet, faces: Tensor) -> None:
    spoiled = FaceNet(model.spec).eval()
    spoiled.load_state_dict(model.state_dict())
    spoiled.get_parameter("stages.2.1.conv2.weight").data.zero_()  # nothing reads this block's inner channels
    pruned = prune(spoiled, 0.02, method="taylor", allocation="global", round_to=1, faces=faces)
    lost = {group.name: group.before - group.after for group in pruned.report.groups}
    assert lost["stages.2.1.inner"] == sum(lost.values()) == round(0.02 * pruned.report.before.filters)
    with torch.inference_mode():
        torch.testing.assert_close(pruned.model(faces), spoiled(faces), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("allocation", ALLOCATIONS)
@pytest.mark.parametrize("method", ["l2", "taylor"])
def test_steps_compose_to_one_kept_set(model: FaceNet, faces: Tensor, method: str, allocation: str) -> None:
    pruned = prune(model, 0.4, method=method, allocation=allocation, steps=3, faces=faces)
    report = pruned.report
    assert (report.method, report.allocation, report.steps) == (method, allocation, 3)
    assert report.achieved == pytest.approx(0.4, abs=0.02)
    assert {group.name: len(pruned.kept[group.name]) for group in report.groups} == {
        group.name: group.after for group in report.groups
    }
    assert (report.groups[0].sensitivity is not None) == (allocation == "sensitivity")
    lost = {
        group.name: torch.tensor(sorted(set(range(group.before)) - set(pruned.kept[group.name].tolist())))
        for group in report.groups
    }
    with torch.inference_mode(), silenced(model, lost):
        torch.testing.assert_close(pruned.model(faces), model(faces), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("steps", [3, 40])
def test_steps_too_small_for_a_multiple_add_up(model: FaceNet, steps: int) -> None:
    """Every group loses its share of what it had at first, however small the steps are."""
    once, often = (prune(model, 0.5, allocation="uniform", steps=count) for count in (1, steps))
    assert {name: len(kept) for name, kept in often.kept.items()} == {n: len(k) for n, k in once.kept.items()}


def test_between_steps_channels_are_ranked_again(model: FaceNet, faces: Tensor) -> None:
    """A filter that reads only what the first step removes is the next to leave, however large it was."""
    changed = FaceNet(model.spec).eval()
    changed.load_state_dict(model.state_dict())
    readers = changed.get_parameter("stages.1.1.conv1.weight").data
    first = prune(changed, 0.2, method="l1", allocation="uniform", steps=1, round_to=2).kept["stages.1.out"].tolist()
    lost = [channel for channel in range(readers.shape[1]) if channel not in first]
    readers[3] = 0
    readers[3, lost] = 10
    for steps, stays in ((1, True), (2, False)):
        kept = prune(changed, 0.4, method="l1", allocation="uniform", steps=steps, round_to=2).kept
        assert (3 in kept["stages.1.1.inner"].tolist()) == stays


def test_history_says_method_allocation_and_steps(model: FaceNet, tmp_path: Path) -> None:
    from edgeface.data.sample import sample_faces

    sample = sample_faces(None, 2)
    source, out = Checkpoint(model, CheckpointMeta()), tmp_path / "p.safetensors"
    how = {"faces": sample.crops, "source_of_faces": sample.source}
    prune_checkpoint(source, 0.5, out, method="taylor", allocation="global", steps=2, **how)
    line = load_checkpoint(out).meta.history[-1]
    assert line.startswith("pruned: ratio 0.5 requested, 0.")
    assert line.endswith("achieved, taylor, global on procedural faces, 2 steps")
    prune_checkpoint(source, 0.5, out, allocation="global")
    assert load_checkpoint(out).meta.history[-1].endswith("achieved, l1, global")
    prune_checkpoint(source, 0.5, out)
    assert load_checkpoint(out).meta.history[-1].endswith("achieved, l1, uniform")
    prune_checkpoint(source, 0.5, out, **how)
    assert load_checkpoint(out).meta.history[-1].endswith("achieved, l1, sensitivity on procedural faces")


def test_bad_settings_are_refused(model: FaceNet) -> None:
    with pytest.raises(InputError, match="unknown --allocation 'fair': choose one of sensitivity, uniform, global"):
        prune(model, 0.5, allocation="fair")
    for steps in (0, 101):
        with pytest.raises(InputError, match=f"--steps must lie between 1 and 100, got {steps}"):
            prune(model, 0.5, steps=steps)
    with pytest.raises(InputError, match=r"measured on faces: give them with --data"):
        prune(model, 0.5, allocation="sensitivity")
