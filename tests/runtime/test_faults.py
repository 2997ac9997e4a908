"""Hundreds of accidents to the files a device loads: each is refused in one line, none is let in, none is a crash.

Random truncations and bit flips (seeded). What is still opened must be what it was, byte for byte and field for
field, after an accident that writes the same otherwise: 1e-2 as 1E-2, or no line end at the end of a file.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from edgeface_runtime.backends import tensorrt
from edgeface_runtime.backends.driver import Gpu, require_gpu
from edgeface_runtime.backends.tensorrt import open_engine
from edgeface_runtime.bundle import Bundle, open_bundle, pack_bundle, write_manifest
from edgeface_runtime.engine import Profile, Sidecar, read_sidecar, sidecar_path, write_sidecar
from edgeface_runtime.errors import DeviceError, EdgefaceError
from edgeface_runtime.files import sha256_file
from edgeface_runtime.manifest import MANIFEST_NAME, read_manifest

MakeBundle = Callable[..., Path]
EACH = 60
"""Accidents to each kind of file."""
GPU = Gpu(0, "Orin", "8.7", "12.6")


@dataclass(frozen=True)
class Accident:
    """What happened to a file's content, in words, and what is left."""

    words: str
    content: bytes


def accidents(content: bytes, count: int, seed: int) -> Iterator[Accident]:
    """Every third cuts the end off, the others flip one bit."""
    draw = random.Random(seed)
    for number in range(count):
        if number % 3 == 0:
            left = draw.randrange(len(content))
            yield Accident(f"cut to {left} bytes", content[:left])
        else:
            at, bit = draw.randrange(len(content)), draw.randrange(8)
            changed = bytearray(content)
            changed[at] ^= 1 << bit
            yield Accident(f"bit {bit} of byte {at} flipped", bytes(changed))


def outcome(load: Callable[[], Any]) -> Any:
    """What loading gives; None where it was refused as it should be."""
    try:
        return load()
    except EdgefaceError as exc:
        assert str(exc) and "\n" not in str(exc)
        return None


@pytest.fixture
def bundle(tiny_bundle: MakeBundle) -> Path:
    """A bundle with another file in a folder of its own, as a dictionary's parts are, and fields of all kinds."""
    folder = tiny_bundle(accuracy=({"protocol": "verify", "accuracy": 0.9912, "note": "é\n"},), macs=552_000_000)
    (folder / "parts").mkdir()
    (folder / "parts" / "dictionary.npz").write_bytes(np.random.default_rng(0).bytes(5000))
    manifest = read_manifest(folder)
    write_manifest(folder, manifest)
    return folder


def contents(bundle: Bundle) -> dict[str, bytes]:
    return {name: (bundle.folder / name).read_bytes() for name in bundle.manifest.files}


@pytest.mark.parametrize("name", [MANIFEST_NAME, "recognizer.onnx", "parts/dictionary.npz"])
def test_accidents_to_a_bundles_folder(bundle: Path, name: str) -> None:
    good = open_bundle(bundle)
    wanted = contents(good)
    original = (bundle / name).read_bytes()
    let_in = []
    count = 3 * EACH if name == MANIFEST_NAME else EACH
    for accident in accidents(original, count, seed=1):
        (bundle / name).write_bytes(accident.content)
        found = outcome(lambda: open_bundle(bundle))
        if found is not None:
            let_in.append(accident.words)
            assert (found.manifest, contents(found)) == (good.manifest, wanted), accident.words
    # Of a manifest the file's last line end may go: it is the same JSON.
    assert len(let_in) <= (2 if name == MANIFEST_NAME else 0), let_in
    (bundle / name).write_bytes(original)
    assert open_bundle(bundle).manifest == good.manifest


def test_every_bit_of_a_manifest_is_under_its_checksum(bundle: Path) -> None:
    """All flips of one bit in every 37th byte: none changes what is read."""
    good = read_manifest(bundle)
    file = bundle / MANIFEST_NAME
    original = file.read_bytes()
    refused, tried = 0, 0
    for at in range(0, len(original), 37):
        for bit in range(8):
            changed = bytearray(original)
            changed[at] ^= 1 << bit
            file.write_bytes(changed)
            found = outcome(lambda: read_manifest(bundle))
            tried, refused = tried + 1, refused + (found is None)
            assert found is None or found == good, f"bit {bit} of byte {at}"
    assert tried > 200 and refused >= tried - 3


def test_accidents_to_an_archive(bundle: Path, tmp_path: Path) -> None:
    good = open_bundle(bundle)
    wanted = contents(good)
    original = pack_bundle(bundle, tmp_path / "good.tar").read_bytes()
    let_in = []
    for number, accident in enumerate(accidents(original, 2 * EACH, seed=2)):
        path = tmp_path / f"{number}.tar"
        path.write_bytes(accident.content)
        found = outcome(lambda path=path: open_bundle(path))
        if found is not None:
            let_in.append(accident.words)
            assert (found.manifest, contents(found)) == (good.manifest, wanted), accident.words
        path.unlink()
    assert let_in == []


