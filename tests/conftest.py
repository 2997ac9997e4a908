"""Fixtures for all tests: where the research data sets lie, if they do; a server of galleries."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from edgeface.models import FaceNet

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
