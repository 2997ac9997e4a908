"""Damaged and hostile pictures: each is read or refused in one line; none crashes, hangs or takes the memory.

Accidents are drawn by number (faultkit/damage.py), from every form of the four formats made of real photographs; a
process of its own reads them and is killed when one takes more than a second of processor time.
"""

from __future__ import annotations

import collections
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from faultkit.tiny import write_bundle

pytest.importorskip("PIL", reason="needs Pillow, which comes with matplotlib: pip install 'edgeface[plot]'")

MOST_MB = 750
"""Peak memory of the reader: 64 megapixels are 192 MB, and a turned picture or 16 bits a channel take more."""


def read_all(first: int, end: int, photos: str) -> tuple[collections.Counter[str], list[str], float, int]:
    """Read cases: outcomes, what went wrong, the longest time in milliseconds, and peak memory in MB."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    outcomes: collections.Counter[str] = collections.Counter()
    faults: list[str] = []
    longest, peak = 0.0, 0
    while first < end:
        command = [sys.executable, "-m", "faultkit.read_damaged", str(first), str(end), photos]
        run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=3600, check=False)
        at = None
        for line in run.stdout.splitlines():
            parts = line.split()
            if len(parts) == 1:
                at = int(parts[0])
            else:
                at = None
                outcomes[parts[1]] += 1
                longest, peak = max(longest, float(parts[2])), max(peak, int(parts[3]))
        if run.returncode == 0:
            break
        name = signal.Signals(-run.returncode).name if run.returncode < 0 else run.stderr.strip().splitlines()[-1]
        assert at is not None, run.stderr
        faults.append(f"case {at}: {name}")
        first = at + 1
    return outcomes, faults, longest, peak


def check(count: int, photos: str) -> None:
    outcomes, faults, longest, peak = read_all(0, count, photos)
    print(dict(outcomes), f"longest {longest:.0f} ms, peak {peak} MB")
    assert not faults, faults
    assert sum(outcomes.values()) == count and min(outcomes["read"], outcomes["refused"]) > count / 5, outcomes
    assert peak < MOST_MB


def test_damaged_pictures(photos: str) -> None:
    check(600, photos)


@pytest.mark.soak
def test_ten_thousand_damaged_pictures(photos: str) -> None:
    check(int(os.environ.get("EDGEFACE_SOAK_IMAGES", "10000")), photos)


def test_a_command_says_it_in_one_line(tmp_path: Path) -> None:
    """What OpenCV logs of a picture it cannot read is not the user's."""
    pytest.importorskip("onnx", reason="needs onnx to make a tiny model: pip install 'edgeface[train]'")
    from faultkit.sound_images import FORMS

    bundle = write_bundle(tmp_path / "bundle")
    data = bytearray(FORMS["animated webp"](np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8)))
    data[40:60] = bytes(20)
    picture = tmp_path / "a.webp"
    picture.write_bytes(data)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "edgeface", "verify", str(bundle), str(picture), str(picture)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr == f"edgeface: {picture} is a damaged WebP: copy or export it again\n"
