"""Frame after frame: a process that recognises faces for weeks holds no more at the end than at the beginning."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from faultkit.resources import Held, growth, held

pytest.importorskip("onnx", reason="needs onnx to make a tiny model: pip install 'edgeface[train]'")

MOST_GROWTH_BYTES = 5_000_000
MOST_OBJECTS = 500
"""What a garbage collection leaves varies with the moment; a leak of one object a frame is thousands."""


def run(
    tmp_path: Path, frames: int, warm_up: int, readings: int, photos: str = "-", module: str = "long_run"
) -> dict[str, Any]:
    out = tmp_path / "out.json"
    command = [sys.executable, "-m", f"faultkit.{module}", "--frames", str(frames), "--warm-up", str(warm_up)]
    command += ["--readings", str(readings), "--out", str(out)]
    command += [] if photos == "-" else ["--photos", photos]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    subprocess.run(command, env=environment, check=True)
    result: dict[str, Any] = json.loads(out.read_text())
    print({key: value for key, value in result.items() if key != "readings"})
    return result


def same(result: dict[str, Any]) -> None:
    """No more is held at the end than after the warm-up."""
    grown = result["growth"]
    assert grown["rss_bytes"] < MOST_GROWTH_BYTES, result
    assert grown["objects"] < MOST_OBJECTS, result
    assert grown["threads"] == 0 and grown["connections"] == 0, result
    # A mapped index file and SQLite's own files come and go with the size of the gallery.
    assert abs(grown["handles"]) <= 2 and max(reading["handles"] for reading in result["readings"]) < 20, result


def check(result: dict[str, Any]) -> None:
    same(result)
    assert result["faces"] > result["frames"] / 2 and result["deleted"] > result["frames"] / 50, result
    assert result["file_bytes"]["g.db"] < 30_000_000, result


def test_two_thousand_frames(tmp_path: Path, photos: str) -> None:
    check(run(tmp_path, 2000, 1100, 40, photos))


@pytest.mark.soak
def test_a_hundred_thousand_frames(tmp_path: Path, photos: str) -> None:
    frames = int(os.environ.get("EDGEFACE_SOAK_FRAMES", "100000"))
    check(run(tmp_path, frames, 5000, 190, photos))


def streamed(tmp_path: Path, frames: int, warm_up: int, readings: int) -> None:
    """A stream, its page and an encrypted gallery that another connection changes."""
    result = run(tmp_path, frames, warm_up, readings, module="stream_run")
    same(result)
    assert result["frames"] + result["dropped"] >= frames - 10 and result["faces"] > frames / 4, result
    assert result["events"]["came"] > frames / 60 and result["interruptions"] >= frames // 400 - 1, result
    assert result["enrolled"] >= frames / 250 and result["file_bytes"]["g.db"] < 1_000_000, result


def test_fifteen_hundred_frames_of_a_stream(tmp_path: Path) -> None:
    streamed(tmp_path, 1500, 700, 40)


@pytest.mark.soak
def test_twenty_thousand_frames_of_a_stream(tmp_path: Path) -> None:
    streamed(tmp_path, int(os.environ.get("EDGEFACE_SOAK_STREAM", "20000")), 2000, 100)


def test_a_leak_is_noticed() -> None:
    """A handle, objects and 2 MB kept at each of ten readings; mapped, or they would fit into memory freed before."""
    kept: list[object] = []
    readings: list[Held] = []
    for _ in range(10):
        pages = mmap.mmap(-1, 2_000_000)
        pages.write(bytes([1]) * len(pages))
        kept.append([os.open(os.devnull, os.O_RDONLY), pages, [[k] for k in range(100)]])
        readings.append(held())
    for handle, *_ in kept:  # type: ignore[misc]
        os.close(handle)
    grown = growth(readings)
    assert grown["rss_bytes"] > MOST_GROWTH_BYTES and grown["handles"] == 8 and grown["objects"] > MOST_OBJECTS
