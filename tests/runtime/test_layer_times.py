"""Timing an engine's layers: a stand-in for TensorRT that reports as it does, layer by layer, call by call."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeface_runtime.backends.layer_times import measure_layers
from edgeface_runtime.engine import Profile, Sidecar, read_sidecar, sidecar_path, write_layer_times, write_sidecar
from edgeface_runtime.errors import ArtefactError


class IProfiler:
    """TensorRT's: its constructor must be called by what derives from it."""

    def __init__(self) -> None:
        self.made = True


class Backend:
    """Runs a layer `a` twice and `b` once a call; each call is slower than the one before."""

    def __init__(self) -> None:
        self.context = SimpleNamespace(profiler=None)
        self.shapes: list[tuple[int, ...]] = []

    def profiled(self) -> tuple[Any, Any, tuple[int, ...]]:
        return SimpleNamespace(IProfiler=IProfiler), self.context, (2, 3, 4, 4)

    def run(self, batch: np.ndarray) -> None:
        self.shapes.append(batch.shape)
        if self.context.profiler is not None:
            assert self.context.profiler.made
            self.context.profiler.report_layer_time("a", 1.0 * len(self.shapes))
            self.context.profiler.report_layer_time("b", np.float32(0.5))
            self.context.profiler.report_layer_time("a", 1.0)


def test_times_are_means_of_a_call_after_the_warm_up() -> None:
    backend = Backend()
    times = measure_layers(backend, rounds=4, warmup=2)  # type: ignore[arg-type]
    assert times == [("a", (3 + 4 + 5 + 6) / 4 + 1), ("b", 0.5)]
    assert backend.shapes == [(2, 3, 4, 4)] * 6


def test_they_are_kept_in_the_sidecar(tmp_path: Path) -> None:
    engine = tmp_path / "r.engine"
    engine.write_bytes(b"plan")
    digest = hashlib.sha256(b"plan").hexdigest()
    sidecar = Sidecar("tensorrt", "10.3.0", "c" * 64, digest, "fp16", Profile(), "Orin", "8.7", "12.6")
    with pytest.raises(ArtefactError, match="has no sidecar"):
        write_layer_times(engine, [("a", 1.0)])
    write_sidecar(engine, sidecar)
    before = json.loads(sidecar_path(engine).read_text())
    write_layer_times(engine, [("a", 1.0), ("b", 0.12345678)])
    after = json.loads(sidecar_path(engine).read_text())
    assert after.pop("layer_times") == [{"name": "a", "ms": 1.0}, {"name": "b", "ms": 0.123457}]
    assert after.pop("sidecar_sha256") != before.pop("sidecar_sha256")  # sealed anew, else it were refused
    assert after == before
    assert read_sidecar(engine) == sidecar