@pytest.fixture(scope="module")
def rtx_engine(tmp_path_factory: pytest.TempPathFactory, tiny_weights: tuple[Path, Any]) -> Path:
    """A real engine, built by TensorRT-RTX without a GPU."""
    pytest.importorskip("tensorrt_rtx", reason="needs tensorrt_rtx: pip install 'edgeface[rtx]'")
    from edgeface_export.build import BuildSettings, build_engine

    out = tmp_path_factory.mktemp("engine") / "r.engine"
    build_engine(tiny_weights[0], out, "tensorrt-rtx", BuildSettings("fp32", max_batch=2))
    return out


def plain_engine(folder: Path) -> Path:
    """An engine as far as the checks look at it."""
    out = folder / "r.engine"
    out.write_bytes(np.random.default_rng(0).bytes(20_000))
    facts = ("tensorrt", "10.3.0", "c" * 64, sha256_file(out), "fp16", Profile(1, 2, 8), "Orin", "8.7", "12.6")
    write_sidecar(out, Sidecar(*facts))
    return out


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver that says the right GPU is there; what comes to be deserialised is given back."""
    monkeypatch.setattr(tensorrt, "require_gpu", lambda index: GPU)
    monkeypatch.setattr(tensorrt, "run_engine", lambda checked, found, again: checked)
    monkeypatch.setitem(sys.modules, "tensorrt", SimpleNamespace(__version__="10.3.0"))


def hurt(engine: Path, file: Path, flavour: str, seed: int) -> int:
    """Every accident to `file` is refused; returns how many there were."""
    good = read_sidecar(engine)
    plan, original = engine.read_bytes(), file.read_bytes()
    assert open_engine(engine, flavour).plan == plan  # type: ignore[attr-defined]
    refused = 0
    for accident in accidents(original, EACH, seed):
        file.write_bytes(accident.content)
        found = outcome(lambda: open_engine(engine, flavour))
        refused += found is None
        if found is not None:
            assert file != engine and (found.sidecar, found.plan) == (good, plan), accident.words
    file.write_bytes(original)
    return refused


def test_accidents_to_an_engine_and_its_sidecar(tmp_path: Path, driver: None) -> None:
    engine = plain_engine(tmp_path)
    assert hurt(engine, engine, "tensorrt", 3) == EACH
    assert hurt(engine, sidecar_path(engine), "tensorrt", 4) >= EACH - 1


def test_accidents_to_a_real_engine(rtx_engine: Path, tmp_path: Path, driver: None) -> None:
    engine = tmp_path / "r.engine"
    for file in (rtx_engine, sidecar_path(rtx_engine)):
        shutil.copy(file, engine.with_name(file.name))
    assert hurt(engine, engine, "tensorrt-rtx", 5) == EACH
    assert hurt(engine, sidecar_path(engine), "tensorrt-rtx", 6) >= EACH - 1


def test_without_a_driver_the_real_package_is_never_reached(rtx_engine: Path, bundle: Path, tmp_path: Path) -> None:
    """A process of its own, which a crash would end: exit code 3 and one line, for a good engine and a bad one."""
    try:
        require_gpu()
    except DeviceError:
        pass
    else:
        pytest.skip("needs a machine without an NVIDIA driver")
    bad = tmp_path / "bad.engine"
    bad.write_bytes(rtx_engine.read_bytes()[:1000])
    shutil.copy(sidecar_path(rtx_engine), sidecar_path(bad))
    script = """
import sys
from edgeface_runtime.recognizer import Recognizer
bundle, engine = sys.argv[1:]
try:
    Recognizer.from_bundle(bundle, "tensorrt-rtx", "fp32", engine=engine)
except Exception as exc:
    print(type(exc).__name__, exc, sep=": ")
    sys.exit(exc.exit_code)
"""
    for engine in (rtx_engine, bad):
        done = subprocess.run(
            [sys.executable, "-c", script, str(bundle), str(engine)], capture_output=True, text=True, timeout=60
        )
        assert (done.returncode, done.stderr) == (3, ""), done
        assert done.stdout.startswith("DeviceError: no NVIDIA driver") and done.stdout.count("\n") == 1
    command = ["verify", bundle, "a.jpg", "b.jpg", "--backend", "tensorrt-rtx", "--precision", "fp32"]
    done = subprocess.run(
        [sys.executable, "-m", "edgeface", *map(str, command)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "EDGEFACE_CACHE": str(tmp_path / "cache")},
    )
    assert (done.returncode, done.stdout) == (3, ""), done
    assert done.stderr.startswith("edgeface: no NVIDIA driver") and done.stderr.count("\n") == 1
    assert not (tmp_path / "cache" / "engines").exists()
