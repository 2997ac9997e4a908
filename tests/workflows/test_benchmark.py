"""The benchmark's arithmetic on faked timings, its files, and the networks it makes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeface.workflows.benchmark import (
    BenchmarkReport,
    BenchmarkSettings,
    Subject,
    benchmark,
    bundle_subjects,
    random_subjects,
)
from edgeface.workflows.benchmark_report import headline, sheets, write_report
from edgeface_calibration.latency import Latency, summarise
from edgeface_runtime.align import TEMPLATE
from edgeface_runtime.errors import InputError
from edgeface_runtime.manifest import Manifest, Ratio, write_manifest


class Quick:
    """A backend that answers at once and notes what it was given."""

    def __init__(self, path: Path, seen: list[tuple[str, int]]) -> None:
        self.path, self.seen, self.closed = path, seen, False

    def __enter__(self) -> Quick:
        return self

    def __exit__(self, *details: object) -> None:
        self.closed = True

    def run(self, batch: np.ndarray) -> dict[str, np.ndarray]:
        self.seen.append((self.path.name, len(batch)))
        return {}

    def describe(self) -> dict[str, Any]:
        return {"backend": "quick", "device": "cpu"}


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[BenchmarkReport, list[Any]]]:
    """Benchmarks with given medians: {batch: milliseconds of each subject}."""

    def measure(
        times: Mapping[int, Sequence[float]], ratios: Sequence[float], weights: str = "trained"
    ) -> tuple[BenchmarkReport, list[Any]]:
        opened: list[Quick] = []
        seen: list[tuple[str, int]] = []

        def open_backend(name: str, path: Path, device: str = "cpu", threads: int = 0) -> Quick:
            opened.append(Quick(path, seen))
            return opened[-1]

        def time_alternating(calls: Mapping[str, Callable[[], object]], warmup: int, runs: int) -> dict[str, Latency]:
            before = len(seen)
            for call in calls.values():
                call()
            (batch,) = {size for _, size in seen[before:]}
            medians = times[batch]
            return {key: summarise([ms] * runs) for key, ms in zip(calls, medians, strict=True)}

        monkeypatch.setattr("edgeface_runtime.backends.open_backend", open_backend)
        monkeypatch.setattr("edgeface_calibration.latency.time_alternating", time_alternating)
        subjects = []
        for at, ratio in enumerate(ratios):
            path = tmp_path / f"{at}.onnx"
            path.write_bytes(b"x" * (1000 - at))
            accuracy = ({"protocol": "lfw", "accuracy": 0.9 - ratio / 10},) if weights == "trained" else ()
            subjects.append(Subject(f"{ratio:g}", path, ratio, ratio, 100 - at, 1000 - at, accuracy))
        report = benchmark(subjects, BenchmarkSettings(batches=tuple(times)), weights=weights)
        assert all(backend.closed for backend in opened)
        return report, opened

    return measure


def test_speed_up_and_throughput_by_hand(measured: Any) -> None:
    report, opened = measured({1: (12, 8, 4), 8: (80, 40, 16)}, (0, 0.3, 0.5))
    assert [row.speedup for row in report.rows] == [1, 1.5, 3]
    assert [row.throughput for row in report.rows] == [{"8": 100}, {"8": 200}, {"8": 500}]
    assert [row.latency_ms["p50"] for row in report.rows] == [12, 8, 4]
    assert [row.size_bytes for row in report.rows] == [1000, 999, 998]
    assert [row.parameters for row in report.rows] == [100, 99, 98]
    assert not any(row.not_faster for row in report.rows)
    assert [backend.path.name for backend in opened] == ["0.onnx", "1.onnx", "2.onnx"]
    assert report.ran_on == {"backend": "quick", "device": "cpu", "precision": "fp32", "fallback": None}


def test_a_ratio_that_is_not_faster_is_marked(measured: Any) -> None:
    report, _ = measured({1: (10, 5, 5, 6, 2)}, (0, 0.1, 0.2, 0.3, 0.4))
    assert [row.not_faster for row in report.rows] == [False, False, True, True, False]
    (cost, _accuracy) = sheets(report)
    assert [row[-1] for row in cost.rows] == ["", "", "not faster", "not faster", ""]
    assert all(len(row) == len(cost.columns) for row in cost.rows)


def test_the_same_ratio_twice_is_no_failure(measured: Any) -> None:
    report, _ = measured({1: (5, 6)}, (0.5, 0.5))
    assert not report.rows[1].not_faster


def test_without_batch_1_speed_comes_from_the_smallest(measured: Any) -> None:
    report, _ = measured({32: (64, 16), 8: (40, 8)}, (0, 0.5))
    assert [row.speedup for row in report.rows] == [1, 5]
    assert [row.latency_ms for row in report.rows] == [{}, {}]
    assert report.rows[1].throughput == {"32": 2000, "8": 1000}
    assert sheets(report)[0].rows[0][5:8] == ["", "", ""]


def test_files(measured: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'edgeface[plot]'")
    report, _ = measured({1: (12, 8, 4), 8: (80, 40, 16)}, (0, 0.3, 0.5))
    written = write_report(report, tmp_path / "deep" / "report")
    assert [path.name for path in written] == ["benchmark.json", "benchmark.md", "figure6.png", "figure7.png"]
    kept = json.loads(written[0].read_text())
    assert kept == json.loads(json.dumps(report.to_dict()))
    assert [row["speedup"] for row in kept["rows"]] == [1, 1.5, 3]
    text = written[1].read_text()
    rows = [line for line in text.splitlines() if line.startswith("| 0")]
    assert len(rows) == 6 and "1.50x" in rows[1] and "3.00x" in rows[2], "costs, then accuracies"
    assert rows[3:] == ["| 0 | 90.00 |", "| 0.3 | 87.00 |", "| 0.5 | 85.00 |"]
    assert "trained weights" in text and "all ratios in turn" in text
    for picture in written[2:]:
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_random_weights_are_said(measured: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs matplotlib: pip install 'edgeface[plot]'")
    report, _ = measured({1: (2, 1)}, (0, 0.5), weights="random")
    assert "random weights: cost only, no accuracy" in headline(report)[0]
    assert len(sheets(report)) == 1, "no accuracy, no table of it"
    assert "random weights" in write_report(report, tmp_path / "report")[1].read_text()


def test_counts_of_random_networks_fall(tmp_path: Path) -> None:
    subjects = random_subjects((0, 0.4), tmp_path, width=0.125)
    for value in ("parameters", "macs"):
        counts = [getattr(subject, value) for subject in subjects]
        assert counts == sorted(counts, reverse=True) and len(set(counts)) == 2
    sizes = [subject.model.stat().st_size for subject in subjects]
    assert sizes == sorted(sizes, reverse=True) and len(set(sizes)) == 2
    assert [subject.requested for subject in subjects] == [0, 0.4]
    assert all(abs(subject.achieved - subject.requested) <= 0.05 for subject in subjects)
    report = benchmark(subjects[:1], BenchmarkSettings(batches=(1, 2), warmup=0, runs=1), weights="random")
    assert report.rows[0].speedup == 1 and report.rows[0].latency_ms["p50"] > 0
    assert report.ran_on["threads"] == 1 and "CPUExecutionProvider" in json.dumps(report.ran_on)


def test_random_networks_in_int8_are_of_the_backend_that_runs_them(tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx", reason="needs onnx")
    kinds = {}
    for backend, device in (("onnxruntime", "cpu"), ("onnxruntime", "cuda"), ("tensorrt", "auto")):
        folder = tmp_path / f"{backend}-{device}"
        folder.mkdir()
        (subject,) = random_subjects((0.4,), folder, width=0.125, precision="int8", backend=backend, device=device)
        kinds[folder.name] = {tensor.data_type for tensor in onnx.load(subject.model).graph.initializer}
    assert onnx.TensorProto.UINT8 in kinds["onnxruntime-cpu"]
    for name in ("onnxruntime-cuda", "tensorrt-auto"):
        assert onnx.TensorProto.INT8 in kinds[name] and onnx.TensorProto.UINT8 not in kinds[name]
    with pytest.raises(InputError, match="unknown --precision 'int4': choose one of fp32, fp16, int8"):
        random_subjects((0,), tmp_path, precision="int4")


def test_bundles_come_in_the_order_of_their_ratios(tmp_path: Path) -> None:
    def bundle(name: str, ratio: float) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        (folder / "recognizer.onnx").write_bytes(b"weights")
        facts: dict[str, Any] = {
            "name": name,
            "created": "2026-01-02T03:04:05+00:00",
            "models": {"fp32": "recognizer.onnx"},
            "template": tuple((float(x), float(y)) for x, y in TEMPLATE),
            "outputs": ("embedding",),
            "masking": "none",
            "ratio": Ratio(ratio, ratio),
            "parameters": round(100 * (1 - ratio)),
        }
        write_manifest(folder, Manifest(**facts))
        return folder

    paths = [bundle("half", 0.5), bundle("dense", 0.0), bundle("again", 0.5)]
    subjects = bundle_subjects(paths, BenchmarkSettings())
    assert [subject.label for subject in subjects] == ["0", "0.5 half", "0.5 again"]
    assert [subject.parameters for subject in subjects] == [100, 50, 50]
    with pytest.raises(InputError, match="no fp16 model"):
        bundle_subjects(paths, BenchmarkSettings(precision="fp16"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batches": ()}, "--batch"),
        ({"batches": (1, 0)}, "--batch"),
        ({"runs": 0}, "--runs"),
        ({"warmup": -1}, "--warmup"),
        ({"threads": -1}, "--threads"),
        ({"backend": "best"}, "unknown --backend"),
    ],
)
def test_settings_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        BenchmarkSettings(**changes)


def test_nothing_to_measure() -> None:
    with pytest.raises(InputError, match="nothing to measure"):
        benchmark([], BenchmarkSettings(), weights="trained")
