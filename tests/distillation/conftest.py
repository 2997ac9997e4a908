"""A few procedural faces and a small network to learn from."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest
import torch

from edgeface.data.synthetic import synth_face
from edgeface.models import CheckpointMeta, FaceNet, build_spec, save_checkpoint


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight people, three aligned crops each."""
    root = tmp_path_factory.mktemp("people")
    for person in range(8):
        (root / f"p{person}").mkdir()
        for number in range(3):
            cv2.imwrite(str(root / f"p{person}" / f"{number}.png"), synth_face(person, number, 0))
    return root


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random network of 16 numbers: what it says is as good as anything to be learned."""
    torch.manual_seed(5)
    model = FaceNet(build_spec("iresnet18", 0.125, embedding=16)).train()
    with torch.no_grad():
        for _ in range(3):  # batch statistics that are not those of a new network
            model(torch.rand(8, 3, 112, 96) * 2 - 1)
    path = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_checkpoint(path, model.eval(), CheckpointMeta(stage="clean"))
    return path
