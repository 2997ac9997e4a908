"""What the page is computed from: fronts, curves, axes, sensitivity, and a network without its mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeface.evaluation.scores import VerifyScores
from edgeface.workflows.benchmark_curves import error_growth, parameter_curves_of, speed_growth
from edgeface.workflows.report.judge import PairTest, roc_curve
from edgeface.workflows.report.pareto import mark_front
from edgeface.workflows.report.result import pareto_points
from edgeface.workflows.report.saliency import look, sensitivity
from edgeface.workflows.report.scale import linear_axis, log_axis
from edgeface_runtime.errors import InputError


def test_the_front_is_what_nothing_beats() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        points = [(float(a), float(b)) for a, b in rng.integers(0, 6, (rng.integers(1, 12), 2))]
        beaten = [
            any(x <= a and y >= b and (x, y) != (a, b) for x, y in points) for a, b in points
        ]  # as fast, as accurate, and better in one
        assert mark_front(points) == [not there for there in beaten], points
    assert mark_front([]) == []


def test_recorded_accuracies_place_rows_of_fp32_only(make_sample_report: Callable[..., Any]) -> None:
    own = make_sample_report().benchmark
    first, second, third = own.rows
    mixed = replace(own, rows=(first, replace(second, precision="int8"), replace(third, accuracy=())))
    points, notes = pareto_points(mixed, [])
    assert [(point.row, point.protocol, point.interval) for point in points] == [(0, "lfw", None)]
    assert notes == ["recorded accuracies are of FP32: rows of other precisions are on no Pareto front"]
    points, notes = pareto_points(replace(own, rows=tuple(replace(row, latency_ms={}) for row in own.rows)), [])
    assert points == [] and "batch 1" in notes[0]


def test_growth_is_within_one_kind_of_network(make_sample_report: Callable[..., Any]) -> None:
    own = make_sample_report(("a", "b", "c", "d")).benchmark  # speed-ups 1, 2, 3, 4; accuracies .98, .97, .96, .95
    rows = tuple(replace(row, masking="none" if at % 2 else "decoder") for at, row in enumerate(own.rows))
    mixed = replace(own, rows=rows)
    assert [(curve.name, curve.points) for curve in speed_growth(mixed)] == [
        ("mask decoder", ((0.0, 0.0), (0.2, 200.0))),
        ("no mask", ((0.1, 0.0), (0.3, 100.0))),
    ]
    by_name = {curve.name: [y for _, y in curve.points] for curve in error_growth(mixed)}
    assert by_name == {"lfw, mask decoder": pytest.approx([0, 2]), "lfw, no mask": pytest.approx([0, 2])}
    measured = {"now": {0: 0.5, 2: 0.25}}
    (curve,) = error_growth(mixed, measured)
    assert curve.points == ((0.0, 0.0), (0.2, 25.0))
    assert [len(curve.points) for curve in parameter_curves_of(mixed)] == [2, 2]
    assert [curve.name for curve in speed_growth(own)] == ["speed growth"]
    twice = replace(own, rows=(own.rows[0], own.rows[0]))
    assert not speed_growth(twice)[0].joined and speed_growth(own)[0].joined


def test_roc_steps_never_exceed_their_rate() -> None:
    rng = np.random.default_rng(3)
    genuine = np.arange(400) % 2 == 0
    scores = np.round(rng.normal(genuine * 0.8, 0.5), 2)  # with ties
    names = np.array([(str(at), "x") for at in range(400)])
    curve = roc_curve(VerifyScores("x", names, names, genuine, np.zeros(400, np.int64), scores))
    assert curve[0][0] == 1 / 200 and curve[-1] == (1.0, 1.0)
    for rate, accepted in curve:
        best = max(
            float(np.mean(scores[genuine] >= limit))
            for limit in [*scores, 9.0]
            if np.mean(scores[~genuine] >= limit) <= rate + 1e-6
        )
        assert accepted == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("values", [[0.0, 56.3], [98.3, 98.5], [-3.2, 0.1], [7.0, 7.0], [0.0012, 0.0034]])
def test_axes_hold_their_values_on_round_ticks(values: list[float]) -> None:
    axis = linear_axis("x", values)
    assert axis.low <= min(values) and axis.high >= max(values) and 3 <= len(axis.ticks) <= 7
    assert [axis.place(axis.low), axis.place(axis.high)] == [0, 1]
    steps = np.diff(axis.ticks)
    assert np.allclose(steps, steps[0])
    mantissa = steps[0] / 10 ** np.floor(np.log10(steps[0]) + 1e-9)
    assert min(abs(mantissa - good) for good in (1, 2, 2.5, 5)) < 1e-6
    assert 0 in linear_axis("x", values, zero=True).ticks


def test_a_logarithmic_axis() -> None:
    axis = log_axis("rate", 1 / 3000, 1.0)
    assert axis.ticks == (0.001, 0.01, 0.1, 1.0)
    assert axis.place(1 / 3000) == 0 and axis.place(1.0) == 1
    assert axis.place(0.1) - axis.place(0.01) == pytest.approx(axis.place(1) - axis.place(0.1))


def test_sensitivity_is_where_the_network_looks() -> None:
    """A network that sees two blocks only: its embedding is their mean brightness, as a unit vector."""

    def run(faces: np.ndarray) -> np.ndarray:
        seen = np.stack([faces[:, 20:40, 20:40].mean((1, 2, 3)), faces[:, 80:100, 60:80].mean((1, 2, 3))], 1)
        return (seen / np.linalg.norm(seen, axis=1, keepdims=True)).astype(np.float32)

    face = np.full((112, 96, 3), 30, np.uint8)
    face[80:100, 60:80] = 200
    heat = sensitivity(run, face)
    inside = np.zeros((112, 96), bool)
    inside[10:50, 10:50] = inside[70:, 50:] = True  # all squares that touch a block lie in there
    assert heat[inside].max() > 0.03 and heat[~inside].max() < 1e-6
    whole = run(face[None])[0]
    hidden = face.copy()
    hidden[20:40, 20:40] = 127
    moved = 1 - float(run(hidden[None])[0] @ whole)
    assert sensitivity(run, face, patch=20, stride=20)[30, 30] == pytest.approx(moved, abs=1e-6)
    cover = np.zeros((112, 96), bool)
    cover[:60] = True
    clean = np.full_like(face, 30)
    found = look(run, clean, face, cover)
    assert found.on_cover == pytest.approx(heat[:60].sum() / heat.sum())
    assert found.to_clean == pytest.approx(float(run(clean[None])[0] @ whole))
    blind = look(lambda faces: np.ones((len(faces), 1), np.float32), clean, face, cover)
    assert blind.on_cover == 0 and blind.to_clean == 1


@pytest.mark.parametrize("kind", ["decoder", "spatial", "vector"])
def test_the_mask_can_be_taken_out(kind: str, tmp_path: Path, lived_in: Callable[..., Any]) -> None:
    torch = pytest.importorskip("torch", reason="needs torch: pip install 'edgeface[train]'")
    from edgeface.models import FaceNet, build_spec
    from edgeface.workflows.report.unmask import write_unmasked
    from edgeface_export.onnx_export import export_onnx
    from edgeface_runtime.backends import open_backend

    torch.manual_seed(0)
    model = lived_in(FaceNet(build_spec("iresnet18", 0.125, mask=kind)))
    torch.nn.init.normal_((model.decoder.linear or model.decoder.conv2).weight, std=0.3)  # far from open
    export_onnx(model, tmp_path / "masked.onnx")
    write_unmasked(tmp_path / "masked.onnx", tmp_path / "plain.onnx")
    faces = torch.rand(2, 3, 112, 96, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        wanted = torch.nn.functional.normalize(model.forward_masked(faces, use_mask=False).embedding).numpy()
        masked = torch.nn.functional.normalize(model(faces)).numpy()
    with open_backend("onnxruntime", tmp_path / "plain.onnx", device="cpu", threads=1) as backend:
        found = backend.run(faces.numpy())["embedding"]
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert np.abs(masked - wanted).max() > 0.01, "the mask does something"


def test_a_network_without_a_mask_is_said(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs onnx: pip install 'edgeface[train]'")
    from edgeface.workflows.report.unmask import write_unmasked
    from edgeface_runtime.errors import ArtefactError

    sides = [onnx.helper.make_tensor_value_info(name, 1, ["batch", 4]) for name in ("input", "embedding")]
    doubled = onnx.helper.make_node("Mul", ["input", "input"], ["embedding"])
    onnx.save(
        onnx.helper.make_model(onnx.helper.make_graph([doubled], "x", sides[:1], sides[1:])), tmp_path / "x.onnx"
    )
    with pytest.raises(ArtefactError, match="no mask that can be taken out"):
        write_unmasked(tmp_path / "x.onnx", tmp_path / "y.onnx")
    assert not (tmp_path / "y.onnx").exists()


def test_pairs_are_checked_before_the_work(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in (1, 2):
            (tmp_path / name / f"{name}_{number:04d}.jpg").write_bytes(b"")
    pairs = tmp_path / "pairs.txt"
    pairs.write_text("2\t1\na\t1\t2\na\t1\tb\t1\nb\t1\t2\na\t2\tb\t2\n")
    assert [cover and cover.label for cover in PairTest(tmp_path, pairs).covers()] == [None, "random .4", "mask"]
    for changes, words in (
        ({"conditions": ("none", "none")}, "each kind once"),
        ({"conditions": ("fog",)}, "unknown --occlusion 'fog'"),
        ({"folds": (1, 3)}, "--folds asks for fold 3"),
        ({"folds": (1,)}, "two or more are needed"),
    ):
        with pytest.raises(InputError, match=words):
            PairTest(tmp_path, pairs, **changes)  # type: ignore[arg-type]
    pairs.write_text("2\na\t1\t2\nb\t1\t2\na\t1\tb\t1\na\t2\tb\t2\n")
    with pytest.raises(InputError, match="two or more are needed"):
        PairTest(tmp_path, pairs)
