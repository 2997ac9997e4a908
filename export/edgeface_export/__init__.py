"""torch -> ONNX -> precision -> bundle -> TensorRT engine.

Names are loaded when they are first used: building an engine on a device needs neither torch nor onnx.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeface_export.build import BuildSettings, BuiltEngine, build_engine, prepare_build, run_build
    from edgeface_export.bundle_writer import write_bundle
    from edgeface_export.onnx_export import Exported, export_onnx
    from edgeface_export.parity import Parity, compare
    from edgeface_export.precision import HalfReport, to_fp16

__all__ = [
    "BuildSettings",
    "BuiltEngine",
    "Exported",
    "HalfReport",
    "Parity",
    "build_engine",
    "compare",
    "export_onnx",
    "prepare_build",
    "run_build",
    "to_fp16",
    "write_bundle",
]

_HOMES = {
    "BuildSettings": "build",
    "BuiltEngine": "build",
    "Exported": "onnx_export",
    "HalfReport": "precision",
    "Parity": "parity",
    "build_engine": "build",
    "compare": "parity",
    "export_onnx": "onnx_export",
    "prepare_build": "build",
    "run_build": "build",
    "to_fp16": "precision",
    "write_bundle": "bundle_writer",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)
