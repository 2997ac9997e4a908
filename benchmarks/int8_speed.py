"""Is INT8 at least 1.8 times as fast as FP32 at ratio 0 and 1.35 times at .5? (ONNX Runtime, one CPU thread, batch 1)

Full width with random weights, both precisions of a ratio timed alternately in one process. Run:
`python benchmarks/int8_speed.py`. Exit code 1 if not.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from edgeface.workflows.benchmark import BenchmarkSettings, Subject, benchmark, random_subjects

GATES = {0.0: 1.8, 0.5: 1.35}


def main() -> int:
    slow = False
    for ratio, gate in GATES.items():
        with tempfile.TemporaryDirectory() as work:
            both = [_subject(Path(work), ratio, precision) for precision in ("fp32", "int8")]
            report = benchmark(both, BenchmarkSettings(batches=(1,), runs=60), weights="random")
        whole, eighth = report.rows
        print(
            f"ratio {ratio:g}: FP32 {whole.latency_ms['p50']:.1f} ms (iqr {whole.latency_ms['iqr']:.1f}), "
            f"INT8 {eighth.latency_ms['p50']:.1f} ms (iqr {eighth.latency_ms['iqr']:.1f}), "
            f"{eighth.speedup:.2f}x, to reach {gate}x"
        )
        slow = slow or (eighth.speedup or 0) < gate
    print(report.machine["processor"], "|", report.ran_on)
    return int(slow)


def _subject(folder: Path, ratio: float, precision: str) -> Subject:
    (folder / precision).mkdir()
    (made,) = random_subjects((ratio,), folder / precision, precision=precision)
    return replace(made, label=precision)


if __name__ == "__main__":
    sys.exit(main())
