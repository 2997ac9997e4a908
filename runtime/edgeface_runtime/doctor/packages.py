"""Packages that are not a backend: OpenCV, CUDA's bindings, torch, cryptography; each imported in its own process."""

from __future__ import annotations

from collections.abc import Sequence

from edgeface_runtime.doctor.finding import Finding, missing, ok, problem
from edgeface_runtime.doctor.host import Host
from edgeface_runtime.errors import EXTRAS

__all__ = ["probe_bindings", "probe_cryptography", "probe_numpy", "probe_opencv", "probe_torch"]

VERSION = """
import importlib, json
module = importlib.import_module(sys.argv[1])
print(json.dumps({"version": str(getattr(module, "__version__", ""))}))
"""
TORCH = """
import json, torch
print(json.dumps({"version": torch.__version__, "cuda": torch.version.cuda, "gpu": torch.cuda.is_available()}))
"""
OPENCVS = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
HEADLESS = "pip install opencv-python-headless"


def probe_numpy(host: Host) -> Finding:
    """Arrays: nothing runs without."""
    answer = host.python(VERSION, "numpy")
    if answer.data is None:
        return problem("numpy", f"does not load: {answer.why}", "pip install --force-reinstall numpy")
    return ok("numpy", answer.data["version"], version=answer.data["version"])


def probe_opencv(host: Host) -> Finding:
    """OpenCV: whether it loads (libGL!), and whether there is only one of its packages."""
    found = [name for name in OPENCVS if name in host.distributions]
    answer = host.python(VERSION, "cv2")
    all_gone = f"pip uninstall -y {' '.join(found)} && {HEADLESS}" if found else HEADLESS
    if answer.data is None:
        if answer.lacks == "cv2" and not found:
            return problem("opencv", "not installed: no picture can be read", HEADLESS)
        return problem("opencv", f"does not load: {answer.why}", all_gone)
    version = answer.data["version"]
    kind = ", ".join(found) or "of the system"
    if len(found) > 1:
        return problem("opencv", f"{version}, but {kind} overwrite each other", all_gone, version=version)
    return ok("opencv", f"{version} ({kind})", version=version, distributions=found)


def probe_bindings(host: Host) -> list[Finding]:
    """cuda-python and pycuda: TensorRT needs one of them for its memory."""
    python = _binding(host, "cuda-python", ("cuda-python", "cuda-bindings"), ("cuda.bindings.runtime", "cuda.cudart"))
    pycuda = _binding(host, "pycuda", ("pycuda",), ("pycuda.driver",))
    if python.state == "ok" and pycuda.state == "missing":
        pycuda = missing("pycuda", "not installed, nor needed beside cuda-python")
    return [python, pycuda]


def _binding(host: Host, part: str, distributions: Sequence[str], modules: Sequence[str]) -> Finding:
    version = next((host.distributions[name] for name in distributions if name in host.distributions), None)
    if version is None:
        return missing(part, "not installed; TensorRT needs cuda-python or pycuda", f"pip install {part}")
    answers = [host.python(VERSION, module) for module in modules]
    if all(answer.data is None for answer in answers):
        return problem(part, f"{version} does not load: {answers[0].why}", f"pip install --force-reinstall {part}")
    return ok(part, version, version=version)


def probe_torch(host: Host) -> Finding:
    """torch: for training and export, never on a device."""
    mend = "pip install 'edgeface[train]'"
    answer = host.python(TORCH)
    if answer.lacks == "torch":
        return missing("torch", "not installed; only training and export need it", mend)
    if answer.data is None:
        return problem("torch", f"does not load: {answer.why}", "pip install --force-reinstall torch")
    cuda = answer.data["cuda"]
    kind = f"built for CUDA {cuda}" if cuda else "CPU build"
    seen = ", sees a GPU" if answer.data["gpu"] else ""
    return ok("torch", f"{answer.data['version']} ({kind}{seen})", **answer.data)


def probe_cryptography(host: Host) -> Finding:
    """cryptography: signatures of bundles, encrypted galleries."""
    extra = EXTRAS.get("cryptography")
    mend = f"pip install 'edgeface[{extra}]'" if extra else "pip install cryptography"
    answer = host.python(VERSION, "cryptography.hazmat.primitives.asymmetric.ed25519")
    if answer.lacks == "cryptography":
        return missing("cryptography", "not installed; only signatures and encryption need it", mend)
    if answer.data is None:
        again = "pip install --force-reinstall cryptography"
        return problem("cryptography", f"does not load: {answer.why}", again)
    version = host.distributions.get("cryptography", "of the system")
    return ok("cryptography", version, version=version)
