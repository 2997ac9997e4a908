"""What a build may be told: every bad value is refused in the words of its flag, and so is what a flavour lacks."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgeface_export.build_config import check_hardware
from edgeface_export.build_settings import HARDWARE, BuildSettings, check_flavour
from edgeface_runtime.backends.driver import Gpu
from edgeface_runtime.bundle import EXPORTED
from edgeface_runtime.errors import InputError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch": 0}, "--max-batch must be at least 1, got 0"),
        ({"min_batch": 0}, r"--min-batch must be 1 to --max-batch \(8\), got 0"),
        ({"min_batch": 9}, r"--min-batch must be 1 to --max-batch \(8\), got 9"),
        ({"max_batch": 4, "opt_batch": 5}, r"--opt-batch must be --min-batch \(1\) to --max-batch \(4\), got 5"),
        ({"min_batch": 3, "opt_batch": 2}, r"--opt-batch must be --min-batch \(3\) to --max-batch \(8\), got 2"),
        ({"workspace_mib": 0}, "--workspace must be at least 1 MiB"),
        ({"workspace_mib": 1 << 40}, "--workspace must be at least 1 MiB and a size that exists"),
        ({"builder_level": 6}, "--builder-level must be 0 to 5, got 6"),
        ({"builder_level": -1}, "--builder-level must be 0 to 5, got -1"),
        ({"hardware_compatibility": "all"}, "'all': choose one of none, ampere-plus, same-compute-capability"),
        ({"precision": "fp8"}, r"unknown --precision 'fp8': choose one of fp32, fp16, int8, int8\+fp16"),
        ({"timing_cache": Path("nowhere/at/all.cache")}, "there is no folder to put it in"),
        ({"timing_cache": Path("/")}, "--timing-cache / is a folder: name a file"),
    ],
)
def test_bad_values(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BuildSettings(**options)


@pytest.mark.parametrize("precision", EXPORTED)
def test_every_exported_precision_can_be_built(precision: str) -> None:
    assert BuildSettings(precision, min_batch=2, opt_batch=2).profile.opt_batch == 2


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"timing_cache": Path("a.cache")}, "--timing-cache"),
        ({"version_compatible": True}, "--version-compatible"),
        ({"hardware_compatibility": "ampere-plus"}, "--hardware-compatibility ampere-plus"),
        ({"hardware_compatibility": "same-compute-capability"}, "--hardware-compatibility same-compute-capability"),
    ],
)
def test_what_rtx_cannot_do_is_refused_not_dropped(options: dict[str, Any], flag: str) -> None:
    with pytest.raises(InputError, match=rf"^{flag} is for --backend tensorrt \(tensorrt-rtx .*\): leave it out$"):
        check_flavour(BuildSettings(**options), "tensorrt-rtx")
    check_flavour(BuildSettings(**options), "tensorrt")


def test_why_rtx_lacks_them() -> None:
    """The package itself: what is refused has no effect in it, or fails."""
    rtx = pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx: pip install 'edgeface[rtx]'")
    config = rtx.Builder(rtx.Logger(rtx.Logger.INTERNAL_ERROR)).create_builder_config()
    config.hardware_compatibility_level = rtx.HardwareCompatibilityLevel.AMPERE_PLUS
    assert config.hardware_compatibility_level == rtx.HardwareCompatibilityLevel.NONE
    with pytest.warns(DeprecationWarning, match="Timing cache operations are no-ops"):
        config.set_timing_cache(config.create_timing_cache(b""), False)


def test_hardware_that_is_not_known_or_not_there() -> None:
    older = SimpleNamespace(
        __name__="tensorrt", __version__="10.3.0", HardwareCompatibilityLevel=SimpleNamespace(NONE=0, AMPERE_PLUS=1)
    )
    turing = Gpu(0, "T4", "7.5", "12.6")
    wanted = BuildSettings(hardware_compatibility="same-compute-capability")
    with pytest.raises(
        InputError, match=r"^tensorrt 10\.3\.0 has no .* same-compute-capability: choose one of none, ampere-plus$"
    ):
        check_hardware(older, wanted, turing)
    wanted = BuildSettings(hardware_compatibility="ampere-plus")
    with pytest.raises(InputError, match=r"compute capability 8\.0 or more, here is T4 \(7\.5\)"):
        check_hardware(older, wanted, turing)
    check_hardware(older, wanted, Gpu(0, "Orin", "8.7", "12.6"))
    check_hardware(SimpleNamespace(), BuildSettings(), turing)
    assert set(HARDWARE) == {"none", "ampere-plus", "same-compute-capability"}
