"""From a checked engine to TensorRT: the bytes that were hashed are the bytes that are deserialised."""

from __future__ import annotations

import contextlib
import hashlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgeface_runtime.backends import tensorrt
from edgeface_runtime.backends.driver import Gpu
from edgeface_runtime.backends.tensorrt import open_engine
from edgeface_runtime.engine import Profile, Sidecar, write_sidecar
from edgeface_runtime.errors import EngineError

GOOD = b"the plan that was built"


@pytest.fixture
def engine(tmp_path: Path) -> Path:
    path = tmp_path / "r.engine"
    path.write_bytes(GOOD)
    return path


@pytest.fixture
def reached(engine: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, bool]]:
    """What came to the deserialiser, and whether host code was allowed; someone changes the file just before that."""
    seen: list[tuple[bytes, bool]] = []

    class Logger:
        Severity = SimpleNamespace(ERROR=1, INTERNAL_ERROR=0)

    class Runtime:
        engine_host_code_allowed = False

        def __init__(self, logger: Any) -> None:
            self.logger = logger

        def deserialize_cuda_engine(self, data: bytes) -> None:
            seen.append((data, self.engine_host_code_allowed))
            self.logger.log(1, "no such\n kernel")

    def open_cuda(index: int, extra: str) -> Any:
        engine.write_bytes(b"something else")
        return SimpleNamespace(active=contextlib.nullcontext, close=lambda: None)

    module = SimpleNamespace(__version__="10.3.0", __name__="tensorrt", ILogger=Logger, Runtime=Runtime)
    monkeypatch.setitem(sys.modules, "tensorrt", module)
    monkeypatch.setattr(tensorrt, "require_gpu", lambda index: Gpu(index, "Orin", "8.7", "12.6"))
    monkeypatch.setattr(tensorrt, "open_cuda", open_cuda)
    return seen


@pytest.mark.parametrize("compatible", [False, True])
def test_what_was_hashed_is_deserialised(engine: Path, reached: list[tuple[bytes, bool]], compatible: bool) -> None:
    """A version-compatible plan brings its own runtime, which TensorRT runs only if it is told so; no other is."""
    digest = hashlib.sha256(GOOD).hexdigest()
    facts = ("tensorrt", "10.3.0", "c" * 64, digest, "int8", Profile(), "Orin", "8.7", "12.6", compatible)
    write_sidecar(engine, Sidecar(*facts))
    command = "edgeface build BUNDLE --backend tensorrt --precision int8$"
    with pytest.raises(EngineError, match=rf"cannot be loaded \(no such kernel\): build it again with {command}"):
        open_engine(engine, "tensorrt")
    assert reached == [(GOOD, compatible)]
