"""Is there an NVIDIA driver, and which GPU? Asked of `libcuda.so.1` itself, before anything that would crash without.

TensorRT's deserialiser may end the whole process when there is no driver, so every GPU path comes here first.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from edgeface_runtime.errors import DeviceError

__all__ = ["Gpu", "GpuMemory", "gpu_memory", "require_gpu"]

LIBRARY = "libcuda.so.1"
MAJOR_ATTRIBUTE = 75
MINOR_ATTRIBUTE = 76
INTEGRATED_ATTRIBUTE = 18
MEND = "install it (JetPack brings it; a container needs --gpus all), or run on the CPU"


@dataclass(frozen=True)
class Gpu:
    """One GPU as its driver describes it."""

    index: int
    """Number of the device, from 0."""
    name: str
    """Product name."""
    compute_capability: str
    """Such as 8.7."""
    driver: str
    """CUDA version the driver supports, such as 12.6."""


def require_gpu(index: int = 0) -> Gpu:
    """The GPU of that number.

    Raises:
        DeviceError: no driver, a driver that does not start, or no such GPU.
    """
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as exc:
        raise DeviceError(f"no NVIDIA driver: {LIBRARY} was not found: {MEND}") from exc
    code = int(library.cuInit(0))
    if code != 0:
        raise DeviceError(f"the NVIDIA driver does not start: cuInit says {_error_name(library, code)}: {MEND}")
    count = _asked_int(library, "cuDeviceGetCount")
    if not 0 <= index < count:
        raise DeviceError(
            f"there is no GPU {index}: the driver knows {count}: give --device cuda:N with N below {count}"
        )
    version = _asked_int(library, "cuDriverGetVersion")
    device = _asked_int(library, "cuDeviceGet", index)
    name = ctypes.create_string_buffer(256)
    _check(library, "cuDeviceGetName", library.cuDeviceGetName(name, 256, device))
    major = _asked_int(library, "cuDeviceGetAttribute", MAJOR_ATTRIBUTE, device)
    minor = _asked_int(library, "cuDeviceGetAttribute", MINOR_ATTRIBUTE, device)
    return Gpu(
        index=index,
        name=name.value.decode(errors="replace"),
        compute_capability=f"{major}.{minor}",
        driver=f"{version // 1000}.{version % 1000 // 10}",
    )


@dataclass(frozen=True)
class GpuMemory:
    """Memory of a GPU as its driver counts it."""

    free_bytes: int
    """What nobody has taken."""
    total_bytes: int
    """All of it."""
    shared: bool
    """Whether it is the machine's own memory, as on a Jetson."""


def gpu_memory(index: int = 0) -> GpuMemory:
    """The memory of the GPU of that number, which `require_gpu` has found.

    Raises:
        DeviceError: the driver refuses.
    """
    library = ctypes.CDLL(LIBRARY)
    device = _asked_int(library, "cuDeviceGet", index)
    shared = bool(_asked_int(library, "cuDeviceGetAttribute", INTEGRATED_ATTRIBUTE, device))
    context, free, total = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
    retained = library.cuDevicePrimaryCtxRetain(ctypes.byref(context), device)
    _check(library, "cuDevicePrimaryCtxRetain", retained)
    try:
        _check(library, "cuCtxPushCurrent", library.cuCtxPushCurrent_v2(context))
        try:
            asked = library.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
            _check(library, "cuMemGetInfo", asked)
        finally:
            library.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
    finally:
        library.cuDevicePrimaryCtxRelease_v2(device)
    return GpuMemory(free.value, total.value, shared)


def _asked_int(library: ctypes.CDLL, function: str, *args: int) -> int:
    """Call a driver function whose first argument receives an int."""
    answer = ctypes.c_int(0)
    _check(library, function, getattr(library, function)(ctypes.byref(answer), *args))
    return answer.value


def _check(library: ctypes.CDLL, function: str, code: int) -> None:
    if code != 0:
        raise DeviceError(f"the NVIDIA driver failed: {function} says {_error_name(library, code)}")


def _error_name(library: ctypes.CDLL, code: int) -> str:
    text = ctypes.c_char_p()
    if library.cuGetErrorName(code, ctypes.byref(text)) == 0 and text.value:
        return text.value.decode(errors="replace")
    return f"error {code}"
