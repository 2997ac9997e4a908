"""What really ran stands in every result, and --allow-cpu permits the CPU where a GPU is asked for and not there."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeface_runtime.backends import allow_cpu, tensorrt
from edgeface_runtime.backends import onnxruntime as ort_module
from edgeface_runtime.errors import DeviceError

Cli = Callable[..., Any]

FACTS = {"backend", "provider", "device", "version", "precision", "fallback"}
COMMANDS: dict[str, tuple[str, str]] = {
    "enroll": ("enroll {bundle} Bob {photo} --gallery {new}", "backend"),
    "identify": ("identify {bundle} {photo} --gallery {gallery} --threshold 0", "backend"),
    "verify": ("verify {bundle} {photo} {photo} --threshold 0", "backend"),
    "evaluate": ("evaluate {bundle} --images {images} --pairs {pairs}", "ran_on"),
    "evaluate by identification": ("evaluate {bundle} --images {images} --protocol identify", "ran_on"),
    "evaluate what is covered": ("evaluate {bundle} --images {faces} --protocol covered", "ran_on"),
    "calibrate": ("calibrate threshold {copy} --data {faces} --fmr .1", "ran_on"),
    "benchmark": ("benchmark {bundle} --batch 1 --runs 2 --warmup 0", "ran_on"),
}
"""Command -> its words, and where in its result what ran stands."""


@pytest.fixture
def run(chain: Any, cli: Cli, tmp_path: Path) -> Callable[..., Any]:
    shutil.copytree(chain.bundle, tmp_path / "copy")
    names = ("bundle", "photo", "gallery", "images", "pairs", "faces", "masked")
    places = {
        **{name: getattr(chain, name) for name in names},
        "copy": tmp_path / "copy",
        "new": tmp_path / "new.db",
    }

    def command(words: str, *more: str) -> Any:
        return cli(*(word.format(**places) for word in words.split()), *more)

    return command


def found(done: Any, where: str) -> Any:
    assert done.code == 0, done.err
    return (done.data[0] if isinstance(done.data, list) else done.data)[where]


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def none(index: int = 0) -> Any:
        raise DeviceError("no NVIDIA driver: get one")

    for module in (allow_cpu, tensorrt, ort_module):
        monkeypatch.setattr(module, "require_gpu", none)
    yield


@pytest.mark.parametrize("name", COMMANDS)
def test_every_result_says_what_ran(name: str, run: Callable[..., Any]) -> None:
    words, where = COMMANDS[name]
    done = run(words, "--json", "--threads", "1")
    ran = found(done, where)
    assert set(ran) >= FACTS
    assert (ran["backend"], ran["provider"], ran["device"]) == ("onnxruntime", "CPUExecutionProvider", "cpu")
    assert (ran["precision"], ran["fallback"]) == ("fp32", None)
    assert "--allow-cpu" not in done.err


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize("name", COMMANDS)
def test_by_permission_the_cpu_runs_and_it_is_said(name: str, run: Callable[..., Any]) -> None:
    words, where = COMMANDS[name]
    done = run(words, "--json", "--quiet", "--threads", "1", "--backend", "tensorrt", "--allow-cpu")
    ran = found(done, where)
    assert set(ran) >= FACTS
    assert (ran["backend"], ran["device"], ran["precision"]) == ("onnxruntime", "cpu", "fp32")
    assert (ran["asked"], ran["fallback"]) == ("tensorrt on cuda", "no NVIDIA driver: get one")
    assert done.err == "no GPU (no NVIDIA driver: get one): running on the CPU, as --allow-cpu permits\n"


@pytest.mark.usefixtures("without_gpu")
@pytest.mark.parametrize("name", COMMANDS)
def test_without_permission_it_is_an_error(name: str, run: Callable[..., Any], tmp_path: Path) -> None:
    words, _ = COMMANDS[name]
    for backend in (("onnxruntime-tensorrt",), ("onnxruntime", "--device", "cuda")):
        done = run(words, "--json", "--quiet", "--precision", "fp32", "--backend", *backend)
        assert (done.code, done.out) == (3, "")
        assert done.err.count("\n") == 1 and "Traceback" not in done.err
    assert not (tmp_path / "new.db").exists()


def test_a_checkpoint_says_it_too(run: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    words = "evaluate {masked} --images {images} --pairs {pairs} --json --quiet --device"
    ran = found(run(words, "cpu"), "ran_on")
    assert set(ran) >= FACTS and "asked" not in ran
    assert (ran["backend"], ran["device"], ran["precision"], ran["fallback"]) == ("torch", "cpu", "fp32", None)
    assert run(words, "cuda").code == 3
    done = run(words, "cuda", "--allow-cpu")
    ran = found(done, "ran_on")
    assert (ran["backend"], ran["device"], ran["asked"]) == ("torch", "cpu", "torch on cuda")
    assert done.err == f"no GPU ({ran['fallback']}): running on the CPU, as --allow-cpu permits\n"


@pytest.mark.usefixtures("without_gpu")
def test_tensorrt_on_the_cpu_is_a_contradiction_and_not_permitted(run: Callable[..., Any]) -> None:
    done = run("benchmark {bundle} --backend tensorrt-rtx --precision fp32 --device cpu --batch 1 --allow-cpu")
    assert done.code == 3
    assert done.err.endswith(
        "tensorrt-rtx runs on a GPU, not on the CPU: give --device cuda, or --backend onnxruntime\n"
    )
    assert "--allow-cpu" not in done.err and "building" not in done.err
