"""How much scratch memory a build may take when nobody says: a share of what is free now."""

from __future__ import annotations

import re
from pathlib import Path

from edgeface_runtime.backends.driver import Gpu, gpu_memory

__all__ = ["SHARE", "default_workspace", "is_memory", "memory_mend"]

SHARE = 0.5
"""Of the free memory; the weights, the faces and other programs need the rest."""
MEMINFO = Path("/proc/meminfo")
MEMORY = re.compile(
    r"out ?of ?memory|not enough memory|insufficient (memory|workspace)|workspace (limit|size)|memoryallocation"
    r"|bad_alloc|requested size was|could not allocate|failed to allocate",
    re.IGNORECASE,
)
"""How TensorRT's reasons speak of memory."""


def default_workspace(gpu: Gpu | None) -> int | None:
    """SHARE of what is free, MiB: of the GPU's memory, on a Jetson of no more than the machine has left.

    Without a GPU it is the machine's own; None where that is not known, which leaves TensorRT its own limit.
    """
    free = [] if gpu is None else [gpu_memory(gpu.index)]
    sizes = [memory.free_bytes for memory in free]
    available = _available_bytes()
    if available is not None and all(memory.shared for memory in free):
        sizes.append(available)
    return max(1, int(SHARE * min(sizes)) >> 20) if sizes else None


def _available_bytes() -> int | None:
    """What the kernel says a new program may have; None where it does not say."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", MEMINFO.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None


def is_memory(reason: str) -> bool:
    """Whether a reason of TensorRT is that memory was short."""
    return MEMORY.search(reason) is not None


def memory_mend(workspace_mib: int | None, max_batch: int) -> str:
    """What to do when memory was short."""
    now = f" (now {workspace_mib} MiB)" if workspace_mib is not None else ""
    return (
        f"memory was short: free some or change --workspace{now}, or give a smaller --max-batch (now {max_batch}) "
        "or --builder-level"
    )
