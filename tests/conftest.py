"""Fixtures for all tests: where the research data sets lie, if they do; a server of galleries."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from edgeface.models import FaceNet
    from edgeface.workflows.report import Report

for kind in (signal.SIGINT, signal.SIGHUP):  # a job in the background ignores them, and would pass that on
    if signal.getsignal(kind) is signal.SIG_IGN:
        signal.signal(kind, signal.default_int_handler if kind is signal.SIGINT else signal.SIG_DFL)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # tests run several processes; oversubscribed OpenMP crawls


def find_data() -> Path | None:
    """The data folder: EDGEFACE_DATA, else ../shared/data beside the checkout."""
    named = os.environ.get("EDGEFACE_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    return folder if (folder / "lfw" / "pairs.txt").is_file() else None


@pytest.fixture(scope="session")
def data_dir() -> Path:
    folder = find_data()
    if folder is None:
        pytest.skip("needs the research data sets: set EDGEFACE_DATA to their folder")
    return folder


@pytest.fixture(scope="session")
def lived_in() -> Callable[[FaceNet], FaceNet]:
    """Gives a network BN scales, shifts and statistics as after training: none neutral, so that mistakes show."""
    import torch

    def live(model: FaceNet) -> FaceNet:
        generator = torch.Generator().manual_seed(1)
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                module.weight.data.uniform_(0.5, 1.5, generator=generator)
                module.bias.data.normal_(0, 0.3, generator=generator)
            elif isinstance(module, torch.nn.PReLU):
                module.weight.data.uniform_(0.1, 0.4, generator=generator)
        model.train()
        with torch.no_grad():
            for _ in range(8):
                model(torch.rand(8, 3, *model.spec.input_size, generator=generator) * 2 - 1)
        return model.eval()

    return live


@pytest.fixture(scope="session")
def make_sample_report() -> Callable[..., Report]:
    """Makes a report with every section, of made-up figures, of bundles so named, each faster than the one before."""
    import numpy as np

    from edgeface.evaluation.scores import VerifyScores
    from edgeface.evaluation.verify import VerifyResult
    from edgeface.workflows.benchmark import BenchmarkReport, BenchmarkSettings, Row
    from edgeface.workflows.report import Report
    from edgeface.workflows.report.faces import FaceLook, SaliencyResult, View
    from edgeface.workflows.report.judge import Judged, roc_curve
    from edgeface.workflows.report.result import pareto_points
    from edgeface_calibration.metrics import Interval, TarAtFmr, auc

    pixel = "data:image/gif;base64,R0lGODlhAQABAAAAACH5BAEKAAEALAAAAAABAAEAAAICTAEAOw=="

    def row(at: int, name: str) -> Row:
        p50 = 40.0 / (1 + at)
        times = {"p50": p50, "p90": p50 * 1.25, "p99": p50 * 1.5, "iqr": p50 / 8}
        recorded = ({"protocol": "lfw", "accuracy": 0.98 - at / 100, "std": 0.005, "pairs": 6000},)
        ratio, cost = at / 10, 1 - at / 10
        return Row(
            *(f"{ratio:g}", ratio, ratio, round(2e7 * cost), round(2e9 * cost), round(8e7 * cost), times),
            *({"8": 8000 / p50}, 1.0 + at, at == 2, recorded, name, "fp32", "decoder", "l1, uniform", 1000 - at),
        )

    def judged(at: int, condition: str, shift: float) -> Judged:
        rng = np.random.default_rng(at)
        genuine = np.arange(600) % 2 == 0
        people = np.array([(f"p{number}", f"q{number}") for number in range(600)])
        own = VerifyScores(condition, people, people, genuine, np.arange(600) % 10, rng.normal(genuine * shift, 0.3))
        rates = (TarAtFmr(0.1, 0.9 - at / 50, 0.3, 0.1, None), TarAtFmr(0.01, None, None, None, "too few pairs"))
        between = Interval(0.9 - at / 50, 0.88 - at / 50, 0.92 - at / 50, 0.95, 1000, 0)
        result = VerifyResult(
            *(f"set {condition}", 0.9 - at / 50, 0.01, between, auc(own.scores, genuine), None, 0.1 + at / 50, rates),
            *((between, None), 0.3, (0.9,) * 10, (0.3,) * 10, 600, 0, (), 0, {}, (), condition, "", 0, {}, own),
        )
        return Judged(at, condition, result, roc_curve(own), 0.1)

    def make(names: tuple[str, ...] = ("dense", "pruned", "half"), notes: tuple[str, ...] = ()) -> Report:
        machine: dict[str, str | int] = {"processor": "a processor", "cores": 4, "system": "Linux", "python": "3.11"}
        settings = BenchmarkSettings(batches=(1, 8))
        rows = tuple(row(at, name) for at, name in enumerate(names))
        ran_on = {"backend": "onnxruntime", "version": "1.0", "provider": "CPUExecutionProvider", "device": "cpu"}
        own = BenchmarkReport(rows, "trained", settings, ran_on, machine)
        kinds = (("clean", 2.0), ("mask", 1.0))
        measured = [judged(at, kind, shift) for at in range(len(names)) for kind, shift in kinds]
        views = (View("feature mask off", 0.25, 0.5, pixel), View("feature mask on", 0.125, 0.625, pixel))
        faces = tuple(FaceLook(kind, 0.3, 0.2, pixel, views) for kind in ("mask", "scarf"))
        points, _ = pareto_points(own, measured)
        looks = (SaliencyResult(0, "drawn faces", faces),)
        made = "2026-01-02T03:04:05+00:00"
        return Report(own, made, {"edgeface": "0.1"}, tuple(measured), tuple(points), looks, notes)

    return make


@pytest.fixture
def small_files() -> Callable[[int], AbstractContextManager[None]]:
    """`with small_files(n)`: no file may grow beyond n bytes, so a write really fails, as on a full disk.

    Only around the call that is to fail: the limit holds for the test runner's own log too.
    """

    @contextmanager
    def limit(size_bytes: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limit


class LiteServer:
    """Milvus Lite on a port: the client speaks to it over the wire. Stopped and started it keeps data and port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = 0
        self._running: tuple[Any, Any] | None = None
        self.start()

    def start(self) -> None:
        from milvus_lite.adapter.grpc.server import start_server_in_thread

        server, data, self.port = start_server_in_thread(str(self.folder), "127.0.0.1", self.port)
        self._running = (server, data)

    def stop(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            running[0].stop(grace=0).wait()
            running[1].close()

    def spec(self, name: str) -> str:
        return f"milvus://127.0.0.1:{self.port}/{name}"


@pytest.fixture(scope="module")
def lite_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiteServer]:
    pytest.importorskip("pymilvus", reason="needs the client of Milvus: pip install 'edgeface[milvus]'")
    pytest.importorskip("milvus_lite", reason="needs a server to test with: pip install milvus-lite")
    running = LiteServer(tmp_path_factory.mktemp("milvus"))
    yield running
    running.stop()
