"""The most memory this process has held at once."""

from __future__ import annotations

import re
import resource
from pathlib import Path

__all__ = ["peak_memory"]


def peak_memory() -> int:
    """Largest resident memory since the program began, bytes.

    The kernel's high-water mark where it tells it: what getrusage gives, a process inherits from the one that started
    it, however large that was.
    """
    try:
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return (int(found[1]) if found else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024
