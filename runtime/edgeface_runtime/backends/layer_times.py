"""Where an engine's time goes: TensorRT's own profiler, averaged over some calls with one face."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgeface_runtime.backends.tensorrt import TensorRTBackend

__all__ = ["measure_layers"]


def measure_layers(backend: TensorRTBackend, rounds: int = 20, warmup: int = 3) -> list[tuple[str, float]]:
    """Name and mean time of every layer, milliseconds, in the order they run.

    The batch is the smallest the engine takes. Layers are timed one by one: their sum is more than a call takes.
    """
    trt, context, shape = backend.profiled()
    times: dict[str, float] = {}

    class Profiler(trt.IProfiler):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            trt.IProfiler.__init__(self)

        def report_layer_time(self, layer_name: str, ms: Any) -> None:
            times[layer_name] = times.get(layer_name, 0.0) + float(ms)

    profiler = Profiler()
    batch = np.zeros(shape, np.float32)
    for _ in range(warmup):
        backend.run(batch)
    context.profiler = profiler
    for _ in range(rounds):
        backend.run(batch)
    return [(name, total / rounds) for name, total in times.items()]
