"""Is the network at ratio .5 at least 2.2 times as fast as at ratio 0? (ONNX Runtime, one CPU thread, batch 1)

Both are full width with random weights, timed alternately in one process. Run: `make bench`. Exit code 1 if not.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from edgeface.workflows.benchmark import BenchmarkSettings, benchmark, random_subjects

GATE = 2.2


def main() -> int:
    settings = BenchmarkSettings(batches=(1,), runs=60)
    slow = False
    for mask in ("none", "decoder"):
        with tempfile.TemporaryDirectory() as work:
            report = benchmark(random_subjects((0.0, 0.5), Path(work), mask=mask), settings, weights="random")
        dense, half = report.rows
        print(
            f"mask {mask}: ratio 0 {dense.latency_ms['p50']:.1f} ms (iqr {dense.latency_ms['iqr']:.1f}), "
            f"ratio .5 {half.latency_ms['p50']:.1f} ms (iqr {half.latency_ms['iqr']:.1f}), "
            f"{half.speedup:.2f}x, to reach {GATE}x"
        )
        slow = slow or (half.speedup or 0) < GATE
    print(report.machine["processor"], "|", report.ran_on)
    return int(slow)


if __name__ == "__main__":
    sys.exit(main())
