"""Engines on demand: found where they are kept, built where none fits, else refused with the command that builds."""

from __future__ import annotations

import hashlib
import re
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgeface_runtime import engine_place
from edgeface_runtime.backends import tensorrt
from edgeface_runtime.backends.driver import Gpu
from edgeface_runtime.bundle import Bundle, open_bundle
from edgeface_runtime.engine import Profile, Sidecar, read_sidecar, sidecar_path, write_sidecar
from edgeface_runtime.engine_check import CheckedEngine, Here
from edgeface_runtime.engine_open import open_bundle_engine
from edgeface_runtime.engine_place import engine_folders, engine_lock, engine_path
from edgeface_runtime.errors import ArtefactError, DeviceError, EdgefaceError, EngineError, InputError
from edgeface_runtime.files import sha256_file

MakeBundle = Callable[..., Path]
ORIN = Gpu(0, "Orin (nvgpu)", "8.7", "12.6")


@dataclass
class Machine:
    """The device as the runtime is told it is."""

    version: str = "10.3.0"
    gpu: Gpu = ORIN

    @property
    def here(self) -> Here:
        return Here("tensorrt", self.version, self.gpu)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A stand-in driver and TensorRT; an engine that would be deserialised is returned as it was checked."""
    found = Machine()
    monkeypatch.setattr(tensorrt, "require_gpu", lambda index: replace(found.gpu, index=index))

    class Module(SimpleNamespace):
        @property
        def __version__(self) -> str:
            return found.version

    monkeypatch.setitem(sys.modules, "tensorrt", Module())
    monkeypatch.setattr(tensorrt, "run_engine", lambda checked, found, again: checked)
    return found


@pytest.fixture
def bundle(tiny_bundle: MakeBundle) -> Bundle:
    return open_bundle(tiny_bundle())


@dataclass
class Builder:
    """Builds what says when and for whom it was built."""

    machine: Machine
    notes: list[str] = field(default_factory=list)
    built: list[Path] = field(default_factory=list)
    seconds: float = 0.0
    changes: dict[str, Any] = field(default_factory=dict)

    def note(self, message: str) -> None:
        self.notes.append(message)

    def build(self, onnx: Path, out: Path, backend: str, precision: str) -> None:
        time.sleep(self.seconds)
        self.built.append(out)
        make_engine(out, onnx, self.machine, f"plan {time.perf_counter_ns()}".encode(), **self.changes)


def make_engine(out: Path, onnx: Path, machine: Machine, plan: bytes = b"plan", **changes: Any) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(plan)
    gpu = machine.gpu
    facts = Sidecar(
        flavour="tensorrt",
        tensorrt_version=machine.version,
        onnx_sha256=sha256_file(onnx),
        engine_sha256=hashlib.sha256(plan).hexdigest(),
        precision="fp32",
        profile=Profile(1, 1, 8),
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        driver=gpu.driver,
    )
    write_sidecar(out, replace(facts, **changes))


def opened(bundle: Bundle, builder: Builder | None = None, **more: Any) -> CheckedEngine:
    return open_bundle_engine(bundle, "tensorrt", "fp32", builder=builder, **more)  # type: ignore[return-value]


def refused(bundle: Bundle, pattern: str, error: type[EdgefaceError] = EngineError, **more: Any) -> None:
    with pytest.raises(error, match=pattern) as info:
        opened(bundle, **more)
    assert "\n" not in str(info.value)


def test_it_is_built_once_and_then_found(bundle: Bundle, machine: Machine, own_cache: Path) -> None:
    builder = Builder(machine)
    first = opened(bundle, builder)
    path = own_cache / "engines" / f"{bundle.model_id[:16]}-tensorrt-10.3.0-Orin-nvgpu-8.7.engine"
    assert builder.built == [path] == [first.path] == [engine_path(bundle.source, bundle.model_id, machine.here)]
    assert builder.notes == [
        f"no tensorrt engine of the fp32 model of {bundle.source} for Orin (nvgpu) yet: "
        "building it now, which may take minutes"
    ]
    assert opened(bundle, builder).plan == first.plan == opened(bundle).plan
    assert len(builder.built) == 1
    assert sorted(entry.name for entry in path.parent.iterdir()) == [path.name, path.name + ".json"]


def test_without_a_builder_the_command_is_named(bundle: Bundle, machine: Machine) -> None:
    command = f"edgeface build {bundle.source} --backend tensorrt --precision fp32"
    refused(bundle, f"no tensorrt engine of the fp32 model of .* yet: build it with {command}$")
    make_engine(engine_path(bundle.source, bundle.model_id, machine.here), bundle.model_path(), machine)
    machine.version = "10.7.0"
    refused(bundle, rf"was built by tensorrt 10\.3\.0, here is tensorrt 10\.7\.0: build it with {command}$")


def test_another_gpu_than_the_first_is_built_for_by_hand(bundle: Bundle, machine: Machine) -> None:
    builder = Builder(machine)
    refused(bundle, "build it with CUDA_VISIBLE_DEVICES=1 edgeface build", builder=builder, device="cuda:1")
    assert builder.built == builder.notes == []
    opened(bundle, builder)
    assert opened(bundle, device="cuda:1").path == builder.built[0]  # the same kind of GPU


def test_the_cpu_is_refused_and_nothing_built(bundle: Bundle, machine: Machine) -> None:
    builder = Builder(machine)
    refused(bundle, "runs on a GPU, not on the CPU", DeviceError, builder=builder, device="cpu")
    assert builder.built == []


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"version": "10.7.0"}, r"was built by tensorrt 10\.3\.0, here is tensorrt 10\.7\.0: building it now"),
        ({"gpu": replace(ORIN, name="Thor")}, r"was built for Orin \(nvgpu\) .*, here is Thor \(8\.7\): building"),
        ({"gpu": replace(ORIN, compute_capability="8.9")}, r"here is Orin \(nvgpu\) \(8\.9\): building it now"),
        ({"gpu": replace(ORIN, driver="12.4")}, r"for CUDA 12\.6, here is an older one, for CUDA 12\.4: building"),
    ],
)
def test_a_stale_engine_is_built_again_and_it_is_said_why(
    bundle: Bundle, machine: Machine, change: dict[str, Any], why: str
) -> None:
    builder = Builder(machine)
    old = opened(bundle, builder)
    for name, value in change.items():
        setattr(machine, name, value)
    new = opened(bundle, builder)
    assert new.plan != old.plan and len(builder.built) == 2
    assert re.search(why, builder.notes[1]), builder.notes
    if "driver" not in why and "CUDA" not in why:
        assert old.path.read_bytes() == old.plan  # the other device's stays
    assert opened(bundle).plan == new.plan


def test_a_newer_driver_is_fine(bundle: Bundle, machine: Machine) -> None:
    old = opened(bundle, Builder(machine))
    machine.gpu = replace(ORIN, driver="13.0")
    assert opened(bundle).plan == old.plan


def test_an_engine_that_later_versions_run_is_kept(bundle: Bundle, machine: Machine) -> None:
    old = opened(bundle, Builder(machine, changes={"version_compatible": True}))
    machine.version = "10.7.0"
    assert opened(bundle).plan == old.plan
    machine.version = "11.0.0"
    refused(bundle, r"was built by tensorrt 10\.3\.0, here is tensorrt 11\.0\.0")


@pytest.mark.parametrize(
    ("damage", "why"),
    [
        (lambda path: path.write_bytes(b""), r"is damaged \(it is empty\)"),
        (lambda path: path.write_bytes(b"plan"), "SHA-256 differs"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "SHA-256 differs"),
        (lambda path: sidecar_path(path).unlink(), "has no sidecar"),
        (lambda path: sidecar_path(path).write_text("{"), "it is not JSON"),
        (
            lambda path: sidecar_path(path).write_text('{"format": "edgeface-engine", "version": 9}'),
            r"has version 9, this edgeface reads version 1 \(upgrade edgeface\)",
        ),
    ],
)
def test_a_damaged_engine_is_built_again_or_refused(
    bundle: Bundle, machine: Machine, damage: Callable[[Path], object], why: str
) -> None:
    builder = Builder(machine)
    path = opened(bundle, builder).path
    damage(path)
    command = f"edgeface build {bundle.source} --backend tensorrt --precision fp32"
    refused(bundle, f"{why}.*: build it with {command}$", ArtefactError)
    again = opened(bundle, builder)
    assert (again.path, len(builder.built)) == (path, 2)
    assert re.search(why, builder.notes[1])


def test_an_older_models_engine_beside_the_bundle_says_so(
    bundle: Bundle, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGEFACE_CACHE")
    monkeypatch.setenv("HOME", str(bundle.source.parent / "home"))
    beside = bundle.source.with_name("bundle.engines")
    assert engine_folders(bundle.source)[0] == beside
    old = beside / f"{'0' * 16}-tensorrt-10.3.0-Orin-nvgpu-8.7.engine"
    make_engine(old, bundle.model_path(), machine, onnx_sha256="0" * 64)
    builder = Builder(machine)
    new = opened(bundle, builder)
    assert new.path.parent == beside and new.path != old
    assert f"was built from model {'0' * 12}, not {bundle.model_id[:12]}: building it now" in builder.notes[0]


def test_where_engines_are_kept(tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside = tmp_path / "m.tar.engines"
    assert engine_folders(tmp_path / "m.tar") == [own_cache / "engines", beside]
    monkeypatch.delenv("EDGEFACE_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    cache = tmp_path / "home" / ".cache" / "edgeface" / "engines"
    assert engine_folders(tmp_path / "m.tar") == [beside, cache]
    monkeypatch.setattr(engine_place.os, "access", lambda path, mode: False)
    assert engine_folders(tmp_path / "m.tar") == [cache, beside]


def test_an_engine_beside_a_bundle_is_found_where_a_cache_is_set(bundle: Bundle, machine: Machine) -> None:
    """A device with a read-only root brings its engine along; what it builds itself goes to the cache."""
    name = engine_path(bundle.source, bundle.model_id, machine.here).name
    shipped = bundle.source.with_name("bundle.engines") / name
    make_engine(shipped, bundle.model_path(), machine)
    assert opened(bundle).path == shipped


def test_an_engine_that_was_named_is_never_built(bundle: Bundle, machine: Machine, tmp_path: Path) -> None:
    path = tmp_path / "own.engine"
    make_engine(path, bundle.model_path(), machine)
    builder = Builder(machine)
    assert opened(bundle, builder, engine=path).path == path
    path.write_bytes(b"other")
    refused(
        bundle,
        f"remove it and build it again with .* --precision fp32 --out {path}$",
        ArtefactError,
        builder=builder,
        engine=path,
    )
    refused(bundle, "engine not found", InputError, builder=builder, engine=tmp_path / "none.engine")
    assert builder.built == []


def test_two_at_once_build_once(bundle: Bundle, machine: Machine) -> None:
    builders = [Builder(machine, seconds=0.3) for _ in range(4)]
    plans: list[bytes] = []
    threads = [threading.Thread(target=lambda b=b: plans.append(opened(bundle, b).plan)) for b in builders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(len(builder.built) for builder in builders) == 1
    assert len(plans) == 4 and len(set(plans)) == 1
    waited = [note for builder in builders for note in builder.notes if "another process is building" in note]
    assert len(waited) == 3


def test_a_failed_build_leaves_nothing(bundle: Bundle, machine: Machine, own_cache: Path) -> None:
    class Broken(Builder):
        def build(self, onnx: Path, out: Path, backend: str, precision: str) -> None:
            raise EngineError("TensorRT refuses node x")

    refused(bundle, "TensorRT refuses node x", builder=Broken(machine))
    assert not (own_cache / "engines").exists()


def test_a_place_that_cannot_be_written_is_said_before_the_build(
    bundle: Bundle, machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EDGEFACE_CACHE", str(tmp_path / "file"))
    builder = Builder(machine)
    refused(bundle, "cannot write .*is a file, not a folder", InputError, builder=builder)
    assert builder.built == []


def test_a_lock_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "engines" / "a.engine"
    waited: list[int] = []
    for _ in range(2):
        with engine_lock(path, lambda: waited.append(1)):
            assert [entry.name for entry in path.parent.iterdir()] == [".a.engine.lock"]
    assert waited == [] and not path.parent.exists()
    path.parent.mkdir()
    (path.parent / ".a.engine.lock").write_text("")  # of a process that was killed
    with engine_lock(path, lambda: waited.append(1)):
        pass
    assert waited == [] and not path.parent.exists()


def test_what_builds_for_another_machine_is_refused_after_all(bundle: Bundle, machine: Machine) -> None:
    builder = Builder(machine, changes={"gpu": "Thor"})
    refused(bundle, "was built for Thor .*: build it with edgeface build", builder=builder)
    assert len(builder.built) == 1
    assert read_sidecar(builder.built[0]).gpu == "Thor"
