"""Timing an engine's layers on its GPU, and keeping the times in its sidecar."""

from __future__ import annotations

from pathlib import Path

from edgeface_runtime.backends.layer_times import measure_layers
from edgeface_runtime.backends.tensorrt import open_engine
from edgeface_runtime.engine import read_sidecar, signature_path, write_layer_times
from edgeface_runtime.errors import InputError
from edgeface_runtime.files import require_file
from edgeface_runtime.signature import required_key

__all__ = ["profile_engine"]


def profile_engine(path: Path) -> None:
    """Run an engine with TensorRT's profiler attached and write `layer_times` into its sidecar.

    Raises:
        InputError: no engine, or one that is signed or would have to be.
        DeviceError: no GPU, or not the engine's.
        ArtefactError, EngineError: damaged, stale or foreign.
        MissingExtraError: TensorRT or CUDA's bindings are not installed.
    """
    if path.suffix != ".engine":
        raise InputError(f"--profile times the layers of an engine (.engine), not of {path}")
    require_file(path, "engine")
    flavour = read_sidecar(path).flavour
    if signature_path(path).exists():
        raise InputError(
            f"{path} is signed, and times in its sidecar would break the signature: profile a copy without it"
        )
    if required_key() is not None:
        raise InputError(f"signatures are required here and {path} has none: profile where they are not")
    with open_engine(path, flavour) as backend:
        times = measure_layers(backend)
    write_layer_times(path, times)
