"""A shorter embedding is the longer one, projected."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from edgeface.models import FaceNet, build_spec
from edgeface.models.narrow import narrow_embedding, principal_directions
from edgeface_runtime.errors import InputError


@pytest.mark.parametrize(
    ("arch", "mask"), [("iresnet18", "none"), ("iresnet18", "decoder"), ("mobilefacenet", "none")]
)
def test_the_embedding_is_projected(arch: str, mask: str, lived_in: Callable[[FaceNet], FaceNet]) -> None:
    torch.manual_seed(0)
    model = lived_in(FaceNet(build_spec(arch, 0.125, mask=mask, embedding=48)))
    turn = principal_directions(torch.randn(60, 48), 20)
    narrow = narrow_embedding(model, turn)
    faces = torch.rand(4, 3, 112, 96) * 2 - 1
    with torch.no_grad():
        assert torch.allclose(narrow(faces), model(faces) @ turn.T, atol=2e-5, rtol=1e-4)
    assert narrow.spec.embedding == 20 and narrow.spec.mask == model.spec.mask


def test_directions_are_those_that_carry_most() -> None:
    rng = np.random.default_rng(0)
    basis = np.linalg.qr(rng.normal(size=(32, 5)))[0].T
    points = rng.normal(size=(40, 5)) @ basis
    found = principal_directions(torch.from_numpy(points).float(), 5).numpy()
    assert np.allclose(found @ found.T, np.eye(5), atol=1e-5)
    assert np.allclose(points @ found.T @ found, points, atol=1e-4), "the five hold everything"


def test_impossible_ones_are_refused() -> None:
    with pytest.raises(InputError, match="have no 9 directions"):
        principal_directions(torch.randn(8, 32), 9)
    with pytest.raises(InputError, match="can be made narrower"):
        narrow_embedding(FaceNet(build_spec("iresnet18", 0.125, head="pool", embedding=16)), torch.eye(4, 16))
    with pytest.raises(InputError, match="can be made narrower"):
        narrow_embedding(FaceNet(build_spec("iresnet18", 0.125, mask="vector", embedding=16)), torch.eye(4, 16))
