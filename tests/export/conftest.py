"""A tiny masked network with lively BN statistics, exported once for all tests of this folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from edgeface.models import ArchSpec, FaceNet, iresnet18, with_mask
from edgeface_export.onnx_export import export_onnx
from edgeface_export.precision import to_fp16


def lively(spec: ArchSpec, seed: int = 0) -> FaceNet:
    """A network whose BN statistics and slopes are all different, so that a wrong fold shows."""
    torch.manual_seed(seed)
    model = FaceNet(spec).eval()
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            assert module.running_mean is not None and module.running_var is not None
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
        elif isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, 0.0, 0.4)
        elif isinstance(module, nn.Conv2d) and module.bias is not None:
            nn.init.normal_(module.bias, 0, 0.1)
    return model


def some_faces(count: int, seed: int = 0) -> np.ndarray:
    """(count, 112, 96, 3) uint8: soft blobs with a little noise, all different."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:112, 0:96].astype(np.float32)
    pictures = np.zeros((count, 112, 96, 3), np.float32)
    for picture in pictures:
        for _ in range(6):
            cy, cx, size = rng.uniform(0, 112), rng.uniform(0, 96), rng.uniform(8, 40)
            blob = np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * size**2))
            picture += blob[..., None] * rng.uniform(-120, 120, 3)
        picture += 128 + rng.normal(0, 4, picture.shape)
    return pictures.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def make_net() -> Callable[..., FaceNet]:
    return lively


@pytest.fixture(scope="session")
def masked() -> FaceNet:
    return lively(with_mask(iresnet18(0.125), 0.125))


@pytest.fixture(scope="session")
def faces() -> np.ndarray:
    return some_faces(6)


@pytest.fixture(scope="session")
def masked_onnx(masked: FaceNet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "masked.onnx"
    export_onnx(masked, path)
    return path


@pytest.fixture(scope="session")
def masked_half(masked_onnx: Path) -> Path:
    path = masked_onnx.with_name("masked.fp16.onnx")
    to_fp16(masked_onnx, path)
    return path
