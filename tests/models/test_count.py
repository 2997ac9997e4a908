"""Parameters and MACs against hand counts of Table 1 and against the built network."""

from __future__ import annotations

import pytest
import torch

from edgeface.models import ArchSpec, FaceNet, MaskSpec, StageSpec, build_spec, count, iresnet50
from edgeface.models.count import convolutions

# Table 1, right column, by hand: (1x1 weights, 3x3 weights, shortcut) per stage.
STAGES = {
    "conv2_x": 3 * 64 * 64 + 3 * 64 * 64 * 9 + 64 * 64,
    "conv3_x": (64 + 3 * 128) * 64 + 4 * 64 * 128 * 9 + 64 * 128,
    "conv4_x": (128 + 13 * 256) * 128 + 14 * 128 * 256 * 9 + 128 * 256,
    "conv5_x": (256 + 2 * 512) * 256 + 3 * 256 * 512 * 9 + 256 * 512,
}


def test_convolution_weights_match_table_1() -> None:
    found = sum(conv.weights for conv in convolutions(iresnet50()))
    assert found == 64 * 3 * 9 + sum(STAGES.values()) == 9_062_080


def test_a_tiny_network_counted_by_hand() -> None:
    spec = ArchSpec(
        "tiny",
        2,
        (StageSpec(3, (1,)),) * 3,
        embedding=4,
        input_size=(16, 16),
        mask=MaskSpec(pyramid=2, smooth=3, decoder=1),
    )
    # Stem on 16x16; stages end at 8, 4, 2, each 1x1 before the stride; decoder: smooth at 8, conv1 at 4, conv2 at 2.
    stem = 54 * 256
    stage1 = (2 * 1) * 256 + (2 * 3) * 64 + (1 * 3 * 9) * 64
    stage2 = (3 * 1) * 64 + (3 * 3) * 16 + 27 * 16
    stage3 = (3 * 1) * 16 + (3 * 3) * 4 + 27 * 4
    decoder = 3 * 2 * (64 + 16 + 4) + (2 * 3 * 9) * 64 + (3 * 1 * 9) * 16 + (1 * 3 * 9) * 4
    head = 3 * 4 * 4
    assert count(spec).macs == stem + stage1 + stage2 + stage3 + decoder + head
    assert count(spec).filters == 2 + 3 * (1 + 3 + 3) + 3 * 2 + 3 + 1 + 3


@pytest.mark.parametrize(
    ("mask", "head", "stem_stride"),
    [("none", "flatten", 1), ("decoder", "flatten", 1), ("none", "pool", 1), ("decoder", "pool", 2)],
)
def test_parameters_match_the_built_network(mask: str, head: str, stem_stride: int) -> None:
    spec = build_spec("iresnet18", 0.25, mask=mask, head=head, stem_stride=stem_stride)
    assert count(spec).parameters == sum(parameter.numel() for parameter in FaceNet(spec).parameters())


def test_the_two_readings_of_the_paper() -> None:
    flat, pooled = count(iresnet50()), count(build_spec("iresnet50", head="pool"))
    assert round(flat.parameters / 1e6, 2) == 20.15
    assert round(flat.macs / 1e9, 2) == 1.59
    assert round(pooled.parameters / 1e6, 1) == 9.4
    strided = count(build_spec("iresnet50", stem_stride=2))
    assert strided.parameters == flat.parameters
    # Only conv1 and the first block's 1x1 see fewer positions: a quarter.
    saved = (64 * 3 * 9 + 64 * 64) * (112 * 96 - 56 * 48)
    assert flat.macs - strided.macs == saved


def test_macs_match_hooks_on_a_forward() -> None:
    spec = build_spec("iresnet18", 0.25, mask="decoder")
    model, seen = FaceNet(spec).eval(), 0

    def hook(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal seen
        per_output = module.weight[0].numel()  # type: ignore[union-attr, index, operator]
        seen += output.numel() * int(per_output)

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.Linear):
            module.register_forward_hook(hook)
    with torch.no_grad():
        model(torch.zeros(1, 3, 112, 96))
    assert seen == count(spec).macs
