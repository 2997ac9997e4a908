"""Eq. (1), computed by hand for each of its three settings."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from edgeface.training.margin import MARGINS, Margin, MarginSoftmax, margin_logits


def single(angle: float, margin: Margin) -> float:
    """The true class's logit / s at an angle in radians."""
    cosine = torch.tensor([[math.cos(angle), 0.2]], dtype=torch.float64)
    logits = margin_logits(cosine, torch.tensor([0]), margin)
    assert float(logits[0, 1]) == pytest.approx(margin.s * 0.2), "other classes have no margin"
    return float(logits[0, 0]) / margin.s


def test_settings_of_the_paper() -> None:
    """(m1, 0, 0), (0, m2, 0) and (0, 0, m3), as the paper writes them; a factor m1 of 1 is none."""
    sphere, arc, cos = MARGINS["sphereface"], MARGINS["arcface"], MARGINS["cosface"]
    assert sphere.m1 > 1 and (sphere.m2, sphere.m3) == (0, 0)
    assert arc == (1, 0.5, 0, 64)
    assert cos == (1, 0, 0.35, 30)


def test_by_hand() -> None:
    sixty = math.pi / 3
    assert single(sixty, Margin(1, 0, 0.35, 30)) == pytest.approx(0.5 - 0.35)
    assert single(sixty, Margin(1, 0.5, 0, 64)) == pytest.approx(math.cos(sixty + 0.5))
    assert single(sixty, Margin(1.35, 0, 0, 64)) == pytest.approx(math.cos(1.35 * sixty))
    assert single(sixty, Margin(2, 0.1, 0.2, 10)) == pytest.approx(math.cos(2 * sixty + 0.1) - 0.2)


def test_sphereface_of_four() -> None:
    """SphereFace's own psi for m = 4: (-1)^k cos(4 theta) - 2k; at 60 degrees k = 1: -cos(240) - 2 = -1.5."""
    assert single(math.pi / 3, Margin(4, 0, 0, 1)) == pytest.approx(-1.5)
    assert single(math.pi - 1e-3, Margin(4, 0, 0, 1)) == pytest.approx(-7, abs=1e-3)


@pytest.mark.parametrize(
    "margin", [Margin(4, 0, 0, 1), Margin(1, 0.5, 0, 1), Margin(1.35, 0, 0, 1), Margin(2.5, 0.7, 0.1, 1)]
)
def test_falls_all_the_way(margin: Margin) -> None:
    values = [single(angle, margin) for angle in torch.linspace(0.01, math.pi - 0.01, 400).tolist()]
    steps = [after - before for before, after in itertools.pairwise(values)]
    assert max(steps) <= 1e-9, "a worse angle never scores better"
    assert min(steps) > -0.1, "and there is no jump"


def test_loss_by_hand() -> None:
    """Two classes on the axes, a face 30 degrees from its own: softmax of 30 * (cos 30 - .35) and 30 * sin 30."""
    head = MarginSoftmax(2, 2, *MARGINS["cosface"])
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[3.0, 0.0], [0.0, 0.5]]))
    face = torch.tensor([[math.cos(math.pi / 6), math.sin(math.pi / 6)]]) * 7
    loss, cosine = head(face, torch.tensor([0]))
    true, other = 30 * (math.cos(math.pi / 6) - 0.35), 30 * 0.5
    assert float(loss.detach()) == pytest.approx(math.log(1 + math.exp(other - true)), rel=1e-4)
    assert cosine.tolist() == [[pytest.approx(math.cos(math.pi / 6)), pytest.approx(0.5)]]


@pytest.mark.parametrize("name", sorted(MARGINS))
def test_gradients_are_finite_where_acos_is_not(name: str) -> None:
    head = MarginSoftmax(2, 2, *MARGINS[name])
    with torch.no_grad():
        head.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    faces = torch.tensor([[5.0, 0.0], [-5.0, 0.0], [1.0, 1e-7], [0.0, 2.0]], requires_grad=True)
    loss, _ = head(faces, torch.tensor([0, 0, 0, 1]))
    loss.backward()
    assert math.isfinite(float(loss.detach()))
    assert faces.grad is not None and torch.isfinite(faces.grad).all()
    assert head.weight.grad is not None and torch.isfinite(head.weight.grad).all()


def test_half_precision_embeddings_are_compared_in_full() -> None:
    head = MarginSoftmax(4, 3, *MARGINS["arcface"])
    with torch.autocast("cpu", torch.bfloat16):
        loss, cosine = head(torch.randn(5, 4).bfloat16(), torch.tensor([0, 1, 2, 0, 1]))
    assert loss.dtype == cosine.dtype == torch.float32


@pytest.mark.parametrize("name", sorted(MARGINS))
def test_gradient_agrees_with_differences(name: str) -> None:
    cosine = torch.tensor([[0.4, -0.3, 0.1], [0.9, 0.2, -0.8]], dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([0, 2])
    assert torch.autograd.gradcheck(lambda c: margin_logits(c, labels, MARGINS[name]), (cosine,))
