"""Memory, the cache folder and the data sets' folder."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

from edgeface_runtime.doctor.finding import Finding, missing, ok, problem
from edgeface_runtime.doctor.host import Host

__all__ = ["probe_cache", "probe_data", "probe_memory"]

LEAST_MEMORY = 400 << 20
"""Free memory below which loading a full network may fail, bytes."""
LEAST_DISK = 500 << 20
"""Free disk below which an engine and its timing cache may not fit, bytes."""


def probe_memory(host: Host) -> Finding:
    """Memory of the machine, or what its control group leaves of it."""
    sizes: dict[str, int] = {}
    for line in (host.text("/proc/meminfo") or "").splitlines():
        words = line.replace(":", " ").split()
        if len(words) >= 2 and words[1].isdigit():
            sizes[words[0]] = int(words[1]) * 1024
    total, free = sizes.get("MemTotal"), sizes.get("MemAvailable")
    if total is None or free is None:
        return problem("memory", "/proc/meminfo says nothing")
    note = ""
    limit, used = (host.text(f"/sys/fs/cgroup/memory.{name}") or "" for name in ("max", "current"))
    if limit.isdigit() and int(limit) < total:
        total = int(limit)
        free = min(free, max(0, total - int(used))) if used.isdigit() else min(free, total)
        note = " (the container's limit)"
    detail = f"{_gb(free)} of {_gb(total)} GB free{note}"
    facts: dict[str, Any] = {"total_bytes": total, "available_bytes": free}
    if free < LEAST_MEMORY:
        mend = "sudo systemctl isolate multi-user.target" if host.jetson else "ps aux --sort=-rss | head"
        why = "stops the desktop" if host.jetson else "shows who holds it"
        return problem("memory", f"{detail}: a full network may not load ({why}:)", mend, **facts)
    return ok("memory", detail, **facts)


def probe_cache(host: Host) -> Finding:
    """Whether engines and checked hashes can be kept, and how much room there is."""
    named = host.environ.get("EDGEFACE_CACHE")
    home = host.environ.get("HOME")
    mend = "export EDGEFACE_CACHE=/a/writable/folder"
    if not named and not home:
        return problem("cache", "there is no home folder to keep engines in", mend)
    folder = Path(named) if named else Path(home or "") / ".cache" / "edgeface"
    there = folder
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
        free = shutil.disk_usage(there).free
    except OSError as exc:
        return problem("cache", f"{folder} cannot be written: {exc.strerror or exc}", mend, folder=str(folder))
    facts: dict[str, Any] = {"folder": str(folder), "free_bytes": free}
    if free < LEAST_DISK:
        return problem("cache", f"{folder}: {_gb(free)} GB free, an engine may not fit", mend, **facts)
    return ok("cache", f"{folder}: writable, {_gb(free)} GB free", **facts)


def probe_data(host: Host) -> Finding:
    """Whether the research data sets are where EDGEFACE_DATA says."""
    named = host.environ.get("EDGEFACE_DATA")
    mend = "export EDGEFACE_DATA=/the/folder"
    if not named:
        return missing("data sets", "EDGEFACE_DATA is not set; only tests and recipes on them need it", mend)
    if not Path(named).is_dir():
        return problem("data sets", f"EDGEFACE_DATA names {named}, which is no folder", mend, folder=named)
    found = sorted(entry.name for entry in Path(named).iterdir() if entry.is_dir())
    return ok("data sets", f"{named}: {', '.join(found) or 'empty'}", folder=named, sets=found)


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.1f}"
