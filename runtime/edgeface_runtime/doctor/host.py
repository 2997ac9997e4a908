"""The machine as probes see it: files below a root, programs run with a timeout, packages tried in another process.

Native packages are never imported here: one that crashes or hangs on import takes only its own process with it.
"""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["Answer", "Host", "Ran", "run_program"]

TIMEOUT_S = 90.0
"""For one program; importing torch from a slow card takes tens of seconds."""


@dataclass(frozen=True)
class Ran:
    """What a program did."""

    code: int | None
    """Exit status, negative for a signal; None where it could not be started or took too long."""
    out: str = ""
    err: str = ""
    why: str = ""
    """Why there is no status."""


def run_program(command: Sequence[str], timeout_s: float = TIMEOUT_S) -> Ran:
    """Run a program without input; it is ended after `timeout_s`."""
    try:
        done = subprocess.run(
            list(command), stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        return Ran(None, why=f"gave no answer within {timeout_s:g} s")
    except OSError as exc:
        return Ran(None, why=exc.strerror or str(exc))
    return Ran(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


@dataclass(frozen=True)
class Answer:
    """What a script in another Python said."""

    data: dict[str, Any] | None
    """Its JSON object; None where it failed."""
    why: str = ""
    """Why it failed, one line."""
    lacks: str = ""
    """The module that is not installed, if that is why."""


def _versions() -> dict[str, str]:
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name = (distribution.metadata["Name"] or "").lower().replace("_", "-")
        found.setdefault(name, distribution.version)
    return found


@dataclass(frozen=True)
class Host:
    """Where probes look. All of it can be replaced by a made-up machine."""

    root: Path = Path("/")
    """Files such as /proc/cpuinfo are read below it."""
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    """Environment variables."""
    run: Callable[[Sequence[str], float], Ran] = run_program
    """Runs a program."""
    distributions: Mapping[str, str] = field(default_factory=_versions)
    """Installed Python packages: name in small letters with dashes -> version."""
    machine: str = field(default_factory=platform.machine)
    """Processor architecture, such as x86_64 or aarch64."""

    def text(self, path: str) -> str | None:
        """Content of a file such as /proc/cpuinfo, without trailing NULs and blanks; None where it cannot be read."""
        try:
            return (self.root / path.lstrip("/")).read_text(encoding="utf-8", errors="replace").rstrip("\0\n\t ")
        except OSError:
            return None

    def glob(self, pattern: str) -> list[str]:
        """Paths below the root that match, as absolute paths, sorted."""
        try:
            return sorted("/" + str(path.relative_to(self.root)) for path in self.root.glob(pattern.lstrip("/")))
        except OSError:
            return []

    def python(self, script: str, *arguments: str, timeout_s: float = TIMEOUT_S) -> Answer:
        """Run a script that prints a JSON object as its last line, in a Python of its own."""
        lines = "import sys\nsys.path[:] = [entry for entry in sys.path if entry]\n" + script
        ran = self.run([sys.executable, "-c", lines, *arguments], timeout_s)
        if ran.code is None:
            return Answer(None, ran.why)
        if ran.code < 0:
            return Answer(None, f"crashes ({_signal(-ran.code)})")
        if ran.code != 0:
            last = (ran.err.strip().splitlines() or [f"exit status {ran.code}"])[-1]
            lacks = (
                last.split("'")[1].split(".")[0] if last.startswith("ModuleNotFoundError:") and "'" in last else ""
            )
            return Answer(None, last[:240], lacks)
        try:
            data = json.loads(ran.out.strip().splitlines()[-1])
        except (ValueError, IndexError):
            return Answer(None, "gave no answer that can be read")
        return Answer(data) if isinstance(data, dict) else Answer(None, "gave no answer that can be read")

    @property
    def in_container(self) -> bool:
        """Whether this looks like a Docker or Podman container."""
        return self.text("/.dockerenv") is not None or self.text("/run/.containerenv") is not None

    @property
    def jetson(self) -> str | None:
        """Model of the Jetson this is, or None."""
        model = self.text("/proc/device-tree/model") or ""
        is_one = "jetson" in model.lower() or self.text("/etc/nv_tegra_release") is not None
        return (model or "Jetson") if is_one else None


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
