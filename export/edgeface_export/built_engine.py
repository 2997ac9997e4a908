"""What is known of an engine by the one who built it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgeface_runtime.engine import Sidecar

__all__ = ["NO_GPU", "NO_TYPES", "READ_BACK", "BuiltEngine"]

READ_BACK = "read back from the engine"
NO_GPU = "counted in the parsed network, not read back: no GPU"
NO_TYPES = "counted in the parsed network, not read back: the engine inspector names no type of a convolution"


@dataclass(frozen=True)
class BuiltEngine(Sidecar):
    """A sidecar with what only the build knows; readers of the sidecar pass over these fields."""

    layers: Mapping[str, int] = field(default_factory=dict)
    """Precision -> layers, constants left out."""
    layers_note: str = NO_GPU
    """Where that was read, and what to know about it."""
    fp32_layers: tuple[str, ...] = ()
    """Convolutions and matrix products that compute in FP32 though the engine is of another precision."""
    note: str | None = None
    """Such as: built without a GPU."""
    workspace_mib: int | None = None
    """Limit of scratch memory, MiB; None: TensorRT's own."""
    builder_level: int | None = None
    """How long TensorRT looked for fast kernels, 0 to 5."""
    timing_cache: str | None = None
    """new, read, or why it was replaced or not written; None: none was asked for."""
    build_s: float = 0.0
    """Time parsing and building took, seconds."""
