"""Pruning of MobileFaceNet, ResNet-34 and every form of mask: equal to the silenced dense network, and smaller."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from edgeface.models import ArchSpec, CheckpointMeta, FaceNet, build_spec, count, load_checkpoint, save_checkpoint
from edgeface.models.checkpoint import Checkpoint
from edgeface.pruning import prune, silenced
from edgeface.pruning.allocate import achieved_ratio, allocate
from edgeface.pruning.groups import cuts, groups, resized, top_group
from edgeface.pruning.run import prune_checkpoint

NETS: dict[str, ArchSpec] = {
    "mobilefacenet": build_spec("mobilefacenet", 0.5),
    "mobilefacenet, decoder": build_spec("mobilefacenet", 0.5, mask="decoder", patterns=3),
    "mobilefacenet, spatial": build_spec("mobilefacenet", 0.5, mask="spatial", patterns=3),
    "mobilefacenet, vector, flatten": build_spec("mobilefacenet", 0.5, mask="vector", head="flatten", patterns=3),
    "resnet34": build_spec("resnet34", 0.25, input_size=(128, 96)),
    "resnet34, decoder": build_spec("resnet34", 0.25, mask="decoder", patterns=3),
    "resnet34, stride 2, pool": build_spec("resnet34", 0.25, stem_stride=2, head="pool"),
    "iresnet18, decoder, patterns": build_spec("iresnet18", 0.25, mask="decoder", patterns=3),
    "iresnet18, vector, depthwise": build_spec("iresnet18", 0.25, mask="vector", head="depthwise"),
}


@pytest.fixture(scope="module", params=NETS)
def dense(request: pytest.FixtureRequest, lived_in: Callable[[FaceNet], FaceNet]) -> FaceNet:
    torch.manual_seed(0)
    return lived_in(FaceNet(NETS[request.param]))


def faces_for(model: FaceNet) -> Tensor:
    return torch.rand(3, 3, *model.spec.input_size, generator=torch.Generator().manual_seed(2)) * 2 - 1


def removed(kept: dict[str, Tensor], model: FaceNet) -> dict[str, Tensor]:
    return {
        group.name: torch.tensor(sorted(set(range(group.width)) - set(kept[group.name].tolist())), dtype=torch.long)
        for group in groups(model.spec)
    }


@pytest.mark.parametrize("ratio", [0.1, 0.5])
def test_equals_the_dense_network_with_removed_channels_silenced(dense: FaceNet, ratio: float) -> None:
    faces = faces_for(dense)
    pruned = prune(dense, ratio, faces=faces if ratio == 0.5 else None)
    patterns = dense.pattern is not None
    with torch.no_grad():
        with silenced(dense, removed(pruned.kept, dense)):
            expected = dense.forward_masked(faces, patterns=patterns)
        found = pruned.model.forward_masked(faces, patterns=patterns)
        whole = dense(faces)
    assert (expected.embedding - found.embedding).abs().max() <= 1e-4 * max(1.0, float(whole.abs().max()))
    assert not torch.allclose(found.embedding, whole, atol=1e-2)
    if expected.pattern is not None and found.pattern is not None:
        torch.testing.assert_close(found.pattern, expected.pattern, rtol=1e-4, atol=1e-4)
    if ratio == 0.5 and dense.spec.name != "mobilefacenet":  # narrow ones are coarse in multiples of 8
        assert pruned.report.achieved == pytest.approx(ratio, abs=0.03)


def test_each_group_alone_equals_its_silencing(dense: FaceNet) -> None:
    """A place forgotten in silencing, or a tensor forgotten in cutting, may hide among many groups at once."""
    from edgeface.pruning.prune import shrink

    faces = faces_for(dense)[:1]
    parts = groups(dense.spec)
    everything = {part.name: torch.arange(part.width) for part in parts}
    for part in parts[:2] + parts[-8:]:
        if part.width == 1:
            continue
        kept = {**everything, part.name: torch.arange(part.width // 2)}
        with torch.no_grad():
            with silenced(dense, removed(kept, dense)):
                expected = dense(faces)
            found = shrink(dense, kept)(faces)
        assert (expected - found).abs().max() <= 1e-4 * max(1.0, float(expected.abs().max())), part.name


def test_groups_hold_every_filter_and_are_reported(dense: FaceNet) -> None:
    spec = dense.spec
    assert sum(part.filters for part in groups(spec)) == count(spec).filters
    convs = {name for name, module in dense.named_modules() if isinstance(module, torch.nn.Conv2d)}
    listed = [conv for part in groups(spec) for conv in part.convs]
    assert len(listed) == len(set(listed)) and set(listed) == convs


def test_every_tensor_is_covered_by_the_cuts(dense: FaceNet) -> None:
    """What no cut touches is as large in the network with every group halved."""
    spec = dense.spec
    half = FaceNet(resized(spec, {part.name: max(1, part.width // 2) for part in groups(spec)})).state_dict()
    table = cuts(spec)
    assert set(table) <= set(half)
    for name, tensor in dense.state_dict().items():
        fixed = half[name].shape == tensor.shape
        assert fixed == (
            name not in table
            or all(
                cut.group == "decoder.cells" and spec.mask is not None and spec.mask.kind == "spatial"
                for cut in table[name]
            )
        ), name


def test_mobilefacenets_groups_by_hand() -> None:
    spec = build_spec("mobilefacenet", mask="decoder")
    parts = {part.name: part for part in groups(spec)}
    assert parts["stem"].convs == ("stem.0", "stem.3")
    assert parts["stages.1.2.inner"].convs == ("stages.1.2.conv1", "stages.1.2.conv2")
    assert parts["stages.2.out"].convs == tuple(f"stages.2.{number}.conv3" for number in range(3))
    assert parts["top"].convs == ("top.0", "head.0", "decoder.conv2") and parts["top"].width == 512
    assert top_group(spec) == "top" and top_group(build_spec("resnet34")) == "stages.3.out"
    spatial = {part.name: part for part in groups(build_spec("resnet34", mask="spatial"))}
    assert spatial["decoder.cells"].width == 1
    assert spatial["stages.3.out"].convs == ("stages.3.0.shortcut.0", *(f"stages.3.{n}.conv2" for n in range(3)))


@pytest.mark.parametrize("mask", ["none", "decoder", "spatial", "vector"])
@pytest.mark.parametrize("arch", ["mobilefacenet", "resnet34"])
def test_at_full_width_ratio_is_met_and_counts_fall(arch: str, mask: str) -> None:
    spec = build_spec(arch, mask=mask)
    parts, before = groups(spec), count(spec)
    sensitivity = {part.name: float(np.random.default_rng(3).uniform(0.001, 0.9)) for part in parts}
    for ratio in (0.1, 0.2, 0.3, 0.4, 0.5):
        widths = allocate(parts, ratio, 8, sensitivity)
        assert abs(achieved_ratio(parts, widths) - ratio) <= 0.02
        after = count(resized(spec, widths))
        assert after.parameters < before.parameters and after.macs < before.macs
        assert after.filters == pytest.approx((1 - achieved_ratio(parts, widths)) * count(spec).filters)
        before = after


def test_pruned_ones_survive_save_and_load(dense: FaceNet, tmp_path: Path) -> None:
    path = tmp_path / "pruned.safetensors"
    height, width = dense.spec.input_size
    crops = np.random.default_rng(0).integers(0, 256, (2, height, width, 3), np.uint8)
    report = prune_checkpoint(Checkpoint(dense, CheckpointMeta()), 0.5, path, faces=crops)
    assert all(group.sensitivity is not None for group in report.groups)
    loaded = load_checkpoint(path)
    assert count(loaded.model.spec) == report.after
    save_checkpoint(tmp_path / "again.safetensors", loaded.model, loaded.meta)
    assert load_checkpoint(tmp_path / "again.safetensors").model.spec == loaded.model.spec
