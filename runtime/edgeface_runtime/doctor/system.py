"""Python, its architecture and the C library: what decides which wheels install."""

from __future__ import annotations

import platform

from edgeface_runtime.doctor.finding import Finding, ok, problem
from edgeface_runtime.doctor.host import Host

__all__ = ["probe_python"]

OLDEST_GLIBC = (2, 27)
"""Below it the wheels of ONNX Runtime do not install."""


def probe_python(host: Host) -> Finding:
    """Version, architecture, C library."""
    version = platform.python_version()
    library, number = platform.libc_ver()
    detail = f"{version}, {host.machine}, {f'{library} {number}' if library else 'unknown C library'}"
    facts = {"version": version, "machine": host.machine, "libc": f"{library} {number}".strip()}
    if host.machine not in ("x86_64", "aarch64"):
        return problem("python", f"{detail}: there are wheels for x86_64 and aarch64 only", **facts)
    parts = tuple(int(part) for part in number.split(".")[:2] if part.isdigit())
    if library == "glibc" and parts and parts < OLDEST_GLIBC:
        return problem("python", f"{detail}: wheels of ONNX Runtime need glibc 2.27: use a newer system", **facts)
    return ok("python", detail, **facts)
