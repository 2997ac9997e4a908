"""Pruning to a latency, on a device whose profile is known: the target is met, by what costs least."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from edgeface.models import Checkpoint, CheckpointMeta, FaceNet, build_spec, count, load_checkpoint
from edgeface.models.spec import ArchSpec
from edgeface.models.units import Unit, units
from edgeface.pruning.depth import drop_blocks, left_blocks, removable
from edgeface.pruning.groups import groups
from edgeface.pruning.latency import Losses, prune_to_latency
from edgeface.pruning.latency.choices import FLOOR, predicted_ms, reachable_ms, shown_ms
from edgeface.pruning.latency.halfway import halfway
from edgeface.pruning.latency.prune import LatencyPruned
from edgeface.pruning.latency.run import save_pruned
from edgeface.pruning.prune import shrink
from edgeface.workflows.bundle_facts import pruning_method
from edgeface.workflows.profile.plan import grid
from edgeface_calibration.device_profile import Conditions, DeviceProfile, UnitCost
from edgeface_runtime.errors import InputError


def device(spec: ArchSpec, ms: Callable[[Unit, tuple[int, ...]], float]) -> DeviceProfile:
    """A profile of a device on which a unit takes `ms`."""
    costs = {}
    for unit in units(spec):
        axes = grid(unit.widths)
        places: list[tuple[int, ...]] = [()]
        for axis in axes:
            places = [(*place, width) for place in places for width in axis]
        costs[unit.key] = UnitCost(axes, tuple(ms(unit, place) for place in places), (0.0,) * len(places))
    return DeviceProfile(spec.name, Conditions("onnxruntime", "cpu", "fp32", 1, 1), costs)


def by_width(unit: Unit, widths: tuple[int, ...]) -> float:
    """Every unit takes as long as its channels are many."""
    return sum(widths) / 100


def by_depth(unit: Unit, widths: tuple[int, ...]) -> float:
    """Every unit takes a millisecond, as on a device that is far from full."""
    return 1.0 + sum(widths) / 1e6


@pytest.fixture(scope="module")
def dense(lived_in: Callable[[FaceNet], FaceNet]) -> FaceNet:
    torch.manual_seed(0)
    return lived_in(FaceNet(build_spec("iresnet18", 0.25, mask="decoder")))


@pytest.fixture
def losses(dense: FaceNet) -> Losses:
    """Every group alike but one, and one block that nobody misses."""
    alike = {part.name: (0.01, 0.03, 0.09) for part in groups(dense.spec)}
    blocks = {f"stages.{index}.1": 0.5 for index in range(4)}
    return Losses({**alike, "stages.1.out": (0.5, 0.7, 0.9)}, {**blocks, "stages.2.1": 0.001})


def width(pruned: LatencyPruned, name: str) -> int:
    return next(group.after for group in pruned.report.groups if group.name == name)


def test_meets_the_target_and_spares_what_is_sensitive(dense: FaceNet, losses: Losses) -> None:
    profile = device(dense.spec, by_width)
    before = predicted_ms(profile, dense.spec)
    found = prune_to_latency(dense, profile, 0.7 * before, losses)
    assert 0.66 * before < found.report.predicted_ms <= 0.7 * before
    assert found.report.predicted_ms == pytest.approx(predicted_ms(profile, found.model.spec))
    assert found.report.blocks_removed == ("stages.2.1",) and width(found, "stages.2.1.inner") == 0
    assert width(found, "stages.1.out") == dense.spec.stages[1].out
    assert len(found.model.spec.stages[2].inner) == 1
    assert found.report.after == count(found.model.spec)
    kept = {g.name: g.after / g.before for g in found.report.groups if g.after}
    assert min(kept.values()) >= FLOOR and sum(share < 1 for share in kept.values()) >= 5
    assert found.report.expected_loss == pytest.approx(sum(g.loss for g in found.report.groups))
    assert found.report.achieved_ratio == pytest.approx(
        1 - count(found.model.spec).filters / count(dense.spec).filters
    )
    with torch.inference_mode():
        assert torch.isfinite(found.model(torch.zeros(1, 3, 112, 96))).all()


def test_where_depth_is_what_costs_blocks_go(dense: FaceNet, losses: Losses) -> None:
    profile = device(dense.spec, by_depth)
    before = predicted_ms(profile, dense.spec)
    found = prune_to_latency(dense, profile, before - 1.9, losses)
    assert len(found.report.blocks_removed) == 2 and "stages.2.1" in found.report.blocks_removed
    assert all(g.after == g.before for g in found.report.groups if g.after)


def test_blocks_stay_where_only_widths_may_go(dense: FaceNet, losses: Losses) -> None:
    profile = device(dense.spec, by_width)
    target = 0.7 * predicted_ms(profile, dense.spec)
    found = prune_to_latency(dense, profile, target, losses, keep_blocks=True)
    assert not found.report.blocks_removed and found.report.predicted_ms <= target
    assert reachable_ms(dense.spec, profile, keep_blocks=True) > reachable_ms(dense.spec, profile)


def test_a_kept_block_keeps_its_own_weights(dense: FaceNet, losses: Losses) -> None:
    profile = device(dense.spec, by_depth)
    found = prune_to_latency(dense, profile, predicted_ms(profile, dense.spec) - 0.9, losses)
    assert found.report.blocks_removed == ("stages.2.1",)
    for name, tensor in found.model.state_dict().items():
        assert torch.equal(tensor, dense.state_dict()[name])  # nothing stands behind the block in its stage


def test_a_target_out_of_reach_is_refused_with_what_is(dense: FaceNet, losses: Losses) -> None:
    profile = device(dense.spec, by_width)
    least = reachable_ms(dense.spec, profile)
    assert 0 < least < 0.4 * predicted_ms(profile, dense.spec)
    with pytest.raises(InputError, match=rf"cannot be reached: {shown_ms(least)} ms can"):
        prune_to_latency(dense, profile, 0.99 * least, losses)
    assert prune_to_latency(dense, profile, 1.001 * least, losses).report.predicted_ms <= 1.001 * least
    assert float(shown_ms(least)) >= least and [shown_ms(ms) for ms in (0.74639, 12.001, 3.0)] == [
        "0.747",
        "12.1",
        "3",
    ]


def test_another_networks_profile_is_refused(dense: FaceNet, losses: Losses) -> None:
    narrow = device(build_spec("iresnet18", 0.125, mask="decoder"), by_width)
    with pytest.raises(InputError, match="16 channels, and the profile ends at 8"):
        prune_to_latency(dense, narrow, 1.0, losses)
    other = device(build_spec("iresnet18", 0.25), by_width)
    with pytest.raises(InputError, match="has no unit 'lateral"):
        prune_to_latency(dense, other, 1.0, losses)


def test_the_checkpoint_tells_what_was_done(tmp_path: Path, dense: FaceNet, losses: Losses) -> None:
    profile = device(dense.spec, by_width)
    found = prune_to_latency(dense, profile, 0.6 * predicted_ms(profile, dense.spec), losses)
    source = Checkpoint(dense, CheckpointMeta(stage="clean", ratio_achieved=0.5, ratio_requested=0.5))
    save_pruned(tmp_path / "p.safetensors", source, found, profile, "faces of here")
    again = load_checkpoint(tmp_path / "p.safetensors")
    assert again.model.spec == found.model.spec and again.meta.stage == "pruned"
    assert again.meta.ratio_achieved == pytest.approx(1 - 0.5 * (1 - found.report.achieved_ratio), abs=1e-6)
    assert "onnxruntime on cpu, fp32, batch 1" in again.meta.history[-1] and "stages.2.1" in again.meta.history[-1]
    assert re.fullmatch(r"to [\d.]+ ms, l1", pruning_method(again.meta.history)), "as the benchmark tells it"


def test_steps_tell_of_the_first_network_and_keep_its_weights(dense: FaceNet) -> None:
    profile = device(dense.spec, by_depth)
    before, faces = predicted_ms(profile, dense.spec), torch.rand(2, 3, 112, 96) * 2 - 1
    words: list[str] = []
    target = before - 2.9
    way = halfway(dense, profile, target, faces, steps=2, progress=words.append)
    assert len(way.origin.blocks) == 8 - 2 and len(words) > len(groups(dense.spec)) + 4
    found = prune_to_latency(way.model, profile, target, way.losses, origin=way.origin)
    gone = found.report.blocks_removed
    assert len(gone) == 3 and set(gone) < set(removable(dense.spec))
    assert found.report.before_ms == before and found.report.predicted_ms <= target
    assert {g.name: g.before for g in found.report.groups} == {g.name: g.width for g in groups(dense.spec)}
    assert found.report.before == count(dense.spec)
    assert found.origin.blocks == left_blocks(dense.spec, gone)
    for now, first in found.origin.blocks.items():
        own, whole = found.model.get_submodule(now), dense.get_submodule(first)
        assert all(torch.equal(a, b) for a, b in zip(own.parameters(), whole.parameters(), strict=True))


def test_steps_remember_which_channels_of_the_first_network_stayed(dense: FaceNet) -> None:
    profile = device(dense.spec, by_width)
    target = 0.5 * predicted_ms(profile, dense.spec)
    way = halfway(dense, profile, target, torch.rand(2, 3, 112, 96) * 2 - 1, steps=3)
    found = prune_to_latency(way.model, profile, target, way.losses, origin=way.origin)
    shallow = drop_blocks(dense, found.report.blocks_removed)
    first = {group.name: found.origin.name(group.name) for group in groups(shallow.spec)}
    again = shrink(shallow, {name: found.origin.kept[whole] for name, whole in first.items()})
    assert again.spec == found.model.spec and len(found.report.blocks_removed) < len(removable(dense.spec))
    for name, tensor in found.model.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


def test_steps_never_cut_below_the_first_networks_floor(dense: FaceNet) -> None:
    profile = device(dense.spec, by_width)
    target = 1.02 * reachable_ms(dense.spec, profile)
    faces = torch.rand(2, 3, 112, 96) * 2 - 1
    way = halfway(dense, profile, target, faces, steps=2)
    found = prune_to_latency(way.model, profile, target, way.losses, origin=way.origin)
    assert found.report.predicted_ms <= target
    assert min(g.after / g.before for g in found.report.groups if g.after) >= FLOOR


def test_blocks_move_up() -> None:
    spec = build_spec("iresnet18")
    assert left_blocks(spec, ["stages.1.1"])["stages.1.0"] == "stages.1.0"
    deeper = left_blocks(build_spec("iresnet50"), ["stages.2.1", "stages.2.3"])
    assert [deeper[f"stages.2.{number}"][9:] for number in range(4)] == ["0", "2", "4", "5"]
    assert len(deeper) == 24 - 2


def test_a_network_is_refitted_before_it_is_measured_again(dense: FaceNet) -> None:
    profile = device(dense.spec, by_width)
    target = 0.45 * predicted_ms(profile, dense.spec)
    faces = torch.rand(12, 3, 112, 96, generator=torch.Generator().manual_seed(1)) * 2 - 1
    measured, refit, unseen = faces[:2], faces[2:10], faces[10:]
    likeness = {}
    for name, given in (("cut", None), ("refitted", refit)):
        way = halfway(dense, profile, target, measured, steps=2, refit=given)
        with torch.inference_mode():
            likeness[name] = float(torch.nn.functional.cosine_similarity(dense(unseen), way.model(unseen)).mean())
    assert likeness["refitted"] > likeness["cut"] + 0.05, likeness
