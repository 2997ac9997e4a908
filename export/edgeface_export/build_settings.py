"""What a build may be told, and what each flavour of TensorRT can do of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeface_runtime.bundle import EXPORTED
from edgeface_runtime.engine import Profile
from edgeface_runtime.errors import InputError

__all__ = ["HARDWARE", "BuildSettings", "check_flavour"]

HARDWARE = {
    "none": "NONE",
    "ampere-plus": "AMPERE_PLUS",
    "same-compute-capability": "SAME_COMPUTE_CAPABILITY",
}
"""Value of --hardware-compatibility -> TensorRT's name of it."""
HIGHEST_LEVEL = 5


@dataclass(frozen=True)
class BuildSettings:
    """What an engine is to be."""

    precision: str = "fp16"
    """What the graph must be, of EXPORTED; one of another precision is refused."""
    min_batch: int = 1
    """Smallest batch the engine takes."""
    opt_batch: int = 1
    """Batch it is tuned for."""
    max_batch: int = 8
    """Largest batch it takes."""
    workspace_mib: int | None = None
    """Scratch memory the builder and the engine may use, MiB; None: a share of what is free."""
    timing_cache: Path | None = None
    """File that measured kernels are read from and added to."""
    version_compatible: bool = False
    """Whether later versions of the same major version are to run it too."""
    hardware_compatibility: str = "none"
    """What other GPUs are to run it, of HARDWARE."""
    builder_level: int | None = None
    """How long to look for fast kernels, 0 to 5; None: TensorRT's own, 3."""

    def __post_init__(self) -> None:
        if self.precision not in EXPORTED:
            raise ValueError(f"unknown --precision {self.precision!r}: choose one of {', '.join(EXPORTED)}")
        if self.max_batch < 1:
            raise ValueError(f"--max-batch must be at least 1, got {self.max_batch}")
        if not 1 <= self.min_batch <= self.max_batch:
            raise ValueError(f"--min-batch must be 1 to --max-batch ({self.max_batch}), got {self.min_batch}")
        if not self.min_batch <= self.opt_batch <= self.max_batch:
            raise ValueError(
                f"--opt-batch must be --min-batch ({self.min_batch}) to --max-batch ({self.max_batch}), "
                f"got {self.opt_batch}"
            )
        if self.workspace_mib is not None and not 1 <= self.workspace_mib < 1 << 40:
            raise ValueError(f"--workspace must be at least 1 MiB and a size that exists, got {self.workspace_mib}")
        if self.builder_level is not None and not 0 <= self.builder_level <= HIGHEST_LEVEL:
            raise ValueError(f"--builder-level must be 0 to {HIGHEST_LEVEL}, got {self.builder_level}")
        if self.hardware_compatibility not in HARDWARE:
            raise ValueError(
                f"unknown --hardware-compatibility {self.hardware_compatibility!r}: "
                f"choose one of {', '.join(HARDWARE)}"
            )
        if self.timing_cache is not None:
            if self.timing_cache.is_dir():
                raise ValueError(f"--timing-cache {self.timing_cache} is a folder: name a file")
            if not self.timing_cache.absolute().parent.is_dir():
                raise ValueError(
                    f"--timing-cache {self.timing_cache}: there is no folder to put it in: make it first"
                )

    @property
    def profile(self) -> Profile:
        """Batch sizes as the sidecar has them."""
        return Profile(self.min_batch, self.opt_batch, self.max_batch)


def check_flavour(settings: BuildSettings, flavour: str) -> None:
    """Refuse what a flavour would pass over in silence or cannot do.

    Raises:
        InputError: TensorRT-RTX is asked for what only TensorRT has.
    """
    if flavour != "tensorrt-rtx":
        return
    if settings.timing_cache is not None:
        raise InputError(
            "--timing-cache is for --backend tensorrt (tensorrt-rtx times no kernels when it builds): leave it out"
        )
    if settings.version_compatible:
        raise InputError(
            "--version-compatible is for --backend tensorrt (tensorrt-rtx comes without the lean runtime "
            "such an engine carries): leave it out"
        )
    if settings.hardware_compatibility != "none":
        raise InputError(
            f"--hardware-compatibility {settings.hardware_compatibility} is for --backend tensorrt "
            "(tensorrt-rtx makes its kernels on the GPU that loads the engine): leave it out"
        )
