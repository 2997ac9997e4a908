"""Does `edgeface identify` on one photo, in a new process, take at most 300 ms longer than a bare script?

The script imports cv2 and onnxruntime, makes the session of the same ONNX and runs it once: what is left when
detection, alignment, matching, the checks of the files and the command line are taken away. Both are child
processes, in turn, the order changing every time, with the files in the system's cache; medians with quartiles of
wall and of processor time. Run: `python benchmarks/cold_identify.py [BUNDLE] [PHOTO]`; by default a network of
ratio .5 with random weights, and the astronaut of scikit-image. Exit code 1 where the gate is missed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from random_bundle import random_bundle

from edgeface_runtime.bundle import open_bundle
from edgeface_runtime.errors import EdgefaceError, InputError

GATE_MS = 300.0
BARE = """
import sys
import cv2
import numpy
import onnxruntime
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
feed = session.get_inputs()[0]
session.run(None, {feed.name: numpy.zeros((1, *feed.shape[1:]), numpy.float32)})
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path, nargs="?", help="by default one with random weights is made")
    parser.add_argument("photo", type=Path, nargs="?", help="a picture with a face")
    parser.add_argument("--rounds", type=int, default=30)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        # Compiled modules are kept, as those of installed packages are.
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(folder / "bytecode")
        try:
            (folder / "bundle").mkdir()
            bundle = options.bundle or random_bundle(folder / "bundle")
            model = open_bundle(bundle).model_path()
            photo = options.photo or astronaut(folder / "astronaut.jpg")
            command = [sys.executable, "-m", "edgeface"]
            run([*command, "enroll", bundle, "Ada", photo, "--gallery", folder / "g.db", "--largest", "--quiet"])
        except EdgefaceError as exc:
            print(f"cold_identify: {exc}", file=sys.stderr)
            return exc.exit_code
        identify = [*command, "identify", bundle, photo, "--gallery", folder / "g.db", "--threshold", ".5"]
        return measure([identify, [sys.executable, "-c", BARE, model]], options.rounds)


def measure(sides: list[list[object]], rounds: int) -> int:
    """Print what both took; 1 where the gate is missed."""
    taken = np.empty((rounds, 2, 2))
    for number in range(-2, rounds):
        for side in (0, 1) if number % 2 else (1, 0):
            taken[number, side] = run(sides[side])
    for kind, name in enumerate(("wall", "processor")):
        ours, bare = taken[:, 0, kind] * 1e3, taken[:, 1, kind] * 1e3
        print(
            f"{name}: identify {median(ours)} ms, bare script {median(bare)} ms; {median(ours - bare)} ms longer "
            f"(of pairs){f', to reach {GATE_MS:g}' if kind == 0 else ''}; {rounds} rounds"
        )
    longer = np.median(taken[:, 0, 0]) - np.median(taken[:, 1, 0])
    return int(longer * 1e3 > GATE_MS)


def median(values: np.ndarray) -> str:
    low, middle, high = np.percentile(values, (25, 50, 75))
    return f"{middle:.0f} ({low:.0f}-{high:.0f})"


def run(command: list[object]) -> tuple[float, float]:
    """Seconds of wall and of processor time."""
    before, start = os.times(), time.perf_counter()
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - start, os.times()
    if done.returncode:
        raise InputError(f"{' '.join(map(str, command[:4]))} failed: {done.stderr.strip()[-300:]}")
    return wall, after.children_user + after.children_system - before.children_user - before.children_system


def astronaut(path: Path) -> Path:
    try:
        import skimage.data
    except ImportError as exc:
        raise InputError("give a picture, or install scikit-image: pip install 'edgeface[demo]'") from exc
    cv2.imwrite(str(path), np.ascontiguousarray(skimage.data.astronaut()[..., ::-1]))
    return path


if __name__ == "__main__":
    sys.exit(main())
