"""An engine: what it was built from and for, whether it is whole, whether it runs here, and where its time goes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeface.workflows.benchmark_report import Sheet
from edgeface.workflows.inspect.description import Description, Line, entries, megabytes
from edgeface_runtime.doctor.engine_here import engine_here
from edgeface_runtime.doctor.host import Host
from edgeface_runtime.engine import sidecar_path
from edgeface_runtime.engine_check import whole_engine

__all__ = ["describe_engine"]

SLOWEST = 12
"""Layers in the table; `--json` has all."""
SHOWN = ("layers_note", "note", "workspace_mib", "build_s")
"""Fields only the build knows, shown as they are."""


def describe_engine(path: Path, host: Host | None = None) -> Description:
    """Read an engine's sidecar, check its hash, and ask whether this machine would load it; it is not loaded.

    Raises:
        ArtefactError: no sidecar or a damaged one, or the engine is not the file the sidecar describes.
    """
    sidecar = whole_engine(path).sidecar
    told: dict[str, Any] = json.loads(sidecar_path(path).read_text(encoding="utf-8"))
    here = engine_here(host or Host(), path, sidecar.flavour)
    times = _times(told.get("layer_times"))
    data = {
        "kind": "engine",
        **sidecar.to_dict(),
        **{key: value for key, value in told.items() if key not in sidecar.to_dict()},
        "size_bytes": path.stat().st_size,
        "runs_here": here.state == "ok",
        "why": here.detail,
        "mend": here.mend,
    }
    size = sidecar.profile
    batches = f"{size.min_batch} to {size.max_batch}, best at {size.opt_batch}"
    built_on = f"{sidecar.gpu} ({sidecar.compute_capability}), driver CUDA {sidecar.driver}"
    lines: list[Line] = [
        ("engine", f"{path.name}, {megabytes(path.stat().st_size)}, whole (SHA-256 as in its sidecar)"),
        ("built by", f"{sidecar.flavour} {sidecar.tensorrt_version}"),
        ("built for", built_on if sidecar.gpu else "any GPU of its kind (built without one)"),
        ("from", f"the {sidecar.precision} graph {sidecar.onnx_sha256[:12]}"),
        ("batches", batches),
        *_layers(told.get("layers")),
        *(line for key in SHOWN if told.get(key) is not None for line in entries(key.replace("_", " "), told[key])),
        ("runs here", "yes" if here.state == "ok" else f"no: {here.detail}"),
        *((("", f"-> {here.mend}"),) if here.mend else ()),
    ]
    if not times:
        lines.append(("by time", f"not profiled: edgeface inspect {path} --profile, on its GPU"))
    return Description(data, lines, [_slowest(times)] if times else [])


def _layers(layers: Any) -> list[Line]:
    if not isinstance(layers, Mapping) or not layers:
        return []
    return [("layers", ", ".join(f"{count} {kind}" for kind, count in layers.items()))]


def _times(told: Any) -> list[tuple[str, float]]:
    """Name and milliseconds of every profiled layer; what is not of that form is left out."""
    return [
        (str(entry["name"]), float(entry["ms"]))
        for entry in (told if isinstance(told, list) else ())
        if isinstance(entry, dict) and "name" in entry and isinstance(entry.get("ms"), int | float)
    ]


def _slowest(times: list[tuple[str, float]]) -> Sheet:
    total = sum(ms for _, ms in times)
    slowest = sorted(times, key=lambda entry: -entry[1])
    rows = [[name, f"{ms:.4f}", f"{ms / total:.1%}" if total else ""] for name, ms in slowest[:SLOWEST]]
    rest = sum(ms for _, ms in slowest[SLOWEST:])
    if len(slowest) > SLOWEST:
        rows.append([f"{len(slowest) - SLOWEST} others", f"{rest:.4f}", f"{rest / total:.1%}" if total else ""])
    return Sheet(f"layers by time: {total:.3f} ms a call of one face", ["layer", "ms", "share"], rows)
