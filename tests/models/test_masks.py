"""The three forms of mask and the pattern head: where they act, what they keep, how they come and go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from edgeface.models import (
    CheckpointMeta,
    FaceNet,
    add_mask,
    build_spec,
    count,
    load_checkpoint,
    pattern_classes,
    save_checkpoint,
    with_patterns,
)
from edgeface.models.decoder import OPEN_BIAS
from edgeface.models.pattern import EPSILON, STEP
from edgeface_runtime.errors import InputError

KINDS = ["decoder", "spatial", "vector"]


@pytest.fixture
def faces() -> torch.Tensor:
    return torch.rand(3, 3, 112, 96, generator=torch.Generator().manual_seed(2)) * 2 - 1


def net(kind: str, patterns: int = 0, arch: str = "iresnet18") -> FaceNet:
    torch.manual_seed(0)
    return FaceNet(build_spec(arch, 0.125, mask=kind, patterns=patterns)).eval()


def test_pattern_classes_of_the_paper() -> None:
    assert [pattern_classes(grid) for grid in (1, 3, 4, 5)] == [2, 37, 101, 226]


@pytest.mark.parametrize("arch", ["iresnet18", "mobilefacenet", "resnet34"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_mask_multiplies_what_it_is_for(
    kind: str, arch: str, faces: torch.Tensor, lived_in: Callable[[FaceNet], FaceNet]
) -> None:
    model = lived_in(net(kind, arch=arch))
    assert model.decoder is not None
    with torch.no_grad():
        top, found = model.top_map(faces), model.forward_masked(faces)
        assert found.mask is not None and found.pattern is None
        assert (
            found.mask.shape[1:]
            == {
                "decoder": (64, 7, 6),
                "spatial": (1, 7, 6),
                "vector": (model.spec.embedding,),
            }[kind]
        )
        assert 0 < float(found.mask.min()) < float(found.mask.max()) < 1
        expected = model.head(top) * found.mask if kind == "vector" else model.head(top * found.mask)
        assert torch.equal(found.embedding, expected)
        assert not torch.allclose(found.embedding, model.head(top))
        assert torch.equal(model.forward_masked(faces, use_mask=False).embedding, model.head(top))


@pytest.mark.parametrize("kind", KINDS)
def test_a_fresh_mask_is_nearly_open_and_keeps_what_is_trained(kind: str, faces: torch.Tensor) -> None:
    torch.manual_seed(0)
    model = FaceNet(build_spec("mobilefacenet", 0.25)).eval()
    masked = add_mask(model, kind=kind, patterns=3)
    assert not masked.training and masked.spec.mask is not None
    assert (masked.spec.mask.kind, masked.spec.mask.patterns) == (kind, 3)
    with torch.no_grad():
        assert torch.equal(masked.top_map(faces), model.top_map(faces))
        mask = masked.train().forward_masked(faces).mask  # as training begins: BN by the batch's own statistics
        assert mask is not None
        assert float((mask - torch.sigmoid(torch.tensor(OPEN_BIAS))).abs().max()) < 0.1
    assert masked.spec.mask.pyramid == 16  # a quarter of MobileFaceNet's 64
    with pytest.raises(InputError, match="mask decoder already"):
        add_mask(masked)
    with pytest.raises(InputError, match="--mask"):
        add_mask(model, kind="magic")


@pytest.mark.parametrize("kind", KINDS)
def test_the_pattern_head_by_hand(kind: str, faces: torch.Tensor) -> None:
    model = net(kind, patterns=4)
    assert model.pattern is not None
    flat = {"decoder": 64 * 42, "spatial": 42, "vector": 512}[kind]
    assert model.pattern.linear.weight.shape == (101, flat)
    with torch.no_grad():
        found = model.forward_masked(faces, patterns=True)
        assert found.mask is not None and found.pattern is not None
        values = found.mask.flatten(1) / (1 + EPSILON) ** 0.5  # untouched statistics: mean 0, variance 1
        expected = values @ model.pattern.linear.weight.T + model.pattern.linear.bias
        torch.testing.assert_close(found.pattern, expected)
        assert torch.equal(model(faces), found.embedding)
    model.train()
    torch.manual_seed(1)
    model.pattern.bn.eval()
    kept = []
    model.pattern.dropout.register_forward_hook(lambda module, inputs, output: kept.append(output != 0))
    model.forward_masked(faces, patterns=True)
    assert 0.3 < float(kept[0].float().mean()) < 0.7  # dropout .5


def test_the_patterns_weights_learn_slower_the_wider_they_are(faces: torch.Tensor) -> None:
    model = net("decoder", patterns=4).train()
    assert model.pattern is not None
    model.pattern.dropout.eval()
    labels = torch.arange(len(faces))
    found = model.forward_masked(faces, patterns=True)
    assert found.pattern is not None and found.mask is not None
    torch.nn.functional.cross_entropy(found.pattern, labels).backward()
    with torch.no_grad():
        inputs = model.pattern.bn(found.mask.flatten(1))
        error = found.pattern.softmax(1)
        error[labels, labels] -= 1
        plain = error.T @ inputs / len(faces)
    assert model.pattern.linear.weight.grad is not None
    torch.testing.assert_close(model.pattern.linear.weight.grad, plain * STEP / inputs.shape[1], atol=1e-6, rtol=1e-3)


def test_the_pattern_head_is_not_part_of_the_cost() -> None:
    plain, headed = build_spec("iresnet18", mask="decoder"), build_spec("iresnet18", mask="decoder", patterns=5)
    assert count(plain) == count(headed)
    own = 2 * 512 * 42 + 512 * 42 * 226 + 226
    assert count(headed, patterns=True).parameters - count(headed).parameters == own
    assert headed.deployed == plain and plain.deployed == plain


def test_patterns_come_and_go(faces: torch.Tensor, tmp_path: Path) -> None:
    model = net("decoder", patterns=3)
    save_checkpoint(tmp_path / "net.safetensors", model, CheckpointMeta())
    loaded = load_checkpoint(tmp_path / "net.safetensors").model
    with torch.no_grad():
        expected = model.forward_masked(faces, patterns=True)
        again = loaded.forward_masked(faces, patterns=True)
        assert expected.pattern is not None and again.pattern is not None
        assert torch.equal(again.pattern, expected.pattern)
        bare = with_patterns(model, 0)
        assert bare.pattern is None and torch.equal(bare(faces), expected.embedding)
        same = with_patterns(model, 3).forward_masked(faces, patterns=True).pattern
        assert same is not None and torch.equal(same, expected.pattern)
        other = with_patterns(model, 5).forward_masked(faces, patterns=True)
        assert other.pattern is not None and other.pattern.shape == (3, 226)
        assert torch.equal(other.embedding, expected.embedding)
        assert not with_patterns(model, 5).training
        with pytest.raises(InputError, match="no pattern head"):
            bare.forward_masked(faces, patterns=True)
    unmasked = FaceNet(build_spec("iresnet18", 0.125))
    assert with_patterns(unmasked, 0).spec == unmasked.spec
    with pytest.raises(InputError, match="needs a network with a mask"):
        with_patterns(unmasked, 3)
    with pytest.raises(InputError, match="--patterns must be"):
        with_patterns(model, 99)


def test_gradients_reach_everything_trained(faces: torch.Tensor) -> None:
    for kind in KINDS:
        model = net(kind, patterns=3).train()
        found = model.forward_masked(faces, patterns=True)
        assert found.pattern is not None
        (found.embedding.square().mean() + found.pattern.square().mean()).backward()
        assert [name for name, value in model.named_parameters() if value.grad is None] == []
