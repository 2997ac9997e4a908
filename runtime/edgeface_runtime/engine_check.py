"""What an engine must be to be loaded here. A plan is executable, so all of it is asked before it is deserialised.

In this order: the sidecar (readable, signed where that is required), what it was made from and for, then the plan's
hash. The plan is read once: the bytes that were hashed are the bytes that are deserialised.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from edgeface_runtime.backends.driver import Gpu
from edgeface_runtime.engine import BUILD_AGAIN, Sidecar, parse_sidecar, sidecar_bytes, signature_path
from edgeface_runtime.errors import ArtefactError, EngineError
from edgeface_runtime.files import require_file
from edgeface_runtime.signature import check_signature

__all__ = ["CheckedEngine", "Here", "build_command", "check_sidecar", "checked_engine", "whole_engine"]


@dataclass(frozen=True)
class Here:
    """What an engine would run on."""

    flavour: str
    """tensorrt or tensorrt-rtx."""
    tensorrt_version: str
    """Version of that package."""
    gpu: Gpu | None = None
    """The GPU; None where an engine is built without one."""


@dataclass(frozen=True)
class CheckedEngine:
    """An engine that was checked."""

    path: Path
    sidecar: Sidecar
    plan: bytes = field(repr=False)
    """Its content, as it was hashed."""


def build_command(bundle: Path | str, backend: str, precision: str, gpu: int = 0) -> str:
    """The command that builds the engine of a bundle on the GPU of that number."""
    visible = f"CUDA_VISIBLE_DEVICES={gpu} " if gpu else ""
    return f"{visible}edgeface build {shlex.quote(str(bundle))} --backend {backend} --precision {precision}"


def checked_engine(
    engine: Path, here: Here, onnx_sha256: str | None = None, again: str | None = None, key: Path | None = None
) -> CheckedEngine:
    """Read an engine and refuse it unless it is whole and was made for here.

    Args:
        onnx_sha256: of the model that should run; None where any will do.
        again: end of a refusal, what mends it; None names the command as far as the sidecar tells it.
        key: public key that must have signed it; None asks for no signature.

    Raises:
        InputError: the engine is missing, or the key cannot be read.
        ArtefactError: engine or sidecar are damaged, not signed by the key, or of another model.
        EngineError: built by another TensorRT, for another GPU, or with a newer driver.
        MissingExtraError: a signature is asked for and the package for it is not installed.
    """
    sidecar = _signed_sidecar(engine, again or f"{BUILD_AGAIN} BUNDLE --backend {here.flavour}", key)
    if again is None:
        again = f"build it again with {build_command('BUNDLE', here.flavour, sidecar.precision)}"
    check_sidecar(engine, sidecar, here, onnx_sha256, again)
    return CheckedEngine(engine, sidecar, _whole_plan(engine, sidecar, again))


def whole_engine(engine: Path, again: str = BUILD_AGAIN, key: Path | None = None) -> CheckedEngine:
    """Read an engine and refuse it unless it is whole, whatever machine it is for. Raises as `checked_engine`."""
    sidecar = _signed_sidecar(engine, again, key)
    return CheckedEngine(engine, sidecar, _whole_plan(engine, sidecar, again))


def _signed_sidecar(engine: Path, again: str, key: Path | None) -> Sidecar:
    require_file(engine, "engine")
    content = sidecar_bytes(engine, again)
    if key is not None:
        check_signature(content, signature_path(engine), key, f"engine {engine}", engine)
    return parse_sidecar(content, engine, again)


def _whole_plan(engine: Path, sidecar: Sidecar, again: str) -> bytes:
    try:
        plan = engine.read_bytes()
    except OSError as exc:
        raise ArtefactError(f"cannot read {engine} ({exc.strerror or exc}): {again}") from exc
    if not plan:
        raise ArtefactError(f"engine {engine} is damaged (it is empty): {again}")
    if hashlib.sha256(plan).hexdigest() != sidecar.engine_sha256:
        raise ArtefactError(f"engine {engine} is damaged (SHA-256 differs from its sidecar): {again}")
    return plan


def check_sidecar(
    engine: Path, sidecar: Sidecar, here: Here, onnx_sha256: str | None = None, again: str = BUILD_AGAIN
) -> None:
    """Refuse an engine that was not made for here, by what its sidecar says.

    Raises:
        ArtefactError: built from another model.
        EngineError: built by another TensorRT, for another GPU, or with a newer driver.
    """
    if onnx_sha256 is not None and sidecar.onnx_sha256 != onnx_sha256:
        raise ArtefactError(
            f"engine {engine} was built from model {sidecar.onnx_sha256[:12]}, not {onnx_sha256[:12]}: {again}"
        )
    if not _runs_on_version(sidecar, here):
        raise EngineError(
            f"engine {engine} was built by {sidecar.flavour} {sidecar.tensorrt_version}, "
            f"here is {here.flavour} {here.tensorrt_version}: {again}"
        )
    if here.gpu is None or (sidecar.gpu is None and sidecar.flavour == "tensorrt-rtx"):
        return
    if not _runs_on_gpu(sidecar, here.gpu):
        raise EngineError(
            f"engine {engine} was built for {sidecar.gpu} (compute capability {sidecar.compute_capability}), "
            f"here is {here.gpu.name} ({here.gpu.compute_capability}): {again}"
        )
    if sidecar.driver is not None and _numbers(here.gpu.driver) < _numbers(sidecar.driver):
        raise EngineError(
            f"engine {engine} was built with a driver for CUDA {sidecar.driver}, "
            f"here is an older one, for CUDA {here.gpu.driver}: {again}"
        )


def _runs_on_version(sidecar: Sidecar, here: Here) -> bool:
    if sidecar.flavour != here.flavour:
        return False
    if not sidecar.version_compatible:
        return sidecar.tensorrt_version == here.tensorrt_version
    built, now = _numbers(sidecar.tensorrt_version), _numbers(here.tensorrt_version)
    return bool(built) and built[:1] == now[:1] and now >= built


def _runs_on_gpu(sidecar: Sidecar, gpu: Gpu) -> bool:
    if sidecar.hardware_compatibility == "ampere-plus":
        return _numbers(gpu.compute_capability) >= (8, 0)
    same = sidecar.compute_capability == gpu.compute_capability
    return same and (sidecar.hardware_compatibility == "same-compute-capability" or sidecar.gpu == gpu.name)


def _numbers(version: str) -> tuple[int, ...]:
    """10.3.0 -> (10, 3, 0); what follows the numbers is left out, no number at all is ()."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()
