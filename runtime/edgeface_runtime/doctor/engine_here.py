"""Whether an engine would be loaded on this machine, without loading it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeface_runtime.doctor.backends import probe_tensorrt, probe_tensorrt_rtx
from edgeface_runtime.doctor.finding import Finding, ok, problem
from edgeface_runtime.doctor.gpu import probe_gpus
from edgeface_runtime.doctor.host import Host
from edgeface_runtime.doctor.packages import probe_bindings
from edgeface_runtime.doctor.runners import by_tensorrt, first_gpu
from edgeface_runtime.engine import check_sidecar, read_sidecar
from edgeface_runtime.errors import EdgefaceError

__all__ = ["check_engine", "engine_here"]


def engine_here(host: Host, engine: Path, flavour: str) -> Finding:
    """Look for a GPU, the engine's own TensorRT and CUDA's bindings, then compare the sidecar with them."""
    package = probe_tensorrt(host) if flavour == "tensorrt" else probe_tensorrt_rtx(host)
    findings = [*probe_gpus(host), package, *probe_bindings(host)]
    found = {finding.part: finding for finding in findings}
    runner = by_tensorrt(found, flavour)
    if runner.state == "ok":
        return check_engine(engine, flavour, flavour, runner.facts)
    if first_gpu(found) is None:
        driver = next(finding for finding in findings if finding.state != "ok")
        return problem(flavour, driver.detail, driver.mend)
    return runner


def check_engine(
    engine: Path, part: str, flavour: str, here: Mapping[str, Any], onnx_sha256: str | None = None, build: str = ""
) -> Finding:
    """Whether an engine's sidecar suits a machine.

    Args:
        part: name of the finding.
        here: `version` of the flavour's package and `gpu` with `name` and `compute_capability`, of `by_tensorrt`.
        onnx_sha256: of the model that should run; None where any will do.
        build: the command that builds it again.
    """
    gpu = here["gpu"]
    try:
        check_sidecar(
            engine,
            read_sidecar(engine),
            flavour,
            str(here["version"]),
            gpu["name"],
            gpu["compute_capability"],
            onnx_sha256,
        )
    except EdgefaceError as exc:
        return problem(part, f"stale: {exc}", build, engine=str(engine))
    return ok(part, f"engine {engine}", engine=str(engine))
