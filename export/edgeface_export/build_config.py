"""Settings -> TensorRT's builder configuration."""

from __future__ import annotations

from typing import Any

from edgeface_export.build_parse import INPUT
from edgeface_export.build_settings import HARDWARE, BuildSettings
from edgeface_runtime.backends.driver import Gpu
from edgeface_runtime.errors import EngineError, InputError

__all__ = ["check_hardware", "configure"]

AMPERE = 8


def configure(module: Any, builder: Any, network: Any, settings: BuildSettings, workspace_mib: int | None) -> Any:
    """A configuration with one profile, and with details of every layer kept in the engine.

    Raises:
        EngineError: TensorRT refuses the profile.
    """
    config = builder.create_builder_config()
    config.profiling_verbosity = module.ProfilingVerbosity.DETAILED
    if workspace_mib is not None:
        config.set_memory_pool_limit(module.MemoryPoolType.WORKSPACE, workspace_mib << 20)
    if settings.builder_level is not None:
        config.builder_optimization_level = settings.builder_level
    if settings.version_compatible:
        config.set_flag(module.BuilderFlag.VERSION_COMPATIBLE)
    if settings.hardware_compatibility != "none":
        level = getattr(module.HardwareCompatibilityLevel, HARDWARE[settings.hardware_compatibility])
        config.hardware_compatibility_level = level
    profile = builder.create_optimization_profile()
    sides = tuple(network.get_input(0).shape)[1:]
    batches = (settings.min_batch, settings.opt_batch, settings.max_batch)
    profile.set_shape(INPUT, *[(batch, *sides) for batch in batches])
    if config.add_optimization_profile(profile) < 0:
        raise EngineError(f"TensorRT refuses the optimisation profile {batches}: choose a smaller --max-batch")
    return config


def check_hardware(module: Any, settings: BuildSettings, gpu: Gpu | None) -> None:
    """Refuse a compatibility that this TensorRT does not know, or that this GPU cannot give.

    Raises:
        InputError: in one line.
    """
    asked = settings.hardware_compatibility
    if asked == "none":
        return
    known = [name for name, own in HARDWARE.items() if hasattr(module.HardwareCompatibilityLevel, own)]
    if asked not in known:
        raise InputError(
            f"{module.__name__} {module.__version__} has no --hardware-compatibility {asked}: "
            f"choose one of {', '.join(known)}"
        )
    if asked == "ampere-plus" and gpu is not None and int(gpu.compute_capability.split(".")[0]) < AMPERE:
        raise InputError(
            f"--hardware-compatibility {asked} needs a GPU of compute capability {AMPERE}.0 or more, here is "
            f"{gpu.name} ({gpu.compute_capability}): leave it out"
        )
