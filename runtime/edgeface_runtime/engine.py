"""Engines and their sidecars: a compiled plan is only as good as the machine it was compiled for.

A sidecar is a small JSON file beside the engine that says what the plan was made from and for; `sidecar_sha256` is
the checksum of all its other fields. What is refused before a plan is deserialised stands in engine_check.py, where
engines are kept in engine_place.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from edgeface_runtime.errors import ArtefactError
from edgeface_runtime.files import cannot_write, sha256_file, write_json
from edgeface_runtime.sealed import is_intact, seal

__all__ = [
    "BUILD_AGAIN",
    "FLAVOURS",
    "HARDWARE",
    "Profile",
    "Sidecar",
    "is_engine",
    "parse_sidecar",
    "read_sidecar",
    "sidecar_bytes",
    "sidecar_path",
    "signature_path",
    "write_layer_times",
    "write_sidecar",
]

FORMAT = "edgeface-engine"
VERSION = 1

FLAVOURS = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""Backend name -> Python module."""
HARDWARE = ("none", "ampere-plus", "same-compute-capability")
"""What other GPUs an engine may run on: none; any of compute capability 8.0 or more; any of the same capability."""
BUILD_AGAIN = "build it again with edgeface build"
"""End of a refusal, where nothing more is known."""
SEAL = "sidecar_sha256"
ADDED = ("version_compatible", "hardware_compatibility")
"""Fields that older sidecars lack."""


@dataclass(frozen=True)
class Profile:
    """Batch sizes the plan was optimised for."""

    min_batch: int = 1
    """Smallest batch it takes."""
    opt_batch: int = 1
    """Batch it is fastest at."""
    max_batch: int = 1
    """Largest batch it takes; larger ones are split."""


@dataclass(frozen=True)
class Sidecar:
    """What an engine was made from and for."""

    flavour: str
    """Backend that built it and can run it: tensorrt or tensorrt-rtx."""
    tensorrt_version: str
    """Version of that package; plans run on exactly this one, unless `version_compatible`."""
    onnx_sha256: str
    """Hex SHA-256 of the ONNX file it was built from."""
    engine_sha256: str
    """Hex SHA-256 of the plan."""
    precision: str
    """Precision of that ONNX file, such as fp16."""
    profile: Profile
    """Batch sizes."""
    gpu: str | None = None
    """Name of the GPU it was built on; None when it was built without one (only tensorrt-rtx can)."""
    compute_capability: str | None = None
    """Of that GPU, such as 8.7."""
    driver: str | None = None
    """CUDA version of the driver it was built with, such as 12.6; it runs with this or a newer one."""
    version_compatible: bool = False
    """Whether later versions of the same major version run it too."""
    hardware_compatibility: str = "none"
    """What other GPUs run it: one of HARDWARE."""

    def __post_init__(self) -> None:
        if self.flavour not in FLAVOURS:
            raise ValueError(f"flavour must be one of {', '.join(FLAVOURS)}, not {self.flavour!r}")
        if self.hardware_compatibility not in HARDWARE:
            raise ValueError(
                f"hardware_compatibility must be one of {', '.join(HARDWARE)}, not {self.hardware_compatibility!r}"
            )

    def to_dict(self) -> dict[str, Any]:
        """As JSON data, format and version first."""
        return {"format": FORMAT, "version": VERSION, **asdict(self)}


def sidecar_path(engine: Path) -> Path:
    """Where the sidecar of an engine lies: the engine's path + `.json`."""
    return engine.with_name(engine.name + ".json")


def signature_path(engine: Path) -> Path:
    """Where the signature of an engine lies: the engine's path + `.sig`."""
    return engine.with_name(engine.name + ".sig")


