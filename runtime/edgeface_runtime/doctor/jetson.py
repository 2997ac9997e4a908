"""A Jetson: model, JetPack, power mode and clocks. Nothing of it is looked for on another machine."""

from __future__ import annotations

import re

from edgeface_runtime.doctor.finding import Finding, missing, ok
from edgeface_runtime.doctor.host import Host

__all__ = ["probe_jetson"]

JETPACKS = {"32": "4", "34": "5", "35": "5", "36": "6", "38": "7"}
"""Release of L4T -> JetPack, where its own package does not say."""
GPU_CLOCKS = "/sys/class/devfreq/*{}*"
GPU_NAMES = ("gpu", "ga10b", "gv11b", "gp10b", "gb10b")
CPU_CLOCK = "/sys/devices/system/cpu/cpu0/cpufreq"


def probe_jetson(host: Host) -> list[Finding]:
    """Model, software, power mode, clocks; nothing where this is no Jetson."""
    model = host.jetson
    if model is None:
        return []
    return [ok("board", model, model=model), _software(host), _power(host), _clocks(host)]


def _software(host: Host) -> Finding:
    text = host.text("/etc/nv_tegra_release") or ""
    match = re.search(r"R(\d+) \(release\), REVISION: ([\d.]+)", text)
    l4t = f"{match[1]}.{match[2]}" if match else None
    installed = host.text("/var/lib/dpkg/status") or ""
    package = re.search(r"^Package: nvidia-jetpack\n(?:.+\n)*?Version: ([\d.]+)", installed + "\n", re.MULTILINE)
    jetpack = package[1] if package else JETPACKS.get(match[1]) if match else None
    if l4t is None and jetpack is None:
        return missing("jetpack", "/etc/nv_tegra_release is not there", "sudo apt install nvidia-jetpack")
    words = f"JetPack {jetpack or 'of unknown version'}, L4T {l4t or 'unknown'}"
    return ok("jetpack", words, jetpack=jetpack, l4t=l4t)


def _power(host: Host) -> Finding:
    modes = {
        int(number): name
        for number, name in re.findall(
            r"<\s*POWER_MODEL\s+ID=(\d+)\s+NAME=(\S+?)\s*>", host.text("/etc/nvpmodel.conf") or ""
        )
    }
    name, number = None, None
    asked = host.run(["nvpmodel", "-q"], 10.0)
    match = re.search(r"NV Power Mode:\s*(\S+)\s+(\d+)", asked.out)
    if match:
        name, number = match[1], int(match[2])
    elif status := re.search(r"pmode:0*(\d+)", host.text("/var/lib/nvpmodel/status") or ""):
        number = int(status[1])
        name = modes.get(number)
    if number is None:
        return missing("power mode", "neither nvpmodel -q nor /var/lib/nvpmodel/status says", "sudo nvpmodel -q")
    label = name or f"mode {number}"
    best = next((key for key, value in modes.items() if value.startswith("MAXN")), 0)
    fastest = label.startswith("MAXN") or number == best
    note = "" if fastest else f": {modes.get(best, f'mode {best}')} is faster, and hotter"
    return ok("power mode", label + note, "" if fastest else f"sudo nvpmodel -m {best}", mode=number, name=name)


def _clocks(host: Host) -> Finding:
    pinned: dict[str, bool] = {}
    for kind in GPU_NAMES:
        for folder in host.glob(GPU_CLOCKS.format(kind)):
            _pinned(host, pinned, "GPU", f"{folder}/min_freq", f"{folder}/max_freq")
    _pinned(host, pinned, "CPU", f"{CPU_CLOCK}/scaling_min_freq", f"{CPU_CLOCK}/scaling_max_freq")
    if not pinned:
        return missing("clocks", "the system does not say", "sudo jetson_clocks --show")
    loose = [name for name, fixed in pinned.items() if not fixed]
    if not loose:
        return ok("clocks", "pinned", pinned=pinned)
    words = f"{' and '.join(loose)} not pinned: faces after a pause are slower, timings wander"
    return ok("clocks", words, "sudo jetson_clocks", pinned=pinned)


def _pinned(host: Host, found: dict[str, bool], name: str, low: str, high: str) -> None:
    least, most = host.text(low), host.text(high)
    if least and most:
        found[name] = least == most
