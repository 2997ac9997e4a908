"""Is PReLU as a multiplication and a maximum faster in ONNX Runtime? (one CPU thread, batch 1)

Both graphs are of one full-width network with random weights, timed alternately in one process. Run:
`python benchmarks/prelu.py`. Exit code 1 where the form that is exported is the slower one.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

from edgeface.workflows.benchmark import BenchmarkSettings, Subject, benchmark, random_subjects


def main() -> int:
    slower = False
    for ratio in (0.0, 0.5):
        with tempfile.TemporaryDirectory() as work:
            with patch("edgeface_export.fold.replace_prelus"):  # the graph as it would be without
                before = _subject(Path(work) / "prelu", ratio, "PReLU")
            after = _subject(Path(work) / "maximum", ratio, "maximum")
            report = benchmark([before, after], BenchmarkSettings(batches=(1,), runs=60), weights="random")
        first, second = report.rows
        print(
            f"ratio {ratio:g}: PReLU {first.latency_ms['p50']:.1f} ms (iqr {first.latency_ms['iqr']:.1f}), "
            f"maximum {second.latency_ms['p50']:.1f} ms (iqr {second.latency_ms['iqr']:.1f}), {second.speedup:.2f}x"
        )
        slower = slower or (second.speedup or 0) < 1
    print(report.machine["processor"], "|", report.ran_on)
    return int(slower)


def _subject(folder: Path, ratio: float, label: str) -> Subject:
    folder.mkdir()
    (made,) = random_subjects((ratio,), folder)
    return replace(made, label=label)


if __name__ == "__main__":
    sys.exit(main())
