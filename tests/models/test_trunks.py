"""MobileFaceNet and ResNet-34: counted by hand from their tables, built as counted, at both input sizes."""

from __future__ import annotations

import pytest
import torch

from edgeface.models import ArchSpec, FaceNet, build_spec, count, mobilefacenet, resnet34
from edgeface.models.count import convolutions
from edgeface_runtime.errors import ArtefactError, InputError


def test_mobilefacenet_parameters_by_hand() -> None:
    def block(channels: int, expansion: int, out: int) -> int:
        inner = channels * expansion
        expand, depthwise, project = channels * inner, 9 * inner, inner * out
        return expand + depthwise + project + 6 * inner + 2 * out  # two BN + PReLU, and a BN

    stem = 3 * 64 * 9 + 3 * 64 + 64 * 9 + 3 * 64
    blocks = 5 * block(64, 2, 64) + block(64, 4, 128) + 6 * block(128, 2, 128) + block(128, 4, 128)
    blocks += 2 * block(128, 2, 128)
    ends = 128 * 512 + 3 * 512 + 512 * 7 * 6 + 2 * 512 + 512 * 128 + 2 * 128
    assert count(mobilefacenet()).parameters == stem + blocks + ends == 999_552


def test_mobilefacenet_macs_by_hand() -> None:
    sizes = [56 * 48, 28 * 24, 14 * 12, 7 * 6]
    macs = (3 * 64 * 9 + 64 * 9) * sizes[0]
    for place, first, inner, out, blocks in ((1, 128, 128, 64, 5), (2, 256, 256, 128, 7), (3, 512, 256, 128, 3)):
        channels = 64 if place < 3 else 128
        macs += channels * first * sizes[place - 1] + (9 * first + first * out) * sizes[place]
        macs += (blocks - 1) * (out * inner + 9 * inner + inner * out) * sizes[place]
    macs += 128 * 512 * sizes[3] + 512 * 42 + 512 * 128
    assert count(mobilefacenet()).macs == macs


def test_resnet34_by_hand() -> None:
    weights, previous = 3 * 64 * 9, 64
    small = 3 * 64
    for blocks, width in ((3, 64), (4, 128), (6, 256), (3, 512)):
        weights += previous * width * 9 + (2 * blocks - 1) * width * width * 9 + previous * width
        small += blocks * (3 * width + 2 * width + width) + 2 * width
        previous = width
    assert sum(conv.weights for conv in convolutions(resnet34())) == weights
    flat = 512 * 42
    assert count(resnet34()).parameters == weights + small + 2 * flat + flat * 512 + 512 + 2 * 512
    # At 128x96: every conv of a stage sees a quarter of the positions of the one before; 48 cells on top.
    tall = build_spec("resnet34", input_size=(128, 96))
    assert tall.top_size == (8, 6)
    assert count(tall).parameters - count(resnet34()).parameters == 512 * 6 * (512 + 2)


@pytest.mark.parametrize("mask", ["none", "decoder", "spatial", "vector"])
@pytest.mark.parametrize(
    ("arch", "options"),
    [
        ("mobilefacenet", {}),
        ("mobilefacenet", {"head": "flatten", "embedding": 64}),
        ("resnet34", {"input_size": (128, 96)}),
        ("resnet34", {"stem_stride": 2, "head": "depthwise"}),
        ("iresnet18", {"input_size": (64, 32), "head": "pool"}),
    ],
)
def test_counts_match_the_built_network(arch: str, options: dict[str, object], mask: str) -> None:
    patterns = 0 if mask == "none" else 3
    spec = build_spec(arch, 0.125, mask=mask, patterns=patterns, **options)  # type: ignore[arg-type]
    model, seen = FaceNet(spec).eval(), 0
    whole = count(spec, patterns=True)
    assert whole.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert whole.filters == sum(m.out_channels for m in model.modules() if isinstance(m, torch.nn.Conv2d))

    def hook(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal seen
        seen += output.numel() * int(module.weight[0].numel())  # type: ignore[index, union-attr, operator]

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(hook)
    with torch.no_grad():
        top = model.top_map(torch.zeros(1, 3, *spec.input_size))
        seen = 0
        found = model.forward_masked(torch.zeros(1, 3, *spec.input_size), patterns=bool(patterns))
    assert seen == whole.macs
    assert top.shape == (1, spec.top_channels, *spec.top_size)
    assert found.embedding.shape == (1, spec.embedding)
    if patterns:
        assert found.mask is not None and found.mask.shape == (1, *spec.mask_shape)
        assert found.pattern is not None and found.pattern.shape == (1, 37)
        without = count(spec)
        assert without == count(spec.deployed) and without.parameters < whole.parameters


@pytest.mark.parametrize("stem_stride", [1, 2])
def test_resnet34_stages_at_128x96(stem_stride: int) -> None:
    model = FaceNet(build_spec("resnet34", 0.125, stem_stride=stem_stride, input_size=(128, 96))).eval()
    with torch.no_grad():
        maps = model.maps(torch.zeros(1, 3, 128, 96))
    assert [tuple(found.shape[1:]) for found in maps] == [(8, 64, 48), (16, 32, 24), (32, 16, 12), (64, 8, 6)]
    assert [len(stage) for stage in model.stages] == [3, 4, 6, 3]  # type: ignore[arg-type]


def test_mobilefacenets_top_map_is_its_last_1x1() -> None:
    model = FaceNet(build_spec("mobilefacenet")).eval()
    with torch.no_grad():
        maps = model.maps(torch.zeros(1, 3, 112, 96))
    assert [tuple(found.shape[1:]) for found in maps] == [(64, 28, 24), (128, 14, 12), (512, 7, 6)]


def test_descriptions_of_older_networks_stay_as_they_were() -> None:
    data = build_spec("iresnet50", mask="decoder").to_dict()
    assert set(data) == {"name", "stem", "stages", "stem_stride", "head", "embedding", "input_size", "mask"}
    assert data["mask"] == {"kind": "decoder", "pyramid": 256, "smooth": 256, "decoder": 256}
    assert ArchSpec.from_dict(data) == build_spec("iresnet50", mask="decoder")


@pytest.mark.parametrize("arch", ["mobilefacenet", "resnet34"])
@pytest.mark.parametrize("mask", ["none", "decoder", "spatial", "vector"])
def test_descriptions_survive(arch: str, mask: str) -> None:
    spec = build_spec(arch, 0.5, mask=mask, patterns=0 if mask == "none" else 5, input_size=(64, 48))
    assert ArchSpec.from_dict(spec.to_dict()) == spec
    with pytest.raises(ArtefactError, match="too new: unknown field 'novel'"):
        ArchSpec.from_dict({**spec.to_dict(), "novel": 1})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"input_size": (112, 100)}, "--input-size must be multiples of 16, got 112x100"),
        ({"input_size": (0, 96)}, "--input-size"),
        ({"stem_stride": 1}, "--stem-stride of mobilefacenet is 2"),
        ({"mask": "magic"}, "choose none, decoder, spatial, vector"),
        ({"patterns": 3}, "--patterns needs a mask"),
        ({"mask": "decoder", "patterns": 99}, "--patterns must be 0"),
        ({"mask": "decoder", "patterns": -1}, "--patterns must be 0"),
    ],
)
def test_impossible_trunks_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_spec("mobilefacenet", **arguments)  # type: ignore[arg-type]
