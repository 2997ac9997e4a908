"""What can run a bundle here, concluded from what the probes found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edgeface_runtime.doctor.backends import CPU, CUDA, TENSORRT
from edgeface_runtime.doctor.finding import Finding, missing, ok, problem
from edgeface_runtime.engine import FLAVOURS

__all__ = ["by_tensorrt", "find_runners", "first_gpu", "without_gpu"]

RTX_CAPABILITIES = (8.0, 8.6, 8.9, 12.0)
"""Compute capabilities TensorRT-RTX is known to support; 12 and all of its minor numbers."""

Found = Mapping[str, Finding]


def first_gpu(found: Found) -> Mapping[str, Any] | None:
    """Facts of the first GPU that works, or None."""
    return next((f.facts for part, f in found.items() if part.startswith("GPU ") and f.state == "ok"), None)


def without_gpu(ort: Finding) -> Finding:
    """What was found of ONNX Runtime where there is no GPU: that its CUDA does not start is then no problem."""
    loads = ort.facts.get("loads", {})
    if ort.state != "problem" or loads.get(CPU) != "" or not loads.get(CUDA) or "overwrite" in ort.detail:
        return ort
    return replace(ort, state="ok", detail=f"{ort.facts['version']}, its CUDA waits for a GPU", mend="")


def find_runners(found: Found) -> list[Finding]:
    """One finding for each way to run a network, by `found`: part -> finding."""
    engines = [by_tensorrt(found, flavour) for flavour in FLAVOURS]
    return [_on_cpu(found), _on_cuda(found), _on_tensorrt_provider(found), *engines]


def _on_cpu(found: Found) -> Finding:
    part, ort = "onnxruntime, cpu", found["onnxruntime"]
    if ort.facts.get("loads", {}).get(CPU) == "":
        return ok(part, "runs", backend="onnxruntime", device="cpu")
    return missing(part, f"onnxruntime is {'not installed' if ort.state == 'missing' else 'broken'}", ort.mend)


def _on_cuda(found: Found) -> Finding:
    part, ort = "onnxruntime, cuda", found["onnxruntime"]
    why = ort.facts.get("loads", {}).get(CUDA)
    if first_gpu(found) is None:
        return missing(part, "there is no GPU that works")
    if why == "" and ort.state == "ok":
        return ok(part, "runs", backend="onnxruntime", device="cuda")
    if why is None and "board" in found:
        return missing(part, "there are no wheels with CUDA for a Jetson: use TensorRT")
    if why is None:
        mend = "pip uninstall -y onnxruntime && pip install 'edgeface[gpu]'"
        return missing(part, "the onnxruntime here has no CUDA", mend)
    return problem(part, "see onnxruntime above", ort.mend)


def _on_tensorrt_provider(found: Found) -> Finding:
    part = "onnxruntime-tensorrt"
    if first_gpu(found) is None:
        return missing(part, "there is no GPU that works")
    if TENSORRT not in found["onnxruntime"].facts.get("providers", ()):
        return missing(part, "the onnxruntime here has no TensorRT provider")
    return ok(part, "the provider is there; not tried, since it builds an engine", backend=part, device="cuda")


def by_tensorrt(found: Found, flavour: str) -> Finding:
    """Whether a TensorRT runs: the package, a GPU that it supports, and something to hold its memory."""
    package = found[flavour]
    gpu = first_gpu(found)
    if package.state != "ok":
        return Finding(flavour, package.state, package.detail, package.mend if gpu else "")
    if gpu is None:
        builds = "; engines can be built for other machines" if flavour == "tensorrt-rtx" else ""
        return missing(flavour, f"there is no GPU that works{builds}")
    if all(found[name].state != "ok" for name in ("cuda-python", "pycuda") if name in found):
        return missing(flavour, "neither cuda-python nor pycuda loads", found["cuda-python"].mend)
    capability = float(gpu["compute_capability"])
    if flavour == "tensorrt-rtx" and capability not in RTX_CAPABILITIES and int(capability) != 12:
        return problem(flavour, f"not known to support compute capability {capability:g}: use tensorrt")
    facts: dict[str, Any] = {
        "backend": flavour,
        "device": "cuda",
        "version": package.facts.get("version"),
        "gpu": dict(gpu),
        "driver": found["driver"].facts.get("cuda", ""),
    }
    return ok(flavour, f"{package.facts.get('version')} on {gpu['name']}", **facts)
