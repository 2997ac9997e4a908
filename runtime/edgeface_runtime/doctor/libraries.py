"""CUDA's runtime and cuDNN: which of them a program finds here, in the system or in pip's packages."""

from __future__ import annotations

from edgeface_runtime.doctor.finding import Finding, missing, ok
from edgeface_runtime.doctor.host import Host

__all__ = ["probe_libraries"]

SCRIPT = """
import ctypes, glob, json, os
def loaded(names):
    for name in names:
        pip = [found for entry in sys.path for found in glob.glob(os.path.join(entry, "nvidia", "*", "lib", name))]
        for path in (name, *pip):
            try:
                return path, ctypes.CDLL(path)
            except OSError:
                pass
    return None, None
found = {}
path, library = loaded([f"libcudart.so.{major}" for major in ("13", "12", "11.0")])
if library:
    version = ctypes.c_int(0)
    library.cudaRuntimeGetVersion(ctypes.byref(version))
    found["CUDA runtime"] = {"path": path, "version": f"{version.value // 1000}.{version.value % 1000 // 10}"}
path, library = loaded(["libcudnn.so.9", "libcudnn.so.8"])
if library:
    library.cudnnGetVersion.restype = ctypes.c_size_t
    found["cuDNN"] = {"path": path, "number": library.cudnnGetVersion()}
print(json.dumps(found))
"""


def probe_libraries(host: Host) -> list[Finding]:
    """One finding for the CUDA runtime and one for cuDNN, which ONNX Runtime's CUDA provider needs."""
    answer = host.python(SCRIPT, timeout_s=60)
    found = answer.data or {}
    mend = "sudo apt install nvidia-jetpack" if host.jetson else ""
    if not mend and "onnxruntime-gpu" in host.distributions:  # beside onnxruntime it would overwrite that
        mend = "pip install 'onnxruntime-gpu[cuda,cudnn]'"
    findings = []
    for part in ("CUDA runtime", "cuDNN"):
        entry = found.get(part)
        if entry is None:
            why = answer.why or "not found"
            findings.append(missing(part, f"{why}; only ONNX Runtime on a GPU needs it", mend))
            continue
        version = entry.get("version") or _cudnn(int(entry["number"]))
        findings.append(ok(part, f"{version} ({entry['path']})", version=version, path=entry["path"]))
    return findings


def _cudnn(number: int) -> str:
    """Such as 9.10.2 of 91002, and 8.9.7 of 8907."""
    scale = 10_000 if number >= 90_000 else 1_000
    return f"{number // scale}.{number % scale // 100}.{number % 100}"
