"""Engines and their sidecars: a compiled plan is only as good as the machine it was compiled for.

A sidecar is a small JSON file beside the engine that says what the plan was made from and for. It is checked before
the plan is deserialised: a plan is executable, so a foreign or damaged one is refused, never loaded.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from edgeface_runtime.cache import cache_dir
from edgeface_runtime.errors import ArtefactError, EngineError, InputError
from edgeface_runtime.files import require_file, sha256_file, write_json

__all__ = [
    "FLAVOURS",
    "Profile",
    "Sidecar",
    "check_sidecar",
    "engine_path",
    "is_engine",
    "read_sidecar",
    "sidecar_path",
    "write_layer_times",
    "write_sidecar",
]

FORMAT = "edgeface-engine"
VERSION = 1

FLAVOURS = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""Backend name -> Python module."""


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
    """Version of that package; plans run on exactly this one."""
    onnx_sha256: str
    """Hex SHA-256 of the ONNX file it was built from."""
    engine_sha256: str
    """Hex SHA-256 of the plan."""
    precision: str
    """Precision of that ONNX file: fp32, fp16 or int8."""
    profile: Profile
    """Batch sizes."""
    gpu: str | None = None
    """Name of the GPU it was built on; None when it was built without one (only tensorrt-rtx can)."""
    compute_capability: str | None = None
    """Of that GPU, such as 8.7."""
    driver: str | None = None
    """CUDA version of the driver it was built with; recorded, not compared."""
    version_compatible: bool = False
    """Whether later versions of the same major version run it too."""
    hardware_compatibility: str = "none"
    """What other GPUs run it: none, ampere-plus or same-compute-capability."""

    def __post_init__(self) -> None:
        if self.flavour not in FLAVOURS:
            raise ValueError(f"flavour must be one of {', '.join(FLAVOURS)}, not {self.flavour!r}")

    def to_dict(self) -> dict[str, Any]:
        """As JSON data, format and version first."""
        return {"format": FORMAT, "version": VERSION, **asdict(self)}


def sidecar_path(engine: Path) -> Path:
    """Where the sidecar of an engine lies: the engine's path + `.json`."""
    return engine.with_name(engine.name + ".json")


def engine_path(onnx_sha256: str, flavour: str) -> Path:
    """Where the engine of an ONNX file is kept by default: `engines` in the cache folder, named by the file's hash.

    Raises:
        InputError: there is no home folder for a cache.
    """
    folder = cache_dir()
    if folder is None:
        raise InputError("there is no home folder for engines: set EDGEFACE_CACHE to a folder")
    return folder / "engines" / f"{onnx_sha256[:16]}-{flavour}.engine"


def write_sidecar(engine: Path, sidecar: Sidecar) -> Path:
    """Write the sidecar beside its engine, atomically, and return its path."""
    path = sidecar_path(engine)
    write_json(path, sidecar.to_dict())
    return path


def read_sidecar(engine: Path) -> Sidecar:
    """Read the sidecar of an engine.

    Raises:
        ArtefactError: missing, damaged, foreign or too new.
    """
    path = sidecar_path(engine)
    again = "build the engine again with edgeface build"
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise ArtefactError(f"{engine} has no sidecar {path.name}: {again}") from exc
    except OSError as exc:
        raise ArtefactError(f"cannot read {path}: {exc.strerror or exc}") from exc
    except (ValueError, RecursionError) as exc:
        raise ArtefactError(f"{path} is damaged: it is not JSON: {again}") from exc
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise ArtefactError(f"{path} is not an engine's sidecar: {again}")
    version = data.get("version")
    if version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        mend = "upgrade edgeface" if newer else again
        raise ArtefactError(f"{path} has version {version!r}, this edgeface reads version {VERSION}: {mend}")
    try:
        added = ("version_compatible", "hardware_compatibility")  # older sidecars lack them
        known = {f.name: data[f.name] for f in fields(Sidecar) if f.name in data or f.name not in added}
        optional = ("gpu", "compute_capability", "driver")
        for name, value in known.items():
            kind: type = {"profile": dict, "version_compatible": bool}.get(name, str)
            if not isinstance(value, kind) and not (value is None and name in optional):
                raise TypeError(f"{name} is not of type {kind.__name__}")
        profile = Profile(**{f.name: int(known["profile"][f.name]) for f in fields(Profile)})
        return Sidecar(**{**known, "profile": profile})
    except (KeyError, TypeError, ValueError) as exc:
        raise ArtefactError(f"{path} is damaged ({str(exc) or exc!r}): {again}") from exc


def write_layer_times(engine: Path, times: Sequence[tuple[str, float]]) -> None:
    """Keep how long each layer takes, name and milliseconds, in an engine's sidecar; its other fields stay.

    Raises:
        ArtefactError: there is no sidecar that can be read.
    """
    read_sidecar(engine)
    path = sidecar_path(engine)
    data = json.loads(path.read_text(encoding="utf-8"))
    write_json(path, {**data, "layer_times": [{"name": name, "ms": round(ms, 6)} for name, ms in times]})


def is_engine(path: Path) -> bool:
    """Whether a file is an engine as its sidecar says: a hash, so that no other file passes for one."""
    try:
        return read_sidecar(path).engine_sha256 == sha256_file(path)
    except ArtefactError:
        return False


def check_sidecar(
    engine: Path,
    sidecar: Sidecar,
    flavour: str,
    tensorrt_version: str,
    gpu: str,
    compute_capability: str,
    onnx_sha256: str | None = None,
) -> None:
    """Refuse an engine that is damaged or was not made for this machine, before it is deserialised.

    Args:
        onnx_sha256: of the model that should run; None where any will do.

    Raises:
        InputError: the engine is missing.
        ArtefactError: the plan is damaged, or was built from another model.
        EngineError: built by another TensorRT, or for another GPU.
    """
    require_file(engine, "engine")
    again = "build it again with edgeface build"
    if engine.stat().st_size == 0 or sha256_file(engine) != sidecar.engine_sha256:
        raise ArtefactError(f"engine {engine} is damaged (SHA-256 differs from its sidecar): {again}")
    if onnx_sha256 is not None and sidecar.onnx_sha256 != onnx_sha256:
        raise ArtefactError(
            f"engine {engine} was built from model {sidecar.onnx_sha256[:12]}, not {onnx_sha256[:12]}: {again}"
        )
    built = f"{sidecar.flavour} {sidecar.tensorrt_version}"
    here = f"{flavour} {tensorrt_version}"
    if built != here:
        raise EngineError(f"engine {engine} was built by {built}, here is {here}: {again} on this machine")
    if sidecar.gpu is None and sidecar.flavour == "tensorrt-rtx":
        return
    built_for = (sidecar.gpu, sidecar.compute_capability)
    if built_for != (gpu, compute_capability):
        raise EngineError(
            f"engine {engine} was built for {sidecar.gpu} (compute capability {sidecar.compute_capability}), "
            f"here is {gpu} ({compute_capability}): {again} on this machine"
        )
