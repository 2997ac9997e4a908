"""How much memory a model needs on a device's CPU: measured in a process of its own, not estimated."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

__all__ = ["peak_memory"]

# The kernel's VmHWM belongs to the process alone; getrusage's figure starts at its parent's.
SCRIPT = """
import re, sys
import numpy, onnxruntime
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
options = onnxruntime.SessionOptions()
options.intra_op_num_threads, options.log_severity_level = 1, 3
before = peak()
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
shape = [1, *session.get_inputs()[0].shape[1:]]
session.run(None, {"input": numpy.zeros(shape, numpy.float32)})
print((peak() - before) * 1024)
"""


def peak_memory(model: Path) -> int | None:
    """Bytes a process grows by, at its highest, when it loads `model` and embeds one face.

    ONNX Runtime, CPU, one thread; ONNX Runtime's own libraries are not counted. None where it cannot be measured: not
    on Linux, or the process failed.
    """
    if not sys.platform.startswith("linux"):
        return None
    done = subprocess.run([sys.executable, "-c", SCRIPT, str(model)], capture_output=True, text=True)
    return int(done.stdout) if done.returncode == 0 and done.stdout.strip().isdigit() else None
