"""Segmenters: counted by hand and by hooks, any multiple of 16, rebuilt from the file alone, refused when foreign."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from edgeface.models import CheckpointMeta, FaceNet, build_spec, load_checkpoint, save_checkpoint
from edgeface.models.segmenter import (
    SEGMENTERS,
    Segmenter,
    SegmenterMeta,
    SegmenterSpec,
    build_segmenter,
    build_segmenter_spec,
    count_segmenter,
    is_segmenter,
    load_segmenter,
    read_segmenter,
    record_segmentation,
    save_segmenter,
)
from edgeface_runtime.errors import ArtefactError, InputError


def macs_by_hooks(model: Segmenter) -> int:
    """From one forward pass: weights of each convolution times the pixels it gives."""
    found = 0

    def add(module: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal found
        assert isinstance(module, nn.Conv2d)
        found += module.weight.numel() * output.shape[2] * output.shape[3]

    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(add)
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, *model.input_size))
    return found


@pytest.mark.parametrize(
    ("arch", "size", "width"),
    [
        ("unet-light", (112, 96), 1.0),
        ("unet-light", (128, 96), 0.5),
        ("unet-vgg16", (112, 96), 1 / 8),
        ("unet-vgg16", (48, 16), 1 / 16),
    ],
)
def test_counts_are_those_of_the_network(arch: str, size: tuple[int, int], width: float) -> None:
    model = build_segmenter(arch, size, width)
    counts = count_segmenter(model.spec)
    assert counts.parameters == sum(parameter.numel() for parameter in model.parameters())
    assert counts.macs == macs_by_hooks(model)
    assert counts.filters == sum(m.out_channels for m in model.modules() if isinstance(m, nn.Conv2d))


def test_a_count_by_hand() -> None:
    """16x16, eight channels and one convolution at each level: areas 256, 64, 16, 4, 1."""
    counts = count_segmenter(SegmenterSpec("tiny", "plain", (8,) * 5, (1,) * 5, 1, (16, 16)))
    down = 3 * 8 * 9 * 256 + 8 * 8 * 9 * (64 + 16 + 4 + 1)
    up = 16 * 8 * 9 * (256 + 64 + 16 + 4)
    assert counts.macs == down + up + 8 * 256 == 497_984
    weights = 3 * 8 * 9 + 4 * 8 * 8 * 9 + 4 * 16 * 8 * 9
    assert counts.parameters == weights + 9 * 2 * 8 + (8 + 1) == 7_281
    assert counts.filters == 9 * 8 + 1


def test_the_light_one_fits_a_device() -> None:
    counts = count_segmenter(SEGMENTERS["unet-light"])
    assert counts.macs <= 50_000_000 and counts.parameters <= 300_000


def test_the_encoder_is_vgg16() -> None:
    """Its 13 convolutions, 64 to 512; without biases, which BN has: 14,714,688 weights less 4,224 biases."""
    with torch.device("meta"):
        encoder = build_segmenter("unet-vgg16").encoder
    convs = [module for module in encoder.modules() if isinstance(module, nn.Conv2d)]
    assert [conv.out_channels for conv in convs] == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    assert sum(conv.weight.numel() for conv in convs) == 14_714_688 - 4_224


@pytest.mark.parametrize("arch", sorted(SEGMENTERS))
@pytest.mark.parametrize("size", [(112, 96), (128, 96), (16, 32)])
def test_a_logit_for_every_pixel(arch: str, size: tuple[int, int]) -> None:
    model = build_segmenter(arch, width=0.125).eval()
    with torch.no_grad():
        assert model(torch.zeros(2, 3, *size)).shape == (2, 1, *size)


def test_what_cannot_be_built_is_refused() -> None:
    with pytest.raises(InputError, match="unet-light, unet-vgg16"):
        build_segmenter("unet")
    with pytest.raises(InputError, match="multiples of 16"):
        build_segmenter("unet-light", (112, 100))
    with pytest.raises(InputError, match="--width"):
        build_segmenter("unet-light", width=0)


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, Segmenter]:
    torch.manual_seed(0)
    model = build_segmenter("unet-light", (32, 16), 0.5).eval()
    path = tmp_path / "segmenter.safetensors"
    save_segmenter(path, model, SegmenterMeta(data="faces", seed=3, occluders=("mask", "block"), iou=0.5))
    return path, model


def test_round_trip(saved: tuple[Path, Segmenter]) -> None:
    path, model = saved
    loaded = load_segmenter(path)
    x = torch.randn(2, 3, 32, 16)
    with torch.no_grad():
        assert torch.equal(loaded(x), model(x))
    spec, meta = read_segmenter(path)
    assert spec == model.spec == build_segmenter_spec("unet-light", (32, 16), 0.5)
    assert meta == SegmenterMeta(data="faces", seed=3, occluders=("mask", "block"), iou=0.5)
    assert not loaded.training and is_segmenter(path)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_a_result_is_recorded_once_per_protocol(saved: tuple[Path, Segmenter]) -> None:
    path, _ = saved
    for value in (0.5, 0.6):
        record_segmentation(path, {"protocol": "lfw, mask", "iou": value})
    record_segmentation(path, {"protocol": "lfw, block", "iou": 0.9})
    assert [entry["iou"] for entry in read_segmenter(path)[1].accuracy] == [0.6, 0.9]


def test_damage_is_refused(saved: tuple[Path, Segmenter], tmp_path: Path) -> None:
    path, _ = saved
    whole = path.read_bytes()
    for size in (0, 100, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(ArtefactError, match="damaged or truncated"):
            load_segmenter(path)
    torch.save({"a": torch.zeros(1)}, path)
    with pytest.raises(ArtefactError, match="pickle"):
        load_segmenter(path)
    with pytest.raises(InputError, match="not found"):
        load_segmenter(tmp_path / "none.safetensors")


def _rewrite(path: Path, **changes: str) -> None:
    with safe_open(str(path), framework="pt") as stream:
        metadata = {**stream.metadata(), **changes}
        tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
    save_file(tensors, str(path), metadata=metadata)


def test_foreign_and_newer_files_are_refused(saved: tuple[Path, Segmenter]) -> None:
    path, model = saved
    _rewrite(path, version="2")
    with pytest.raises(ArtefactError, match="upgrade"):
        load_segmenter(path)
    _rewrite(path, version="1", arch="[]")
    with pytest.raises(ArtefactError, match="damaged segmenter metadata"):
        load_segmenter(path)
    save_segmenter(path, model, SegmenterMeta())
    other = build_segmenter_spec("unet-light", (32, 16), 1.0).to_dict()
    _rewrite(path, arch=str(other).replace("'", '"').replace("(", "[").replace(")", "]"))
    with pytest.raises(ArtefactError, match="do not fit"):
        load_segmenter(path)
    model.out.weight.data[:] = float("nan")
    save_segmenter(path, model, SegmenterMeta())
    with pytest.raises(ArtefactError, match="not finite"):
        load_segmenter(path)


def test_checkpoints_and_segmenters_are_told_apart(saved: tuple[Path, Segmenter], tmp_path: Path) -> None:
    path, _ = saved
    with pytest.raises(ArtefactError, match="not an edgeface checkpoint"):
        load_checkpoint(path)
    face = tmp_path / "face.safetensors"
    save_checkpoint(face, FaceNet(build_spec("iresnet18", 0.125)), CheckpointMeta())
    with pytest.raises(ArtefactError, match="an edgeface checkpoint, not a segmenter"):
        load_segmenter(face)
    assert not is_segmenter(face)
