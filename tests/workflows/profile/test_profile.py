"""Profiling without a clock: on a device whose every graph takes as long as it has multiply-adds."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeface.models import build_spec
from edgeface.workflows.profile import measure
from edgeface.workflows.profile.blocks import INDEX, read_blocks
from edgeface.workflows.profile.measure import ProfileSettings, measure_blocks
from edgeface.workflows.profile.plan import check_networks, export_blocks, grid
from edgeface_calibration.device_profile import DeviceProfile
from edgeface_calibration.latency import Latency, summarise
from edgeface_runtime.errors import ArtefactError, InputError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("profile") / "blocks"
    export_blocks(build_spec("iresnet18", 0.25, mask="decoder"), "fp32", out)
    return out


@pytest.fixture
def profiled(folder: Path, monkeypatch: pytest.MonkeyPatch) -> DeviceProfile:
    """The folder timed on such a device."""
    blocks = read_blocks(folder)
    flops = {unit_file: 0.0 for unit in blocks.units for unit_file in unit.baselines}
    for unit in blocks.units:
        for file, place in zip(unit.files, places(unit.axes), strict=True):
            flops[file] = cost(unit.key, place)
    for network in blocks.networks:
        flops[network.file] = 0.1 + 2 * sum(cost(key, widths) for key, widths in network.parts)

    def fake(calls: Mapping[str, Callable[[], object]], **_: Any) -> dict[str, Latency]:
        for call in calls.values():
            call()
        return {label: summarise([flops[label] + 0.05 * label.startswith(("unit", "base"))]) for label in calls}

    monkeypatch.setattr(measure, "time_alternating", fake)
    return measure_blocks(folder, blocks, ProfileSettings())


def places(axes: tuple[tuple[int, ...], ...]) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = [()]
    for axis in axes:
        found = [(*place, width) for place in found for width in axis]
    return found


def cost(key: str, widths: tuple[int, ...]) -> float:
    """Milliseconds: what is multilinear in the widths, as convolutions are."""
    size = int(key.split("x")[0].split()[-1]) / 112
    return size * (0.01 + sum(a * b for a, b in itertools.pairwise(widths)) / 1e3 + widths[0] / 1e3)


def test_what_adds_up_is_predicted_exactly(profiled: DeviceProfile) -> None:
    assert profiled.factor == pytest.approx(2) and profiled.offset_ms == pytest.approx(0.1)
    assert profiled.error == pytest.approx(0, abs=1e-9)
    assert [check.fitted for check in profiled.checks] == [True] * 4 + [False] * 4
    assert all(abs(check.error) < 1e-9 for check in profiled.checks)
    assert profiled.conditions.device == "cpu" and profiled.conditions.precision == "fp32"
    assert profiled.ran_on["provider"] == "CPUExecutionProvider"


def test_the_graphs_are_small_and_indexed(folder: Path) -> None:
    files = list(folder.iterdir())
    assert sum(file.stat().st_size for file in files) < 3e6
    blocks = read_blocks(folder)
    named = {file for unit in blocks.units for file in (*unit.files, *unit.baselines)}
    assert {file.name for file in files} == named | {net.file for net in blocks.networks} | {INDEX}
    assert (blocks.network, blocks.precision) == ("iresnet18, stem 16, stages 16 32 64 128, mask decoder", "fp32")


def test_widths_measured_end_at_the_widest() -> None:
    assert grid((64,)) == ((8, 24, 40, 64),)
    assert grid((64, 64, 128)) == ((8, 32, 64), (8, 32, 64), (16, 64, 128))
    assert grid((4, 12)) == ((4,), (8, 12))


def test_checks_are_narrower_or_shallower_and_differ() -> None:
    spec = build_spec("iresnet50")
    found = check_networks(spec)
    assert len({shape for _, shape, _ in found}) == len(found) == 8
    assert sum(len(s.inner) for s in found[-1][1].stages) == 24 - 6


def test_a_folder_that_lacks_a_graph_or_is_newer_is_refused(tmp_path: Path, folder: Path) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / INDEX).write_bytes((folder / INDEX).read_bytes())
    with pytest.raises(ArtefactError, match=r"lacks unit0_8\.onnx: export the blocks again"):
        read_blocks(copy)
    (copy / INDEX).write_text((folder / INDEX).read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(ArtefactError, match="version 2, not 1: upgrade"):
        read_blocks(copy)
    (copy / INDEX).write_text("{}")
    with pytest.raises(ArtefactError, match="damaged"):
        read_blocks(copy)


def test_settings_are_refused_in_the_words_of_the_flags() -> None:
    for change, message in (
        ({"clock": "sun"}, "--clock must be one of wall, cpu"),
        ({"clock": "cpu", "threads": 2}, "--clock cpu is the time of one thread"),
        ({"rounds": 1}, "--rounds must be at least 3"),
        ({"batch": 0}, "--batch must be at least 1"),
        ({"backend": "tpu"}, "unknown backend 'tpu'"),
    ):
        with pytest.raises(InputError, match=message):
            replace(ProfileSettings(), **change)  # type: ignore[arg-type]


def test_timing_needs_neither_torch_nor_onnx() -> None:
    script = (
        "import sys; import edgeface.workflows.profile.measure; import edgeface_calibration.device_profile; "
        "print([name for name in ('torch', 'onnx', 'safetensors') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_engines_are_built_for_backends_that_run_engines(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With stand-ins for the GPU: each graph is compiled, in the profile's precision, and the engine is what runs."""
    built: list[tuple[str, str, int]] = []

    def build(onnx: Path, out: Path, backend: str, settings: Any) -> None:
        built.append((backend, settings.precision, settings.max_batch))
        out.write_bytes(onnx.read_bytes())

    monkeypatch.setattr("edgeface_export.build.build_engine", build)
    found = measure._compiled(folder / "network0.onnx", tmp_path, ProfileSettings("tensorrt-rtx", batch=4), "fp16")
    assert found == tmp_path / "network0.engine" and built == [("tensorrt-rtx", "fp16", 4)]
