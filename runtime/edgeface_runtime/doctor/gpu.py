"""The driver and its GPUs, asked in another process: a driver half installed may crash or hang whoever asks."""

from __future__ import annotations

from typing import Any

from edgeface_runtime.doctor.finding import Finding, missing, ok, problem
from edgeface_runtime.doctor.host import Host

__all__ = ["probe_gpus"]

NVIDIA = "0x10de"
"""Vendor number on the PCI bus."""

SCRIPT = """
import ctypes, json
cuda = ctypes.CDLL("libcuda.so.1")
def named(code):
    text = ctypes.c_char_p()
    cuda.cuGetErrorName(code, ctypes.byref(text))
    return (text.value or b"error %d" % code).decode()
def asked(function, *arguments):
    answer = ctypes.c_int(0)
    code = getattr(cuda, function)(ctypes.byref(answer), *arguments)
    if code:
        raise SystemExit(f"{function} says {named(code)}")
    return answer.value
code = cuda.cuInit(0)
if code:
    raise SystemExit(f"cuInit says {named(code)}")
version, gpus = asked("cuDriverGetVersion"), []
for index in range(asked("cuDeviceGetCount")):
    device, name = asked("cuDeviceGet", index), ctypes.create_string_buffer(256)
    cuda.cuDeviceGetName(name, 256, device)
    major, minor = (asked("cuDeviceGetAttribute", number, device) for number in (75, 76))
    gpu = {"index": index, "name": name.value.decode(errors="replace"), "compute_capability": f"{major}.{minor}"}
    context, free, total = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
    code = cuda.cuDevicePrimaryCtxRetain(ctypes.byref(context), device) or cuda.cuCtxSetCurrent(context)
    code = code or cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
    gpu.update({"error": named(code)} if code else {"free_bytes": free.value, "total_bytes": total.value})
    gpus.append(gpu)
print(json.dumps({"cuda": f"{version // 1000}.{version % 1000 // 10}", "gpus": gpus}))
"""

MENDS = {
    "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH": "sudo reboot",
    "CUDA_ERROR_COMPAT_NOT_SUPPORTED_ON_DEVICE": "unset LD_LIBRARY_PATH",
    "CUDA_ERROR_UNKNOWN": "sudo modprobe nvidia_uvm",
    "CUDA_ERROR_NO_DEVICE": "nvidia-smi -L",
}
"""Error -> what mends it, or shows more."""


def probe_gpus(host: Host) -> list[Finding]:
    """The driver first, then one finding a GPU with its memory."""
    answer = host.python(SCRIPT, timeout_s=60)
    if answer.data is None:
        return [_no_driver(host, answer.why)]
    gpus = answer.data["gpus"]
    kernel = (host.text("/proc/driver/nvidia/version") or "").split("Kernel Module")[-1].split()
    module = next((word for word in kernel if word[:1].isdigit()), "")
    words = f"CUDA {answer.data['cuda']}" + (f", kernel module {module}" if module else "")
    driver = ok("driver", words, cuda=answer.data["cuda"], module=module, gpus=gpus)
    if not gpus:
        return [driver, missing("GPU", "the driver knows none: CUDA_VISIBLE_DEVICES?", "unset CUDA_VISIBLE_DEVICES")]
    return [driver, *(_gpu(gpu) for gpu in gpus)]


def _gpu(gpu: dict[str, Any]) -> Finding:
    part = f"GPU {gpu['index']}"
    words = f"{gpu['name']}, compute capability {gpu['compute_capability']}"
    if "error" in gpu:
        why = f"{words}, but it cannot be used: {gpu['error']}"
        return problem(part, why, "nvidia-smi", **gpu)
    memory = f"{gpu['free_bytes'] / 1e9:.1f} of {gpu['total_bytes'] / 1e9:.1f} GB free"
    return ok(part, f"{words}, {memory}", **gpu)


def _no_driver(host: Host, why: str) -> Finding:
    if "cannot open shared object file" not in why:
        name = why.rsplit(" ", 1)[-1]
        return problem("driver", f"it does not start: {why}", MENDS.get(name, "nvidia-smi"))
    vendors = [host.text(path) for path in host.glob("/sys/bus/pci/devices/*/vendor")]
    if host.jetson:
        run = (
            "docker run --runtime nvidia ..." if host.in_container else "sudo apt install --reinstall nvidia-l4t-cuda"
        )
        return problem("driver", "libcuda.so.1 was not found on this Jetson", run)
    if NVIDIA in vendors or host.text("/proc/driver/nvidia/version") is not None:
        run = "docker run --gpus all ..." if host.in_container else "sudo ubuntu-drivers install"
        return problem("driver", "there is an NVIDIA GPU, and libcuda.so.1 was not found", run)
    if host.in_container:
        words = "no NVIDIA GPU and no driver in this container: bundles run on the CPU, unless it is given one"
        return missing("driver", words, "docker run --gpus all ...")
    return missing("driver", "no NVIDIA GPU and no driver: bundles run on the CPU")