def write_sidecar(engine: Path, sidecar: Sidecar) -> Path:
    """Write the sidecar beside its engine, atomically, and return its path; an older one's signature is removed."""
    path = sidecar_path(engine)
    write_json(path, seal(sidecar.to_dict(), SEAL))
    signature = signature_path(engine)
    try:
        signature.unlink(missing_ok=True)
    except OSError as exc:
        raise cannot_write(signature, exc) from exc
    return path


def read_sidecar(engine: Path, again: str = BUILD_AGAIN) -> Sidecar:
    """Read the sidecar of an engine; `again` ends a refusal: what mends it.

    Raises:
        ArtefactError: missing, damaged, foreign or too new.
    """
    return parse_sidecar(sidecar_bytes(engine, again), engine, again)


def sidecar_bytes(engine: Path, again: str = BUILD_AGAIN) -> bytes:
    """The content of an engine's sidecar.

    Raises:
        ArtefactError: it is missing or cannot be read.
    """
    path = sidecar_path(engine)
    try:
        return path.read_bytes()
    except FileNotFoundError as exc:
        raise ArtefactError(f"{engine} has no sidecar {path.name}: {again}") from exc
    except OSError as exc:
        raise ArtefactError(f"cannot read {path} ({exc.strerror or exc}): {again}") from exc


def parse_sidecar(content: bytes, engine: Path, again: str = BUILD_AGAIN) -> Sidecar:
    """What the content of an engine's sidecar says. Raises as `read_sidecar` does."""
    path = sidecar_path(engine)
    try:
        data = json.loads(content.decode())
    except (ValueError, RecursionError) as exc:
        raise ArtefactError(f"{path} is damaged (it is not JSON): {again}") from exc
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ArtefactError(f"{path} is not an engine's sidecar: {again}")
    version = data.get("version")
    if version != VERSION or isinstance(version, bool):
        newer = " (upgrade edgeface)" if isinstance(version, int) and version > VERSION else ""
        raise ArtefactError(f"{path} has version {version!r}, this edgeface reads version {VERSION}{newer}: {again}")
    try:
        sidecar = _from_fields(data)
    except (KeyError, TypeError, ValueError) as exc:
        why = f"it has no {exc}" if isinstance(exc, KeyError) else str(exc) or repr(exc)
        raise ArtefactError(f"{path} is damaged ({why}): {again}") from exc
    known = {f.name for f in fields(Sidecar)} | {"format", "version"}
    if not is_intact(data, SEAL, known):
        raise ArtefactError(f"{path} is damaged (its checksum differs): {again}")
    return sidecar


def _from_fields(data: dict[str, Any]) -> Sidecar:
    """KeyError, TypeError or ValueError where a field is missing or of the wrong kind."""
    known = {f.name: data[f.name] for f in fields(Sidecar) if f.name in data or f.name not in ADDED}
    optional = ("gpu", "compute_capability", "driver")
    for name, value in known.items():
        kind: type = {"profile": dict, "version_compatible": bool}.get(name, str)
        if not isinstance(value, kind) and not (value is None and name in optional):
            raise TypeError(f"{name} is not of type {kind.__name__}")
    profile = Profile(**{f.name: int(known["profile"][f.name]) for f in fields(Profile)})
    return Sidecar(**{**known, "profile": profile})


def write_layer_times(engine: Path, times: Sequence[tuple[str, float]]) -> None:
    """Keep how long each layer takes, name and milliseconds, in an engine's sidecar; its other fields stay.

    Raises:
        ArtefactError: there is no sidecar that can be read.
    """
    read_sidecar(engine)
    path = sidecar_path(engine)
    data = json.loads(path.read_text(encoding="utf-8"))
    data["layer_times"] = [{"name": name, "ms": round(ms, 6)} for name, ms in times]
    write_json(path, seal(data, SEAL))


def is_engine(path: Path) -> bool:
    """Whether a file is an engine as its sidecar says: a hash, so that no other file passes for one."""
    try:
        return read_sidecar(path).engine_sha256 == sha256_file(path)
    except ArtefactError:
        return False
