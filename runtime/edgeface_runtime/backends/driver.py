"""Is there an NVIDIA driver, and which GPU? Asked of `libcuda.so.1` itself, before anything that would crash without.

TensorRT's deserialiser may end the whole process when there is no driver, so every GPU path comes here first.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

from edgeface_runtime.errors import DeviceError

__all__ = ["Gpu", "require_gpu"]

LIBRARY = "libcuda.so.1"
MAJOR_ATTRIBUTE = 75
MINOR_ATTRIBUTE = 76
MEND = "install it (JetPack brings it; a container needs --gpus all), or use --backend onnxruntime"


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
