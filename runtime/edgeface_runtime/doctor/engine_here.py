"""Whether an engine would be loaded on this machine, without loading it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeface_runtime.backends.driver import Gpu
from edgeface_runtime.doctor.backends import probe_tensorrt, probe_tensorrt_rtx
from edgeface_runtime.doctor.finding import Finding, ok, problem
from edgeface_runtime.doctor.gpu import probe_gpus
from edgeface_runtime.doctor.host import Host
from edgeface_runtime.doctor.packages import probe_bindings
from edgeface_runtime.doctor.runners import by_tensorrt, first_gpu
from edgeface_runtime.engine import read_sidecar
from edgeface_runtime.engine_check import Here, check_sidecar
from edgeface_runtime.errors import EdgefaceError

__all__ = ["engine_here", "here_of"]


def engine_here(host: Host, engine: Path, flavour: str) -> Finding:
    """Look for a GPU, the engine's own TensorRT and CUDA's bindings, then compare the sidecar with them."""
    package = probe_tensorrt(host) if flavour == "tensorrt" else probe_tensorrt_rtx(host)
    findings = [*probe_gpus(host), package, *probe_bindings(host)]
    found = {finding.part: finding for finding in findings}
    runner = by_tensorrt(found, flavour)
    if runner.state == "ok":
        try:
            check_sidecar(engine, read_sidecar(engine), here_of(flavour, runner.facts))
        except EdgefaceError as exc:
            return problem(flavour, f"stale: {exc}", engine=str(engine))
        return ok(flavour, f"engine {engine}", engine=str(engine))
    if first_gpu(found) is None:
        driver = next(finding for finding in findings if finding.state != "ok")
        return problem(flavour, driver.detail, driver.mend)
    return runner


def here_of(flavour: str, facts: Mapping[str, Any]) -> Here:
    """What an engine would run on, by the facts of `by_tensorrt`."""
    gpu = facts["gpu"]
    driver = Gpu(int(gpu["index"]), str(gpu["name"]), str(gpu["compute_capability"]), str(facts["driver"]))
    return Here(flavour, str(facts["version"]), driver)
