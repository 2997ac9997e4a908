"""Is embedding by the runtime within 1.05 times a bare `InferenceSession.run` on the same ONNX? (CPU, batch 1 and 32)

The runtime takes aligned faces of uint8 BGR and gives unit embeddings that were checked; the bare session is given
a float32 batch that was made before. Both in turn in one process, the order changing every time; medians with
quartiles. Run: `python benchmarks/embed_overhead.py [BUNDLE] [--threads 1]`; without BUNDLE a network of ratio .5
with random weights is made first. Exit code 1 where the gate is missed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import onnxruntime
from random_bundle import random_bundle

from edgeface_runtime.embedding import to_batch
from edgeface_runtime.errors import EdgefaceError
from edgeface_runtime.recognizer import Recognizer

GATE = 1.05
ROUNDS = {1: 300, 32: 30}
WARM_UP = 5


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, nargs="?", help="by default one with random weights is made")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads of both; 0 leaves it to ONNX Runtime")
    parser.add_argument("--repeat", type=int, default=1, help="times as many rounds")
    options = parser.parse_args()
    with ExitStack() as stack:
        try:
            bundle = options.bundle or random_bundle(Path(stack.enter_context(tempfile.TemporaryDirectory())))
            recognizer = stack.enter_context(Recognizer.from_bundle(bundle, threads=options.threads))
        except EdgefaceError as exc:
            print(f"embed_overhead: {exc}", file=sys.stderr)
            return exc.exit_code
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads
        session = onnxruntime.InferenceSession(
            str(recognizer.bundle.model_path()), settings, providers=["CPUExecutionProvider"]
        )
        return max([measure(recognizer, session, size, rounds * options.repeat) for size, rounds in ROUNDS.items()])


def measure(recognizer: Recognizer, session: onnxruntime.InferenceSession, size: int, rounds: int) -> int:
    """Print a line; 1 where the gate is missed."""
    spec = recognizer.bundle.manifest.input
    crops = np.random.default_rng(0).integers(0, 256, (size, spec.height, spec.width, 3), dtype=np.uint8)
    batch = to_batch(crops, spec)
    name = session.get_inputs()[0].name
    sides: list[Callable[[], object]] = [
        lambda: recognizer.embed(crops),
        lambda: session.run(None, {name: batch}),
    ]
    seconds, busy = np.empty((rounds, 2)), np.empty((rounds, 2))
    for number in range(-WARM_UP, rounds):
        for side in (0, 1) if number % 2 else (1, 0):
            start, began = time.perf_counter(), time.thread_time()
            sides[side]()
            seconds[number, side], busy[number, side] = time.perf_counter() - start, time.thread_time() - began
    ours, bare = (seconds * 1e3).T
    own = np.median(busy[:, 0]) / np.median(busy[:, 1])
    quartiles = [np.percentile(values, (25, 75)) for values in (ours, bare)]
    low, ratio, high = np.percentile(ours / bare, (25, 50, 75))  # of pairs: the machine's speed may change meanwhile
    print(
        f"batch {size}: runtime {np.median(ours):.2f} ms ({quartiles[0][0]:.2f}-{quartiles[0][1]:.2f}), bare session "
        f"{np.median(bare):.2f} ms ({quartiles[1][0]:.2f}-{quartiles[1][1]:.2f}); {ratio:.3f} times its time "
        f"({low:.3f}-{high:.3f}, of pairs), to reach {GATE}; by processor time of the calling "
        f"thread {own:.3f}; {rounds} rounds"
    )
    return int(ratio > GATE)


if __name__ == "__main__":
    sys.exit(main())
