"""The packages that run a network: ONNX Runtime and the two TensorRTs, each tried in a process of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeface_runtime.doctor.finding import Finding, missing, ok, problem
from edgeface_runtime.doctor.host import Host

__all__ = ["CPU", "CUDA", "TENSORRT", "probe_onnxruntime", "probe_tensorrt", "probe_tensorrt_rtx", "try_models"]

CPU, CUDA, TENSORRT = (f"{name}ExecutionProvider" for name in ("CPU", "CUDA", "Tensorrt"))
ORT = """
import json
import onnxruntime as ort
providers, tried = ort.get_available_providers(), {}
for path in json.loads(sys.argv[1]):
    tried[path] = {}
    for provider in [name for name in ("CPUExecutionProvider", "CUDAExecutionProvider") if name in providers]:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        try:
            wanted = list(dict.fromkeys([provider, "CPUExecutionProvider"]))
            used = ort.InferenceSession(path, options, providers=wanted).get_providers()[0]
            tried[path][provider] = "" if used == provider else f"falls back to {used}"
        except Exception as exc:
            tried[path][provider] = " ".join(str(exc).split())[:200] or type(exc).__name__
print(json.dumps({"version": ort.__version__, "providers": providers, "tried": tried}))
"""
VERSION = """
import importlib, json
module = importlib.import_module(sys.argv[1])
print(json.dumps({"version": str(module.__version__), "builder": hasattr(module, "Builder")}))
"""
SMALL_MODEL = Path(__file__).resolve().parents[1] / "mtcnn" / "pnet.onnx"
"""A network of a few kilobytes that every installation has."""


def try_models(host: Host, models: Sequence[Path]) -> dict[str, Any] | str:
    """Load ONNX files on every provider that is there.

    Returns:
        `version`, `providers`, and `tried`: path -> provider -> "" or why it does not load; or why nothing did, in
        words; empty words where ONNX Runtime is not installed.
    """
    answer = host.python(ORT, json.dumps([str(path) for path in models]))
    if answer.data is not None:
        return answer.data
    return "" if answer.lacks == "onnxruntime" else answer.why


def probe_onnxruntime(host: Host) -> Finding:
    """Version, providers, and whether a small network really loads on each."""
    found = [name for name in ("onnxruntime", "onnxruntime-gpu") if name in host.distributions]
    kind = "gpu" if "onnxruntime-gpu" in found else "cpu"
    again = f"pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'edgeface[{kind}]'"
    data = try_models(host, [SMALL_MODEL])
    if isinstance(data, str):
        if not data and not found:
            return missing("onnxruntime", "not installed", "pip install 'edgeface[cpu]'")
        return problem("onnxruntime", f"does not load: {data or 'its files are gone'}", again)
    tried = data["tried"][str(SMALL_MODEL)]
    facts = {"version": data["version"], "providers": data["providers"], "loads": tried}
    names = [name.removesuffix("ExecutionProvider") for name in data["providers"]]
    detail = f"{data['version']} ({', '.join(names)})"
    if len(found) > 1:
        return problem("onnxruntime", f"{detail}: {' and '.join(found)} overwrite each other", again, **facts)
    if why := tried.get(CPU):
        return problem("onnxruntime", f"{detail} does not load a network: {why}", again, **facts)
    if why := tried.get(CUDA):
        mend = "sudo apt install nvidia-jetpack" if host.jetson else "pip install 'onnxruntime-gpu[cuda,cudnn]'"
        return problem("onnxruntime", f"{detail}, but CUDA does not start: {why}", mend, **facts)
    return ok("onnxruntime", detail, **facts)


def probe_tensorrt(host: Host) -> Finding:
    """TensorRT: installed, whole and loading, or only pip's stub."""
    answer = host.python(VERSION, "tensorrt")
    stub = next((v for k, v in host.distributions.items() if k == "tensorrt" or k.startswith("tensorrt-cu")), None)
    full = "pip install --force-reinstall --no-cache-dir tensorrt"
    if host.jetson:
        full = "sudo apt install nvidia-jetpack"
    if answer.data is not None:
        if not answer.data["builder"]:
            return problem("tensorrt", f"{answer.data['version']} is the lean runtime: it cannot build engines", full)
        return ok("tensorrt", answer.data["version"], version=answer.data["version"])
    if answer.lacks != "tensorrt":
        return problem("tensorrt", f"installed but does not load: {answer.why}", full, version=stub)
    system = host.glob("/usr/lib/python3*/dist-packages/tensorrt")
    if system:
        mend = "python3 -m venv --system-site-packages .venv"
        return problem("tensorrt", f"{system[0]} is there, this environment does not see it", mend)
    if stub:
        return problem("tensorrt", f"{stub} is a stub without the libraries", full, version=stub)
    return missing("tensorrt", "not installed", "pip install 'edgeface[tensorrt]'" if not host.jetson else full)


def probe_tensorrt_rtx(host: Host) -> Finding:
    """TensorRT-RTX: installed and loading."""
    mend = "pip install 'edgeface[rtx]'"
    answer = host.python(VERSION, "tensorrt_rtx")
    if answer.data is not None:
        return ok("tensorrt-rtx", answer.data["version"], version=answer.data["version"])
    if answer.lacks == "tensorrt_rtx":
        return missing("tensorrt-rtx", "not installed", mend)
    return problem("tensorrt-rtx", f"installed but does not load: {answer.why}", f"{mend} --force-reinstall")
