"""A bundle's engine for this machine: found, else built where somebody gave a builder, else refused with the command.

The runtime builds nothing itself; who opens a bundle passes in what can. Where signatures are required nothing is
built, since what was built here is signed by nobody.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Protocol

from edgeface_runtime.backends import Backend
from edgeface_runtime.bundle import Bundle
from edgeface_runtime.engine_check import CheckedEngine, Here, build_command, checked_engine
from edgeface_runtime.engine_place import engine_lock, engine_path, find_engine
from edgeface_runtime.errors import ArtefactError, EngineError
from edgeface_runtime.files import require_file

__all__ = ["EngineBuilder", "open_bundle_engine"]


class EngineBuilder(Protocol):
    """Builds engines on demand; the command line's is `edgeface.cli.engine.Builder`."""

    def note(self, message: str) -> None:
        """Say why an engine is built, or what is waited for."""

    def build(self, onnx: Path, out: Path, backend: str, precision: str) -> object:
        """Build the ONNX file into the engine `out` and its sidecar, for GPU 0."""


def open_bundle_engine(
    bundle: Bundle,
    backend: str,
    precision: str,
    device: str = "auto",
    engine: str | Path | None = None,
    builder: EngineBuilder | None = None,
    key: Path | None = None,
) -> Backend:
    """Open the engine of one of a bundle's models.

    Args:
        backend: tensorrt or tensorrt-rtx.
        device: auto (GPU 0), cuda or cuda:N.
        engine: this one and no other; None looks where `engine_place` says.
        builder: builds one where there is none, or none that fits; never with `engine` or `key`, nor for another GPU
            than 0.
        key: public key that must have signed the engine.

    Raises:
        DeviceError: no driver or GPU, or the CPU was asked for.
        MissingExtraError: a package is not installed.
        ArtefactError, EngineError: refused; the line names the command that mends it.
        InputError: `engine` is missing, or what is to be built cannot be written.
    """
    from edgeface_runtime.backends.tensorrt import look_here, run_engine

    if engine is not None:
        require_file(Path(engine), "engine")
    found = look_here(backend, device)
    index = found.gpu.index
    command = build_command(bundle.source, backend, precision, index)
    onnx_sha256 = bundle.model_sha256(precision)
    if engine is not None:
        again = f"remove it and build it again with {command} --out {shlex.quote(str(engine))}"
        return run_engine(checked_engine(Path(engine), found.here, onnx_sha256, again, key), found, again)
    again = f"build it with {command}"
    if key is not None:
        again += " and sign that with edgeface bundle sign"
    if builder is None or key is not None or index != 0:
        checked = find_engine(bundle.source, onnx_sha256, precision, found.here, again, key)
    else:
        checked = _found_or_built(bundle, precision, found.here, again, builder)
    return run_engine(checked, found, again)


def _found_or_built(bundle: Bundle, precision: str, here: Here, again: str, builder: EngineBuilder) -> CheckedEngine:
    def find() -> CheckedEngine:
        return find_engine(bundle.source, onnx_sha256, precision, here, "building it now, which may take minutes")

    onnx_sha256 = bundle.model_sha256(precision)
    try:
        return find()
    except (ArtefactError, EngineError):
        pass
    path = engine_path(bundle.source, onnx_sha256, here)
    with engine_lock(path, lambda: builder.note(f"another process is building {path}: waiting for it")):
        try:
            return find()  # built while we waited
        except (ArtefactError, EngineError) as exc:
            builder.note(str(exc))
        builder.build(bundle.model_path(precision), path, here.flavour, precision)
        return checked_engine(path, here, onnx_sha256, again)
