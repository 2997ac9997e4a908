"""Least-squares repair: exact where nothing was lost, better than a bare cut elsewhere, on faces it has not seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgeface.models import FaceNet, build_spec
from edgeface.pruning import prune
from edgeface.pruning.depth import drop_blocks, left_blocks
from edgeface.pruning.groups import groups
from edgeface.pruning.least_squares import cells_of, fit, patches
from edgeface.pruning.prune import shrink
from edgeface.pruning.reconstruct import reconstruct


def net(arch: str, lived_in: Callable[[FaceNet], FaceNet], mask: str = "none") -> FaceNet:
    torch.manual_seed(0)
    return lived_in(FaceNet(build_spec(arch, 0.25, mask=mask)))


def faces(count: int, seed: int) -> Tensor:
    coarse = torch.randn(count, 3, 14, 12, generator=torch.Generator().manual_seed(seed))
    return nn.functional.interpolate(coarse, (112, 96), mode="bilinear").clamp(-1, 1)


def likeness(a: Tensor, b: Tensor) -> float:
    return float(nn.functional.cosine_similarity(a - a.mean(0), b - a.mean(0)).mean())


@pytest.mark.parametrize("rows", [40, 8])
def test_fit_is_numpys_least_squares(rows: int) -> None:
    """Both systems, against the augmented one: rows of the pull under the data."""
    rng = np.random.default_rng(0)
    reads, wanted, weight = rng.normal(size=(rows, 12)), rng.normal(size=(rows, 3)), rng.normal(size=(3, 12))
    reads += 2
    centre, middle = reads.mean(0), wanted.mean(0)
    pull = 0.1 * np.square(reads - centre).mean() * rows
    system = np.vstack([reads - centre, np.sqrt(pull) * np.eye(12)])
    goal = np.vstack([wanted - middle, np.sqrt(pull) * weight.T])
    best = np.linalg.lstsq(system, goal, rcond=None)[0].T
    found, offset = fit(*(torch.from_numpy(values) for values in (reads, wanted, weight)), 0.1, True)
    np.testing.assert_allclose(found.numpy(), best, atol=1e-8)
    np.testing.assert_allclose(offset.numpy(), middle - best @ centre, atol=1e-8)


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (3, 1, 1), (1, 1, 0), (1, 2, 0)])
def test_a_convolution_is_its_patches_times_its_weight(kernel: int, stride: int, padding: int) -> None:
    torch.manual_seed(0)
    conv, maps = nn.Conv2d(5, 7, kernel, stride, padding, bias=False), torch.randn(3, 5, 9, 8)
    given = conv(maps)
    cells = torch.stack([torch.randperm(given.shape[2] * given.shape[3])[:6] for _ in range(3)])
    found = patches(maps, conv, given.shape[3], cells) @ conv.weight.flatten(1).T
    assert torch.allclose(found, cells_of(given, cells), atol=1e-5)


@pytest.mark.parametrize("arch", ["iresnet18", "iresnet50"])
def test_nothing_is_lost_where_channels_were_doubled(
    arch: str, lived_in: Callable[[FaceNet], FaceNet], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of every inner width repeats the other half: the next layer can take over its weights exactly."""
    monkeypatch.setattr("edgeface.pruning.reconstruct.RIDGE", 1e-4)
    monkeypatch.setattr("edgeface.pruning.reconstruct.HEAD_RIDGES", (1e-6,))
    whole = net(arch, lived_in)
    kept = {}
    for group in groups(whole.spec):
        kept[group.name] = torch.arange(group.width)
        if not group.name.endswith(".inner"):
            continue
        block, half = whole.get_submodule(group.name.removesuffix(".inner")), group.width // 2
        behind = ("conv1", "bn2", "prelu") if whole.spec.block == "bottle" else ("conv1", "bn1", "prelu1")
        for layer in behind:
            for tensor in block.get_submodule(layer).state_dict().values():
                if tensor.dim():
                    tensor[half:] = tensor[: group.width - half]
        kept[group.name] = torch.arange(group.width - half)
    smaller, unseen = shrink(whole, kept), faces(16, 1)
    with torch.no_grad():
        assert likeness(whole(unseen), smaller(unseen)) < 0.9
        reconstruct(whole, smaller, kept, faces(64, 2))
        assert torch.allclose(whole(unseen), smaller(unseen), atol=2e-2 * float(whole(unseen).abs().max()))


@pytest.mark.parametrize(
    ("arch", "mask", "gain"),
    [("iresnet18", "spatial", 0.1), ("iresnet50", "decoder", 0.1), ("mobilefacenet", "vector", 0.04)],
)
def test_faces_not_seen_come_nearer(
    arch: str, mask: str, gain: float, lived_in: Callable[[FaceNet], FaceNet]
) -> None:
    whole = net(arch, lived_in, mask)
    state = {name: value.clone() for name, value in whole.state_dict().items()}
    cut = prune(whole, 0.3)
    unseen = faces(24, 1)
    with torch.no_grad():
        before = likeness(whole(unseen), cut.model(unseen))
        reconstruct(whole, cut.model, cut.kept, faces(96, 2))
        after = likeness(whole(unseen), cut.model(unseen))
    assert after > before + gain, (before, after)
    assert all(torch.equal(value, state[name]) for name, value in whole.state_dict().items())


@pytest.mark.parametrize("last", [False, True])
def test_blocks_that_are_gone_are_made_up_for(last: bool, lived_in: Callable[[FaceNet], FaceNet]) -> None:
    """In the middle of a stage, and at the end of one whose map the mask reads."""
    whole = net("iresnet18" if last else "iresnet50", lived_in, "decoder")
    gone = ["stages.1.1", "stages.2.1"]
    shallow = drop_blocks(whole, gone)
    kept = {group.name: torch.arange(group.width) for group in groups(whole.spec)}
    unseen = faces(24, 1)
    with torch.no_grad():
        before = likeness(whole(unseen), shallow(unseen))
        reconstruct(whole, shallow, kept, faces(96, 2), blocks=left_blocks(whole.spec, gone))
        after = likeness(whole(unseen), shallow(unseen))
    assert after > before + 0.05, (before, after)
