"""Builds with a GPU, which is only described: the parser is TensorRT-RTX's own, what comes after it a stand-in."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgeface_export import build_prepare, trt_module
from edgeface_export.build import BuildSettings, BuiltEngine, build_engine, prepare_build, run_build
from edgeface_runtime.backends.driver import Gpu
from edgeface_runtime.engine import read_sidecar, sidecar_path
from edgeface_runtime.errors import EngineError, InputError

ORIN = Gpu(index=0, name="Orin", compute_capability="8.7", driver="12.6")


class Cache:
    """What was measured, as bytes."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> memoryview:
        return memoryview(self.content)


class Config:
    """A builder's configuration as far as a build sets it."""

    builder_optimization_level = 3
    accepts = True

    def __init__(self, trt: Fake) -> None:
        self.flags: list[str] = []
        self.limits: dict[str, int] = {}
        self.cache: Cache | None = None
        trt.config = self

    def set_memory_pool_limit(self, pool: Any, size_bytes: int) -> None:
        self.limits[pool.name] = size_bytes

    def set_flag(self, flag: Any) -> None:
        self.flags.append(flag.name)

    def add_optimization_profile(self, profile: Any) -> int:
        return 0

    def create_timing_cache(self, content: bytes) -> Cache:
        return Cache(content)

    def set_timing_cache(self, cache: Cache, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        taken = self.accepts or not cache.content
        if taken:
            self.cache = cache
        return taken

    def get_timing_cache(self) -> Cache | None:
        return self.cache


class Fake:
    """The module `tensorrt`: Builder, configuration and Runtime are ours, the rest is TensorRT-RTX's."""

    __name__ = "tensorrt"

    def __init__(self, rtx: Any) -> None:
        self._rtx = rtx
        self.__version__ = "10.3.0"
        self.config: Any = None
        self.runtime: Any = None
        self.errors: list[str] = []
        """Said by the builder, which then fails."""
        self.layers: Callable[[Any], list[dict[str, Any]]] = as_asked
        """What the inspector tells of the network's computing layers."""
        self.needs_shape = False
        """Whether types are told for a shape only."""
        self.loads = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._rtx, name)

    def Builder(self, logger: Any) -> Any:
        builder = self._rtx.Builder(logger)
        return SimpleNamespace(
            kept=builder,
            create_network=builder.create_network,
            create_optimization_profile=builder.create_optimization_profile,
            create_builder_config=lambda: Config(self),
            build_serialized_network=lambda network, config: self.build(network, config, logger),
        )

    def build(self, network: Any, config: Config, logger: Any) -> bytes | None:
        self.network = network
        for line in self.errors:
            logger.log(self._rtx.ILogger.Severity.ERROR, line)
        if config.cache is not None:
            config.cache.content += b"measured;"
        return None if self.errors else b"plan"

    def Runtime(self, logger: Any) -> Any:
        def load(plan: bytes) -> Any:
            assert plan == b"plan"
            if not self.loads:
                logger.log(self._rtx.ILogger.Severity.ERROR, "no kernel image for this GPU")
                return None
            return self

        self.runtime = SimpleNamespace(deserialize_cuda_engine=load, engine_host_code_allowed=False)
        return self.runtime

    def create_execution_context(self) -> Any:
        def set_input_shape(name: str, shape: tuple[int, ...]) -> bool:
            self.shape = (name, shape)
            return True

        return SimpleNamespace(set_input_shape=set_input_shape)

    def create_engine_inspector(self) -> Any:
        inspector = SimpleNamespace(execution_context=None)

        def tell(form: Any) -> str:
            assert form == self._rtx.LayerInformationFormat.JSON
            hidden = self.needs_shape and inspector.execution_context is None
            return json.dumps({"Layers": [] if hidden else self.layers(self.network)})

        inspector.get_engine_information = tell
        return inspector


def as_asked(network: Any) -> list[dict[str, Any]]:
    return [entry(name, {"HALF": "Half", "FLOAT": "Float"}[kind]) for name, kind in computing(network)]


def as_fp32(network: Any) -> list[dict[str, Any]]:
    return [entry(name, "Float") for name, _ in computing(network)]


def computing(network: Any) -> list[tuple[str, str]]:
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    wanted = ("CONVOLUTION", "MATRIX_MULTIPLY")
    return [(layer.name, layer.get_output(0).dtype.name) for layer in layers if layer.type.name in wanted]


