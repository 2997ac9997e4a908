"""What is right and wrong with this machine, and the command that mends each thing.

Needs nothing but the standard library: packages with native code are imported in processes of their own, and one
probe that fails is one line of the report.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from edgeface_runtime.doctor.backends import probe_onnxruntime, probe_tensorrt, probe_tensorrt_rtx
from edgeface_runtime.doctor.cpu import probe_clock, probe_cpu
from edgeface_runtime.doctor.finding import Finding, problem
from edgeface_runtime.doctor.gpu import probe_gpus
from edgeface_runtime.doctor.host import Host
from edgeface_runtime.doctor.jetson import probe_jetson
from edgeface_runtime.doctor.libraries import probe_libraries
from edgeface_runtime.doctor.packages import (
    probe_bindings,
    probe_cryptography,
    probe_numpy,
    probe_opencv,
    probe_torch,
)
from edgeface_runtime.doctor.runners import find_runners, first_gpu, without_gpu
from edgeface_runtime.doctor.storage import probe_cache, probe_data, probe_memory
from edgeface_runtime.doctor.system import probe_python

if TYPE_CHECKING:
    from edgeface_runtime.bundle import Bundle

__all__ = ["Diagnosis", "Finding", "Host", "diagnose"]

Found = Finding | list[Finding] | None

PROBES: tuple[tuple[str, str, Callable[[Host], Found]], ...] = (
    ("machine", "python", probe_python),
    ("machine", "processor", probe_cpu),
    ("machine", "clock", probe_clock),
    ("machine", "memory", probe_memory),
    ("machine", "cache", probe_cache),
    ("machine", "data sets", probe_data),
    ("jetson", "board", probe_jetson),
    ("gpu", "driver", probe_gpus),
    ("gpu", "CUDA runtime", probe_libraries),
    ("packages", "onnxruntime", probe_onnxruntime),
    ("packages", "tensorrt", probe_tensorrt),
    ("packages", "tensorrt-rtx", probe_tensorrt_rtx),
    ("packages", "cuda-python", probe_bindings),
    ("packages", "numpy", probe_numpy),
    ("packages", "opencv", probe_opencv),
    ("packages", "torch", probe_torch),
    ("packages", "cryptography", probe_cryptography),
)
"""Heading, name for messages, probe."""
AT_ONCE = 4
"""Probes that run at the same time: most wait for another process."""


@dataclass(frozen=True)
class Diagnosis:
    """All that was found."""

    findings: tuple[Finding, ...]
    """In the order they are shown."""
    runs: bool
    """Whether anything here can run a bundle."""
    mend: str
    """What to do where nothing can; else empty."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return {"runs": self.runs, "mend": self.mend, "findings": [finding.to_dict() for finding in self.findings]}


def diagnose(host: Host | None = None, bundle: Bundle | None = None) -> Diagnosis:
    """Look at everything; takes seconds, most of them for importing packages.

    Args:
        host: the machine; None: this one.
        bundle: an open bundle: what of it runs here is looked at too.
    """
    host = host or Host()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = list(pool.map(lambda probe: _guarded(host, *probe), PROBES))
    findings = [finding for result in results for finding in result]
    if first_gpu({finding.part: finding for finding in findings}) is None:
        findings = [without_gpu(finding) if finding.part == "onnxruntime" else finding for finding in findings]
    by_part = {finding.part: finding for finding in findings}
    runners = find_runners(by_part)
    findings += [replace(runner, group="backends") for runner in runners]
    if bundle is not None:
        findings += _guarded(
            host, f"bundle {bundle.manifest.name}", "bundle", lambda h: _of_bundle(h, bundle, runners)
        )
    runs = any(runner.state == "ok" for runner in runners)
    mend = "" if runs else runners[0].mend or "pip install 'edgeface[cpu]'"
    return Diagnosis(tuple(findings), runs, mend)


def _of_bundle(host: Host, bundle: Bundle, runners: Sequence[Finding]) -> list[Finding]:
    from edgeface_runtime.doctor.bundle_here import probe_bundle

    return probe_bundle(host, bundle, list(runners))


def _guarded(host: Host, group: str, part: str, probe: Callable[[Host], Found]) -> list[Finding]:
    """What a probe found; where the probe itself fails, that is the finding."""
    try:
        found = probe(host)
    except Exception as exc:
        found = problem(part, f"could not be looked at: {type(exc).__name__}: {' '.join(str(exc).split())[:200]}")
    listed = found if isinstance(found, list) else [] if found is None else [found]
    return [replace(finding, group=group) for finding in listed]
