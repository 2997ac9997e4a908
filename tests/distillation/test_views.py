"""Views, occluder layers and targets against the occluder registry and plain arithmetic."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from edgeface.data.synthetic import synth_face
from edgeface.distillation import Covers, DistillSettings, Teacher, draw_covers
from edgeface.distillation.covers import brightness, draw_cover
from edgeface.distillation.step import rate_at
from edgeface.distillation.teacher import isometry
from edgeface.distillation.views import make_views
from edgeface.models import load_checkpoint
from edgeface.training.step import to_input
from edgeface_calibration.occluders import occlude
from edgeface_calibration.patterns import pattern_label
from edgeface_runtime.errors import InputError

PLAIN = {"mixed_part": 0.0, "turn_deg": 0.0, "zoom": 0.0, "shift": 0.0, "bend": 0.0, "colour": 0.0}


def faces(count: int) -> torch.Tensor:
    return torch.from_numpy(np.stack([synth_face(number, 0, 0) for number in range(count)]))


@pytest.mark.parametrize("kind", ["mask", "sunglasses", "cup", "book", "hand", "scarf"])
def test_a_layer_over_a_face_is_what_the_registry_draws(kind: str) -> None:
    face = synth_face(1, 0, 0)
    colour, through, mask = draw_cover(kind, (3, 7))
    drawn = occlude(face, kind, np.random.default_rng([3, 7]))
    light = float(brightness(to_input(torch.from_numpy(face[None])))[0])
    made = np.minimum(colour * light, 255) + face.astype(float) * through[..., None] / 255
    assert np.array_equal(mask, drawn.mask)
    away = np.abs(made - drawn.image).max(2)
    assert np.median(away[mask]) <= 3, "only where a colour saturates may it be more"
    assert np.quantile(away[~mask], 0.99) <= 4


def test_patterns_of_a_layer_and_of_its_mirror_image() -> None:
    covers = draw_covers(6, ("mask", "cup"), seed=2)
    for number in range(6):
        _, _, mask = draw_cover(("mask", "cup")[number % 2], (2, 15, number))
        assert covers.pattern[number].tolist() == [pattern_label(mask, 5), pattern_label(mask[:, ::-1], 5)]
    assert covers.colour.shape == (6, 112, 96, 3) and covers.through.shape == (6, 112, 96)


def test_workers_draw_the_same() -> None:
    one, two = draw_covers(70, ("cup",), seed=4), draw_covers(70, ("cup",), seed=4, workers=2)
    assert torch.equal(one.colour, two.colour) and torch.equal(one.pattern, two.pattern)


def test_without_changes_a_view_is_a_face_or_its_mirror_image() -> None:
    pictures = faces(3)
    settings = DistillSettings(faces=100, batch=20, **PLAIN)
    views = make_views(pictures, None, settings, torch.Generator().manual_seed(0))
    known = torch.cat([to_input(pictures), to_input(pictures).flip(3)])
    grey = known.mean(1, keepdim=True).expand_as(known)  # a tenth is
    distance = (views.clean[:, None] - torch.cat([known, grey])[None]).abs().amax((2, 3, 4))
    assert float(distance.min(1).values.max()) < 1e-4
    assert len(set(distance.argmin(1).tolist())) > 4, "several faces, mirrored and not"
    assert torch.equal(views.seen, views.clean) and not views.pattern.any()


def test_only_the_student_sees_the_cover_and_only_on_its_part() -> None:
    layer = Covers(
        torch.zeros(1, 112, 96, 3, dtype=torch.uint8),
        torch.full((1, 112, 96), 255, dtype=torch.uint8).index_fill(1, torch.arange(56), 0),
        torch.tensor([[4, 9]]),
    )
    settings = DistillSettings(faces=100, batch=12, covered_part=2 / 3, **PLAIN)
    views = make_views(faces(4), layer, settings, torch.Generator().manual_seed(1))
    assert torch.equal(views.seen[8:], views.clean[8:]) and views.pattern[8:].tolist() == [0] * 4
    assert torch.allclose(views.seen[:8, :, :56], torch.full((8, 3, 56, 96), -1.0))
    assert torch.allclose(views.seen[:8, :, 56:], views.clean[:8, :, 56:], atol=1e-5)
    assert set(views.pattern[:8].tolist()) == {4, 9}


def test_all_changes_keep_shape_and_range_and_follow_from_the_generator() -> None:
    covers, settings = draw_covers(4, seed=1), DistillSettings(faces=100, batch=16, covered_part=0.5)
    one, two = (make_views(faces(5), covers, settings, torch.Generator().manual_seed(3)) for _ in range(2))
    assert one.clean.shape == (16, 3, 112, 96) and float(one.seen.abs().max()) <= 1
    assert torch.equal(one.clean, two.clean) and torch.equal(one.seen, two.seen)
    other = make_views(faces(5), covers, settings, torch.Generator().manual_seed(4))
    assert not torch.equal(one.clean, other.clean)


def test_targets_keep_the_cosines_and_do_not_know_left_from_right(teacher: Path) -> None:
    model = load_checkpoint(teacher).model
    guide = Teacher(model, 64)
    pictures = to_input(faces(5)).contiguous()
    with torch.no_grad():
        units = [torch.nn.functional.normalize(model(view)) for view in (pictures, pictures.flip(3))]
    wanted = torch.nn.functional.normalize(units[0] + units[1])
    found = guide(pictures)
    assert found.shape == (5, 64) and torch.allclose(found.norm(dim=1), torch.ones(5), atol=1e-5)
    assert torch.allclose(found @ found.T, wanted @ wanted.T, atol=1e-5)
    assert torch.allclose(found, guide(pictures.flip(3)), atol=1e-5)


def test_an_isometry_has_orthonormal_rows_and_needs_room() -> None:
    turn = isometry(16, 64)
    assert torch.allclose(turn @ turn.T, torch.eye(16), atol=1e-5)
    with pytest.raises(InputError, match="does not fit"):
        isometry(64, 16)


def test_the_rate_rises_in_a_line_and_falls_as_a_half_cosine() -> None:
    settings = DistillSettings(faces=1000, batch=10, lr=1.0, warmup=0.1)
    assert settings.steps == 100
    assert [rate_at(step, settings) for step in (0, 9, 10)] == pytest.approx([0.1, 1.0, 1.0])
    assert rate_at(55, settings) == pytest.approx(0.5)
    assert rate_at(99, settings) == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))
