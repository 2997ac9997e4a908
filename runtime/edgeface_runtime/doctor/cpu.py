"""The processor: what it is, and the instructions that decide how fast INT8 is on it."""

from __future__ import annotations

import os

from edgeface_runtime.doctor.finding import Finding, ok
from edgeface_runtime.doctor.host import Host

__all__ = ["probe_clock", "probe_cpu"]

X86 = {
    "avx2": "AVX2",
    "avx512f": "AVX512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX512-VNNI",
    "amx_int8": "AMX-INT8",
}
"""Flag of /proc/cpuinfo -> its name; the last three multiply bytes."""
ARM = {"asimd": "NEON", "asimdhp": "FP16", "asimddp": "dotprod", "i8mm": "i8mm"}
"""The same for ARM; the last two multiply bytes."""
BYTES = frozenset({"avx_vnni", "avx512_vnni", "amx_int8", "asimddp", "i8mm"})
ARM_CORES = {
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd42"): "Cortex-A78AE",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x4e", "0x004"): "Carmel",
}
"""Implementer and part -> name of a core that Linux gives by number only."""


def probe_cpu(host: Host) -> Finding:
    """Model, cores this process may use, and what INT8 can count on."""
    fields: dict[str, str] = {}
    for line in (host.text("/proc/cpuinfo") or "").splitlines():
        name, found, value = line.partition(":")
        if found:
            fields.setdefault(name.strip().lower(), value.strip())
    flags = set(f"{fields.get('flags', '')} {fields.get('features', '')}".split())
    core = ARM_CORES.get((fields.get("cpu implementer", ""), fields.get("cpu part", "")))
    model = fields.get("model name") or core or fields.get("hardware") or host.machine
    names = [name for flag, name in {**X86, **ARM}.items() if flag in flags]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _quota(host)
    limited = "" if quota is None or quota >= cores else f" (limited to {quota:g} by the container)"
    if flags & BYTES:
        speed = "INT8 is fast on it"
    elif "avx2" in flags:
        speed = "INT8 goes by AVX2, faster than FP32 but no more than about twice"
    else:
        speed = "no instructions for INT8: use fp32"
    detail = f"{model}, {cores} core{'s' * (cores != 1)}{limited}; {', '.join(names) or 'no vectors known'}: {speed}"
    return ok("processor", detail, model=model, cores=cores, quota=quota, instructions=names)


def _quota(host: Host) -> float | None:
    """Cores the control group may use, None without a limit."""
    words = (host.text("/sys/fs/cgroup/cpu.max") or "").split()
    if len(words) != 2 or not words[0].isdigit() or not words[1].isdigit() or int(words[1]) == 0:
        return None
    return int(words[0]) / int(words[1])


def probe_clock(host: Host) -> Finding | None:
    """Whether the processor's clock is kept down; None where the system does not say, and on a Jetson."""
    governor = host.text("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    if governor is None or host.jetson:
        return None
    mend = "sudo cpupower frequency-set -g performance" if governor in ("powersave", "conservative") else ""
    return ok("clock", f"governor {governor}" + (": performance is faster" if mend else ""), mend, governor=governor)