def entry(name: str, kind: str) -> dict[str, Any]:
    tensors = [{"Name": "t", "Format/Datatype": kind}]
    return {"Name": name, "LayerType": "conv", "Inputs": tensors, "Outputs": tensors}


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> Fake:
    rtx = pytest.importorskip("tensorrt_rtx", reason="needs tensorrt-rtx: pip install 'edgeface[rtx]'")
    fake = Fake(rtx)
    monkeypatch.setitem(sys.modules, "tensorrt", fake)
    monkeypatch.setattr(trt_module, "require_gpu", lambda index=0: ORIN)
    monkeypatch.setattr(build_prepare, "default_workspace", lambda gpu: 1234)
    return fake


@pytest.fixture
def build(trt: Fake, masked_half: Path, tmp_path: Path) -> Callable[..., BuiltEngine]:
    def make(**options: Any) -> BuiltEngine:
        return build_engine(masked_half, tmp_path / "x.engine", "tensorrt", BuildSettings(**options))

    return make


def refused(build: Callable[..., BuiltEngine], tmp_path: Path, **options: Any) -> str:
    with pytest.raises(EngineError) as caught:
        build(**options)
    assert not (tmp_path / "x.engine").exists() and not sidecar_path(tmp_path / "x.engine").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_layers_are_read_back(build: Callable[..., BuiltEngine], trt: Fake, tmp_path: Path) -> None:
    built = build(opt_batch=4)
    assert (built.flavour, built.gpu, built.compute_capability, built.driver) == ("tensorrt", "Orin", "8.7", "12.6")
    assert built.layers_note == "read back from the engine" and built.note is None
    assert built.layers == {"fp16": len(computing(trt.network))} and built.fp32_layers == ()
    assert trt.shape == ("input", (4, 3, 112, 96))
    assert trt.config.profiling_verbosity == trt.ProfilingVerbosity.DETAILED
    assert (tmp_path / "x.engine").read_bytes() == b"plan"
    assert read_sidecar(tmp_path / "x.engine").gpu == "Orin"


@pytest.mark.parametrize("needs_shape", [False, True])
def test_an_engine_in_fp32_is_not_written(
    needs_shape: bool, build: Callable[..., BuiltEngine], trt: Fake, tmp_path: Path
) -> None:
    trt.layers, trt.needs_shape = as_fp32, needs_shape
    assert "fp16 was asked for, and" in refused(build, tmp_path)


def test_an_inspector_that_tells_nothing_is_said(build: Callable[..., BuiltEngine], trt: Fake) -> None:
    trt.layers = lambda network: []
    built = build()
    assert built.layers_note.endswith("not read back: the engine inspector names no type of a convolution")
    assert built.layers["fp16"] > 40


def test_an_engine_that_does_not_load_is_not_written(
    build: Callable[..., BuiltEngine], trt: Fake, tmp_path: Path
) -> None:
    trt.loads = False
    message = refused(build, tmp_path)
    assert message == "the engine was built but cannot be loaded on this GPU: no kernel image for this GPU"


def test_compatibility_is_asked_for_and_recorded(
    build: Callable[..., BuiltEngine], trt: Fake, tmp_path: Path
) -> None:
    build()
    assert trt.config.flags == [] and not trt.runtime.engine_host_code_allowed
    assert not hasattr(trt.config, "hardware_compatibility_level")
    build(version_compatible=True, hardware_compatibility="ampere-plus", builder_level=5)
    assert trt.config.flags == ["VERSION_COMPATIBLE"] and trt.runtime.engine_host_code_allowed
    assert trt.config.hardware_compatibility_level == trt.HardwareCompatibilityLevel.AMPERE_PLUS
    found = read_sidecar(tmp_path / "x.engine")
    assert (found.version_compatible, found.hardware_compatibility) == (True, "ampere-plus")
    assert json.loads(sidecar_path(tmp_path / "x.engine").read_text())["builder_level"] == 5


def test_a_missing_lean_runtime_is_explained(build: Callable[..., BuiltEngine], trt: Fake, tmp_path: Path) -> None:
    trt.errors = ["Unable to load library: libnvinfer_lean.so.10"]
    message = refused(build, tmp_path, version_compatible=True)
    assert message.endswith(
        "libnvinfer_lean.so.10: install TensorRT's lean runtime, or leave out --version-compatible"
    )


def test_the_workspace_is_what_was_asked_or_a_share_of_what_is_free(
    build: Callable[..., BuiltEngine], trt: Fake
) -> None:
    assert build().workspace_mib == 1234 and trt.config.limits == {"WORKSPACE": 1234 << 20}
    assert build(workspace_mib=7).workspace_mib == 7 and trt.config.limits == {"WORKSPACE": 7 << 20}


