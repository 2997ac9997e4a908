"""Do page-locked host memory and CUDA graphs make an engine faster? (TensorRT or TensorRT-RTX, batch 1 and 8)

One engine of a full-width network with random weights, opened four times and timed alternately in one process. Run on
a GPU: `python benchmarks/gpu_memory.py [tensorrt|tensorrt-rtx]`. Exit code 1 where the defaults of `GpuOptions` are
slower than without, 3 where there is no GPU.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from contextlib import ExitStack
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np

from edgeface_calibration.latency import Latency, time_alternating
from edgeface_runtime.backends.cuda import open_cuda
from edgeface_runtime.backends.driver import Gpu, require_gpu
from edgeface_runtime.backends.gpu_buffers import GpuOptions
from edgeface_runtime.backends.tensorrt import TensorRTBackend
from edgeface_runtime.engine import FLAVOURS
from edgeface_runtime.errors import EXTRAS, EdgefaceError

BATCHES = (1, 8)
PLAIN = GpuOptions(pinned=False, graph=False)
ALL = [GpuOptions(pinned, graph) for pinned, graph in product((False, True), (False, True))]


def main(flavour: str) -> int:
    try:
        gpu = require_gpu()
        with tempfile.TemporaryDirectory() as work:
            return _measure(_engine(Path(work), flavour), flavour, gpu)
    except EdgefaceError as exc:
        print(f"gpu_memory needs an NVIDIA GPU and {flavour}: {exc}", file=sys.stderr)
        return exc.exit_code


def _engine(folder: Path, flavour: str) -> Path:
    from edgeface.workflows.benchmark import random_subjects
    from edgeface_export.build import BuildSettings, build_engine

    (subject,) = random_subjects((0.0,), folder, precision="fp16")
    engine = folder / "r.engine"
    build_engine(subject.model, engine, flavour, BuildSettings(precision="fp16", max_batch=max(BATCHES)))
    return engine


def _measure(engine: Path, flavour: str, gpu: Gpu) -> int:
    trt, extra = importlib.import_module(FLAVOURS[flavour]), EXTRAS[FLAVOURS[flavour]]
    slower = False
    with ExitStack() as opened:
        backends = {
            options: opened.enter_context(
                TensorRTBackend(engine, flavour, trt, open_cuda(gpu.index, extra), gpu, options=options)
            )
            for options in ALL
        }
        for batch in BATCHES:
            faces = np.random.default_rng(0).uniform(-1, 1, (batch, 3, 112, 96)).astype(np.float32)
            calls = {_words(options): partial(backend.run, faces) for options, backend in backends.items()}
            found = time_alternating(calls, warmup=20, runs=200)
            plain, default = found[_words(PLAIN)], found[_words(GpuOptions())]
            for words, latency in found.items():
                print(f"batch {batch}: {words:<24} {_shown(latency)} {plain.p50_ms / latency.p50_ms:.2f}x")
            slower = slower or default.p50_ms > plain.p50_ms
        print(gpu, "|", {_words(options): backend.describe()["graph"] for options, backend in backends.items()})
    return int(slower)


def _words(options: GpuOptions) -> str:
    return f"{'pinned' if options.pinned else 'pageable'}, {'graph' if options.graph else 'no graph'}"


def _shown(latency: Latency) -> str:
    return f"p50 {latency.p50_ms:.3f} ms, p99 {latency.p99_ms:.3f} ms, iqr {latency.iqr_ms:.3f} ms"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "tensorrt"))
