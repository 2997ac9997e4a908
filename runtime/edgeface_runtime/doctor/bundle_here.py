"""What of one bundle runs here, precision by precision, and whether its engines are built and still good."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeface_runtime.bundle import EXPORTED, Bundle
from edgeface_runtime.doctor.backends import CPU, CUDA, try_models
from edgeface_runtime.doctor.engine_here import here_of
from edgeface_runtime.doctor.finding import Finding, missing, ok, problem
from edgeface_runtime.doctor.host import Host
from edgeface_runtime.engine import FLAVOURS
from edgeface_runtime.engine_check import build_command
from edgeface_runtime.engine_place import find_engine
from edgeface_runtime.errors import EdgefaceError
from edgeface_runtime.signature import required_key

__all__ = ["probe_bundle"]


def probe_bundle(host: Host, bundle: Bundle, runners: list[Finding]) -> list[Finding]:
    """One finding for each way that runs here: the precisions it takes; for engines, whether they are there.

    Args:
        runners: of `find_runners`.
    """
    findings = []
    for runner in runners:
        if runner.state != "ok":
            continue
        backend, device = runner.facts["backend"], runner.facts["device"]
        if backend in FLAVOURS:
            findings += _engines(bundle, backend, runner.facts)
        elif backend == "onnxruntime":
            findings.append(_loads(host, bundle, runner.part, backend, device))
    return findings


def _precisions(bundle: Bundle) -> list[str]:
    return [name for name in bundle.manifest.models if name in EXPORTED or not name.endswith("-cpu")]


def _files(bundle: Bundle, precision: str, backend: str, device: str) -> list[Path]:
    """The ONNX files that run in a precision; those of a dictionary model are its parts."""
    key = bundle.variant(precision, backend, device)
    entry = bundle.manifest.dictionary
    if entry is None or key not in entry.trunk or key not in entry.head:
        return [bundle.model_path(key)]
    return [bundle.folder / name for name in (entry.trunk[key], entry.head[key], entry.segmenter)]


def _loads(host: Host, bundle: Bundle, part: str, backend: str, device: str) -> Finding:
    files = {name: _files(bundle, name, backend, device) for name in _precisions(bundle)}
    data = try_models(host, [path for paths in files.values() for path in paths])
    if isinstance(data, str):
        return problem(part, f"onnxruntime does not load: {data}")
    provider = CPU if device == "cpu" else CUDA
    why = {
        name: next(
            (reason for path in paths if (reason := data["tried"][str(path)].get(provider, "no provider"))), ""
        )
        for name, paths in files.items()
    }
    good = [name for name, reason in why.items() if reason == ""]
    words = f"loads {', '.join(good) or 'nothing'}"
    if "fp16" in good and device == "cpu":
        words += " (fp16 is stored so, and computed in FP32)"
    if "int8+fp16" in good and device == "cpu":
        words += "; int8+fp16 is made for GPUs, and slow here"
    bad = {name: reason for name, reason in why.items() if reason}
    if bad:
        name, reason = next(iter(bad.items()))
        mend = f"pip install --upgrade {'onnxruntime' if device == 'cpu' else 'onnxruntime-gpu'}"
        return problem(part, f"{words}; {name} does not: {reason}", mend, precisions=good)
    return ok(part, words, precisions=good)


def _engines(bundle: Bundle, flavour: str, here: Mapping[str, Any]) -> list[Finding]:
    if bundle.manifest.dictionary is not None:
        return [missing(flavour, "bundles with a mask dictionary run on onnxruntime only")]
    machine = here_of(flavour, here)
    findings = []
    for precision in _precisions(bundle):
        part = f"{flavour}, {precision}"
        build = build_command(bundle.source, flavour, precision)
        digest = bundle.model_sha256(precision)
        try:
            engine = find_engine(bundle.source, digest, precision, machine, f"build it with {build}", required_key())
        except EdgefaceError as exc:
            none = str(exc).startswith(f"no {flavour} engine")
            findings.append(missing(part, "no engine built yet", build) if none else problem(part, str(exc), build))
        else:
            findings.append(ok(part, f"engine {engine.path}", engine=str(engine.path)))
    return findings