def test_memory_that_was_short_names_its_flags(build: Callable[..., BuiltEngine], trt: Fake, tmp_path: Path) -> None:
    trt.errors = ["[virtualMemoryBuffer.cpp] OutOfMemory (Requested size was 512 bytes.)", "Could not build"]
    message = refused(build, tmp_path, max_batch=6)
    assert "OutOfMemory" in message and "--workspace (now 1234 MiB)" in message
    assert "--max-batch (now 6) or --builder-level" in message
    trt.errors = ["Could not find any implementation for node conv"]
    assert refused(build, tmp_path) == "TensorRT could not build an engine: " + trt.errors[0]


def test_a_module_that_tells_no_steps(
    build: Callable[..., BuiltEngine], trt: Fake, masked_half: Path, tmp_path: Path
) -> None:
    class Older:
        def __getattr__(self, name: str) -> Any:
            if name == "IProgressMonitor":
                raise AttributeError(name)
            return getattr(trt, name)

    sys.modules["tensorrt"] = Older()  # type: ignore[assignment]
    seen: list[tuple[str, int, int]] = []
    build_engine(masked_half, tmp_path / "x.engine", "tensorrt", progress=lambda *step: seen.append(step))
    assert seen == [("building, no steps are told", 0, 1)]


# --- The timing cache ------------------------------------------------------------------------------------------


def test_what_one_build_measured_the_next_one_reads(
    build: Callable[..., BuiltEngine], trt: Fake, tmp_path: Path
) -> None:
    path = tmp_path / "times.cache"
    assert build().timing_cache is None and trt.config.cache is None
    assert build(timing_cache=path).timing_cache == "new"
    assert build(timing_cache=path).timing_cache == "read"
    assert trt.config.cache.content == b"measured;measured;"
    assert json.loads(sidecar_path(tmp_path / "x.engine").read_text())["timing_cache"] == "read"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["times.cache", "x.engine", "x.engine.json"]


def test_a_damaged_one_is_said_and_made_anew(build: Callable[..., BuiltEngine], trt: Fake, tmp_path: Path) -> None:
    path = tmp_path / "times.cache"
    build(timing_cache=path)
    whole = path.read_bytes()
    flipped = whole[:-3] + bytes([whole[-3] ^ 1]) + whole[-2:]
    for content in (b"", whole[:5], whole[:40], whole[:-1], flipped):
        path.write_bytes(content)
        assert build(timing_cache=path).timing_cache == "replaced, times.cache could not be used: damaged"
        assert trt.config.cache.content == b"measured;"  # TensorRT never saw the damaged one
        assert path.read_bytes() == whole


def test_one_of_another_machine_is_said_and_made_anew(
    build: Callable[..., BuiltEngine], trt: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "times.cache"
    build(timing_cache=path)
    trt.__version__ = "10.4.0"
    assert build(timing_cache=path).timing_cache == (
        "replaced, times.cache could not be used: it is of TensorRT 10.3.0, here is 10.4.0"
    )
    monkeypatch.setattr(trt_module, "require_gpu", lambda index=0: Gpu(0, "Thor", "11.0", "13.0"))
    found = build(timing_cache=path).timing_cache
    assert found is not None and found.endswith("it is of GPU Orin (8.7), here is Thor (11.0)")
    monkeypatch.setattr(Config, "accepts", False)
    assert build(timing_cache=path).timing_cache == "replaced, times.cache could not be used: TensorRT refuses it"


def test_another_file_is_left_alone(build: Callable[..., BuiltEngine], trt: Fake, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(b"\x89PNG and more")
    with pytest.raises(InputError, match="is no timing cache of edgeface: choose another --timing-cache"):
        build(timing_cache=path)
    assert path.read_bytes() == b"\x89PNG and more" and not (tmp_path / "x.engine").exists()


def test_preparing_does_not_touch_it(trt: Fake, masked_half: Path, tmp_path: Path) -> None:
    path = tmp_path / "times.cache"
    plan = prepare_build(masked_half, "tensorrt", BuildSettings(timing_cache=path)).plan
    assert plan.timing_cache == "new" and not path.exists()


def test_an_engine_is_kept_though_the_cache_cannot_be(
    trt: Fake, masked_half: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = prepare_build(masked_half, "tensorrt", BuildSettings(timing_cache=tmp_path / "times.cache"))
    (tmp_path / "times.cache").mkdir()
    built = run_build(prepared, tmp_path / "x.engine")
    assert built.timing_cache is not None and built.timing_cache.startswith("new; not written: cannot write")
    assert read_sidecar(tmp_path / "x.engine").engine_sha256 == built.engine_sha256
