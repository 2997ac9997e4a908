"""Keeping a measured accuracy with the model it belongs to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeface_calibration.record import with_result
from edgeface_runtime.bundle import open_bundle, write_manifest
from edgeface_runtime.errors import InputError
from edgeface_runtime.shipped import refuse_shipped

__all__ = ["check_recordable", "record_result"]


def check_recordable(model: Path) -> None:
    """Say before the work whether a result can be kept.

    Raises:
        InputError: the bundle is a .tar, which is not written to.
    """
    refuse_shipped(model, "--record")
    if model.suffix == ".tar":
        raise InputError(f"{model}: only a bundle folder can take a --record, not a .tar")


def record_result(model: Path, result: dict[str, Any]) -> None:
    """Add a result to a checkpoint's metadata or a bundle's manifest; one of the same protocol is replaced.

    Raises:
        InputError: the bundle is a .tar, which is not written to.
    """
    if model.suffix == ".safetensors":
        from edgeface.models.checkpoint import record_accuracy

        record_accuracy(model, result)
        return
    check_recordable(model)
    manifest = open_bundle(model).manifest
    write_manifest(model, replace(manifest, accuracy=with_result(manifest.accuracy, result)))
