"""A MobileFaceNet trained elsewhere gives, once converted, what a forward written from its description gives."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from edgeface.models import FaceNet, count, load_checkpoint, save_checkpoint
from edgeface.models.teacher import read_mobilefacenet
from edgeface_runtime.errors import ArtefactError, InputError

ROWS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))


def described(w: dict[str, Tensor], x: Tensor) -> Tensor:
    """(N, 3, 112, 96) RGB (x - 127.5) / 128 -> (N, 128), functional, straight from the data set's README."""

    def bn(x: Tensor, name: str) -> Tensor:
        scale, shift = w[f"{name}.weight"], w[f"{name}.bias"]
        return F.batch_norm(x, w[f"{name}.running_mean"], w[f"{name}.running_var"], scale, shift)

    def layer(x: Tensor, name: str, stride: int = 1, padding: int = 1, groups: int = 1) -> Tensor:
        x = F.conv2d(x, w[f"{name}.conv.weight"], stride=stride, padding=padding, groups=groups)
        return bn(x, f"{name}.bn")

    x = F.prelu(layer(x, "conv1", 2), w["conv1.prelu.weight"])
    x = F.prelu(layer(x, "dw_conv1", groups=64), w["dw_conv1.prelu.weight"])
    number = 0
    for expansion, channels, repeat, first in ROWS:
        for turn in range(repeat):
            name, stride = f"blocks.{number}.conv", first if turn == 0 else 1
            inner = x.shape[1] * expansion
            y = F.prelu(bn(F.conv2d(x, w[f"{name}.0.weight"]), f"{name}.1"), w[f"{name}.2.weight"])
            assert y.shape[1] == inner
            y = F.conv2d(y, w[f"{name}.3.weight"], stride=stride, padding=1, groups=inner)
            y = F.prelu(bn(y, f"{name}.4"), w[f"{name}.5.weight"])
            y = bn(F.conv2d(y, w[f"{name}.6.weight"]), f"{name}.7")
            assert y.shape[1] == channels
            x = x + y if x.shape == y.shape else y
            number += 1
    x = F.prelu(layer(x, "conv2", padding=0), w["conv2.prelu.weight"])
    x = layer(x, "linear7", padding=0, groups=512)
    return layer(x, "linear1", padding=0).flatten(1)


def invented(seed: int = 0) -> dict[str, Tensor]:
    """Random weights under the file's names."""
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor] = {}

    def conv(name: str, *shape: int) -> None:
        fan = shape[1] * shape[2] * shape[3]
        found[name] = torch.randn(*shape, generator=generator) * (1.5 / fan) ** 0.5

    def bn(name: str, width: int) -> None:
        found[f"{name}.weight"] = torch.rand(width, generator=generator) + 0.5
        found[f"{name}.bias"] = torch.randn(width, generator=generator) * 0.2
        found[f"{name}.running_mean"] = torch.randn(width, generator=generator) * 0.2
        found[f"{name}.running_var"] = torch.rand(width, generator=generator) + 0.5

    def layer(name: str, *shape: int, prelu: bool = True) -> None:
        conv(f"{name}.conv.weight", *shape)
        bn(f"{name}.bn", shape[0])
        if prelu:
            found[f"{name}.prelu.weight"] = torch.rand(shape[0], generator=generator) * 0.4

    layer("conv1", 64, 3, 3, 3)
    layer("dw_conv1", 64, 1, 3, 3)
    channels, number = 64, 0
    for expansion, out, repeat, _ in ROWS:
        for _ in range(repeat):
            name, inner = f"blocks.{number}.conv", channels * expansion
            for place, shape in ((0, (inner, channels, 1, 1)), (3, (inner, 1, 3, 3)), (6, (out, inner, 1, 1))):
                conv(f"{name}.{place}.weight", *shape)
                bn(f"{name}.{place + 1}", shape[0])
                if place < 6:
                    found[f"{name}.{place + 2}.weight"] = torch.rand(inner, generator=generator) * 0.4
            channels, number = out, number + 1
    layer("conv2", 512, 128, 1, 1)
    layer("linear7", 512, 1, 7, 6, prelu=False)
    layer("linear1", 128, 512, 1, 1, prelu=False)
    return found


def same(model: FaceNet, weights: dict[str, Tensor]) -> None:
    pixels = torch.randint(0, 256, (3, 3, 112, 96), generator=torch.Generator().manual_seed(1)).float()
    with torch.no_grad():
        expected, found = described(weights, (pixels - 127.5) / 128), model((pixels - 127.5) / 127.5)
    assert (expected - found).abs().max() <= 1e-4 * expected.abs().max()
    assert F.cosine_similarity(expected, found).min() > 0.99999


def test_converted_equals_the_description(tmp_path: Path) -> None:
    weights = invented()
    save_file(weights, str(tmp_path / "net.safetensors"))
    checkpoint = read_mobilefacenet(tmp_path / "net.safetensors")
    same(checkpoint.model, weights)
    assert "must not be shipped" in checkpoint.meta.licence
    save_checkpoint(tmp_path / "ours.safetensors", checkpoint.model, checkpoint.meta)
    again = load_checkpoint(tmp_path / "ours.safetensors")
    same(again.model, weights)
    assert again.meta == checkpoint.meta


def test_the_real_one_is_read_and_as_large_as_counted(data_dir: Path) -> None:
    path = data_dir / "teacher" / "mobilefacenet_112x96.safetensors"
    if not path.is_file():
        pytest.skip("needs the teacher among the research data sets")
    weights = load_file(str(path))
    model = read_mobilefacenet(path).model
    same(model, weights)
    learned = sum(tensor.numel() for name, tensor in weights.items() if "running" not in name)
    assert count(model.spec).parameters == learned


def test_what_is_not_this_network_is_refused(tmp_path: Path) -> None:
    path, weights = tmp_path / "net.safetensors", invented()
    with pytest.raises(InputError, match="weights not found"):
        read_mobilefacenet(path)
    path.write_bytes(b"nothing")
    with pytest.raises(ArtefactError, match="not a readable safetensors file"):
        read_mobilefacenet(path)
    for changes, message in (
        ({"blocks.3.conv.6.weight": None}, "blocks.3.conv.6.weight is missing"),
        ({"linear7.conv.weight": torch.zeros(512, 1, 7, 7)}, "linear7.conv.weight is 512x1x7x7, not 512x1x7x6"),
        ({"linear1.bn.weight": torch.full((128,), float("nan"))}, "not finite"),
        ({"softmax.weight": torch.zeros(3)}, "softmax.weight has no place"),
    ):
        changed = {name: tensor for name, tensor in {**weights, **changes}.items() if tensor is not None}
        save_file(changed, str(path))
        with pytest.raises(ArtefactError, match=message):
            read_mobilefacenet(path)
