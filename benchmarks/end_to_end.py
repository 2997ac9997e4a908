"""What does a picture cost from file to name, stage by stage, for each of several bundles, such as one a ratio?

Every bundle runs in a process of its own, so that its peak memory is its own: a video of drifting photographs is
decoded, and in every picture all faces are detected, aligned, embedded and matched (no tracking spares anything),
one thread each. The bundles take turns for `--rounds` rounds of `--pictures` pictures; then, with `--seconds`, each
runs on for so long, and clocks, temperature and power are told where the system tells them.
Run: `OMP_NUM_THREADS=1 python -m benchmarks.end_to_end PHOTOS [BUNDLE...]`; without bundles, full-width networks
with a mask decoder and random weights, one a ratio (needs the extra `train`).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.random_bundle import random_bundle
from benchmarks.stream import SCENE, THRESHOLD, Looped, portraits, write
from edgeface_runtime.errors import EdgefaceError
from edgeface_runtime.recognizer import Recognizer
from edgeface_runtime.stream import Stream, StreamSettings

RATIOS = (0, 0.1, 0.2, 0.3, 0.4, 0.5)
STAGES = ("decode", "detect", "align", "embed", "match", "whole")
EVERY = StreamSettings(threshold=THRESHOLD, detect_every=1, refresh_s=1e-6)
"""Every face of every picture is found and embedded."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path, help="a folder of portraits, one face each")
    parser.add_argument("bundles", type=Path, nargs="*")
    parser.add_argument("--people", type=int, default=1, help="faces in a picture")
    parser.add_argument("--pictures", type=int, default=150, help="of the video")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0, help="of a sustained run of each bundle; 0: none")
    parser.add_argument("--film", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    try:
        if options.film is not None:
            print(json.dumps(run(options.bundles[0], options.film, options.photos, options.seconds)))
            return 0
        with tempfile.TemporaryDirectory() as folder:
            film = Path(folder) / "film.avi"
            faces = portraits(options.photos, options.people * -(-options.pictures // SCENE))
            write(film, faces, options.people, options.pictures)
            bundles = options.bundles or [bundle_of(Path(folder), ratio) for ratio in RATIOS]
            table(bundles, film, options.photos, options.rounds)
            for bundle in bundles if options.seconds else ():
                tell(bundle, child(bundle, film, options.photos, options.seconds))
    except EdgefaceError as exc:
        print(f"end_to_end: {exc}", file=sys.stderr)
        return exc.exit_code
    return 0


def bundle_of(folder: Path, ratio: float) -> Path:
    """A full-width network with random weights, pruned."""
    out = folder / f"ratio-{ratio:g}"
    out.mkdir()
    return random_bundle(out, ratio)


def table(bundles: list[Path], film: Path, photos: Path, rounds: int) -> None:
    """Medians over rounds of each stage's p50 and p99."""
    found: dict[Path, list[dict[str, float]]] = {bundle: [] for bundle in bundles}
    for number in range(rounds):
        for bundle in bundles if number % 2 else bundles[::-1]:
            found[bundle].append(child(bundle, film, photos, 0))
    print("| bundle | " + " | ".join(f"{stage}: p50, p99 ms" for stage in STAGES) + " | pictures/s | peak MB |")
    print("|" + "---|" * (len(STAGES) + 3))
    for bundle, runs in found.items():
        middle = {key: float(np.median([one[key] for one in runs])) for key in runs[0]}
        stages = (f"{middle[f'{stage} p50']:.2f}, {middle[f'{stage} p99']:.2f}" for stage in STAGES)
        print(f"| {bundle.name} | {' | '.join(stages)} | {middle['fps']:.1f} | {middle['peak'] / 1e6:.0f} |")


def child(bundle: Path, film: Path, photos: Path, seconds: float) -> dict[str, float]:
    """`run` in a process of its own."""
    line = [sys.executable, "-m", "benchmarks.end_to_end", str(photos), str(bundle)]
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run(
        [*line, "--film", str(film), "--seconds", str(seconds)], cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise EdgefaceError(done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "a run failed")
    return {key: float(value) for key, value in json.loads(done.stdout.splitlines()[-1]).items()}


def run(bundle: Path, film: Path, photos: Path, seconds: float) -> dict[str, float]:
    """One stream through: milliseconds by stage, pictures a second, memory; what the system says of itself."""
    with (
        tempfile.TemporaryDirectory() as folder,
        Recognizer.from_bundle(bundle, threads=1) as recognizer,
        recognizer.open_gallery(Path(folder) / "g.db", create=True) as gallery,
    ):
        vectors = np.random.default_rng(0).standard_normal((1000, recognizer.bundle.manifest.embedding_size))
        gallery.enroll_batch([f"person {number}" for number in range(len(vectors))], vectors)
        states = []
        source = Looped(film, seconds) if seconds else film
        with Stream(recognizer, source, gallery, EVERY) as stream:
            for number, _ in enumerate(stream):
                if number % 25 == 0:
                    states.append(state())
        summary = stream.summary()
    found = {"fps": summary.fps, "peak": float(summary.peak_memory_bytes), "pictures": float(summary.handled)}
    for stage in STAGES:
        found |= {f"{stage} p50": summary.stages[stage].p50_ms, f"{stage} p99": summary.stages[stage].p99_ms}
    for key in states[0]:
        values = [one[key] for one in states if key in one]
        found |= {f"{key}, lowest": min(values), f"{key}, highest": max(values)}
    return found


def state() -> dict[str, float]:
    """Clock (MHz), temperature (degrees C) and power (W) where the system tells them; empty where it does not."""
    found: dict[str, float] = {}
    for name, pattern, scale in (
        ("MHz", "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq", 1e3),
        ("C", "class/thermal/thermal_zone*/temp", 1e3),
        ("W", "class/hwmon/hwmon*/power1_input", 1e6),
    ):
        values = []
        for path in Path("/sys").glob(pattern):
            try:
                values.append(int(path.read_text()) / scale)
            except (OSError, ValueError):
                continue
        if values:
            found[name] = max(values)
    return found


def tell(bundle: Path, found: dict[str, float]) -> None:
    """A sustained run."""
    known = [key for key in found if key.startswith(("MHz", "C,", "W,"))]
    sensors = ", ".join(f"{key} {found[key]:.0f}" for key in known) or "clocks, temperature and power not told here"
    whole = f"{found['whole p50']:.1f} ms, p99 {found['whole p99']:.1f}"
    print(f"{bundle.name}, sustained: {found['pictures']:.0f} pictures, {found['fps']:.1f}/s, {whole}; {sensors}")


if __name__ == "__main__":
    raise SystemExit(main())
