"""Would pre-processing inside the model be faster? (ONNX Runtime, one CPU thread, batches of 1 and 8)

Host: `to_batch` makes the network's input, (N, 3, H, W) float32 RGB in [-1, 1]. Fused: the graph takes the crops as
they are, (N, H, W, 3) uint8 BGR, and scales, swaps and transposes them itself; the host only copies. Both of one
full-width network with random weights, timed alternately in one process. Run: `python benchmarks/fused_input.py`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from edgeface.workflows.benchmark import random_subjects
from edgeface.workflows.machine import describe_machine
from edgeface_calibration.latency import time_alternating
from edgeface_runtime.embedding import to_batch
from edgeface_runtime.manifest import InputSpec

Session = onnxruntime.InferenceSession
ROUNDS = 200


def fused(source: Path, target: Path) -> None:
    """Write the graph with pre-processing in front."""
    proto = onnx.load(str(source))
    spec = InputSpec()
    numbers = {"mean": np.float32(spec.mean), "scale": np.float32(1 / spec.std), "swap": np.array([2, 1, 0])}
    proto.graph.initializer.extend(numpy_helper.from_array(np.asarray(v), n) for n, v in numbers.items())
    steps = [
        helper.make_node("Cast", ["crops"], ["whole"], to=TensorProto.FLOAT),
        helper.make_node("Sub", ["whole", "mean"], ["centred"]),
        helper.make_node("Mul", ["centred", "scale"], ["scaled"]),
        helper.make_node("Transpose", ["scaled"], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Gather", ["planes", "swap"], ["input"], axis=1),
    ]
    nodes = [*steps, *proto.graph.node]
    del proto.graph.node[:], proto.graph.input[:]
    proto.graph.node.extend(nodes)
    shape = ["batch", spec.height, spec.width, 3]
    proto.graph.input.append(helper.make_tensor_value_info("crops", TensorProto.UINT8, shape))
    onnx.checker.check_model(proto, full_check=True)
    onnx.save(proto, str(target))


def session(path: Path) -> Session:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return Session(str(path), options, providers=["CPUExecutionProvider"])


def ways_of(plain: Session, inside: Session, crops: np.ndarray) -> dict[str, Callable[[], np.ndarray]]:
    return {
        "host": lambda: plain.run(["embedding"], {"input": to_batch(crops, InputSpec())})[0],
        "fused": lambda: inside.run(["embedding"], {"crops": crops})[0],
        "host's own part": lambda: to_batch(crops, InputSpec()),
    }


def main() -> None:
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as work:
        for precision in ("fp32", "int8"):
            (made,) = random_subjects((0.5,), Path(work), precision=precision)
            fused(made.model, Path(work) / "fused.onnx")
            plain, inside = session(made.model), session(Path(work) / "fused.onnx")
            for batch in (1, 8):
                crops = rng.integers(0, 256, (batch, 112, 96, 3), np.uint8)
                ways = ways_of(plain, inside, crops)
                assert (ways["host"]() * ways["fused"]()).sum(axis=1).min() > 0.9  # random INT8 weights amplify
                times = time_alternating(ways, warmup=5, runs=ROUNDS)
                told = ", ".join(f"{name} {taken.p50_ms:.3f} ms" for name, taken in times.items())
                ratio = times["host"].p50_ms / times["fused"].p50_ms
                spread = max(times["host"].spread, times["fused"].spread)
                print(f"R = .5, {precision}, batch {batch}: {told}; host / fused {ratio:.3f} (spread {spread:.2f})")
    print(describe_machine()["processor"])


if __name__ == "__main__":
    main()
