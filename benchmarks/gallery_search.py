"""Exact top-5 in a large gallery against numpy and faiss on one thread; memory, opening, enrolment rates.

Run: `OMP_NUM_THREADS=1 python benchmarks/gallery_search.py [--templates 200000,1000000] [--embeddings FACES.npy]`.
faiss is timed where `import faiss` works (faiss-cpu, in an environment of its own). The templates are people of
three templates each, drawn with a seed, or real embeddings (N, E) with noise around them. The ways take turns query
by query; medians with quartiles. Half the probes are people of the gallery, half are strangers. A million templates
need 5 GB of disk and 3 GB of memory, most of it for numpy and faiss.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeface_runtime.gallery import Gallery

Floats = npt.NDArray[np.float32]
MODEL = "0" * 64
EACH = 3
"""Templates a person."""
AT_ONCE = 10_000
TOP = 5
LIKENESS = 0.6
"""Cosine of two templates of a person, about."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--templates", default="200000,1000000", help="sizes, separated by commas")
    parser.add_argument("--queries", type=int, default=40)
    parser.add_argument("--embeddings", type=Path, help="real embeddings (N, E) to draw people around")
    parser.add_argument("--folder", type=Path, help="where to make the galleries; default: the temporary folder")
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    parser.add_argument("--open", type=Path, dest="opened", help=argparse.SUPPRESS)
    parser.add_argument("--drop", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.opened:
        print(json.dumps(open_cold(options.opened, options.drop)))
        return 0
    people = np.load(options.embeddings).astype(np.float32) if options.embeddings else None
    rows = []
    for count in map(int, options.templates.split(",")):
        with tempfile.TemporaryDirectory(prefix="edgeface-", dir=options.folder) as folder:
            rows.append(measure(Path(folder) / "gallery.db", count, options.queries, people))
        print(json.dumps(rows[-1], indent=2), flush=True)
    if options.out:
        options.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(path: Path, count: int, queries: int, people: Floats | None) -> dict[str, Any]:
    """All figures of one size; times in ms."""
    flat, matrix = hold(count, 512 if people is None else people.shape[1])
    probes = draw(matrix, queries, people)
    names = [f"person-{row // EACH:07d}" for row in range(count)]
    with Gallery(path, MODEL, matrix.shape[1], create=True) as gallery:
        rates = enrol(gallery, names, matrix)
        started = time.perf_counter()
        gallery.prepare()
        made = time.perf_counter() - started
        return {
            "templates": count,
            "drawn_around": "real embeddings" if people is not None else "random people",
            "enrolled_per_s": rates,
            "index_made_s": round(made, 2),
            **open_apart(path),
            **race(gallery, names, matrix, flat, probes),
            "opened_from_disk_s": open_apart(path, "--drop")["opened_s"],
        }


def hold(count: int, size: int) -> tuple[Any, Floats]:
    """Room for (count, size) templates that numpy and faiss share: faiss's index, None where it is not installed."""
    try:
        import faiss
    except ImportError:
        print("faiss is not installed: not compared", file=sys.stderr)
        return None, np.empty((count, size), np.float32)
    faiss.omp_set_num_threads(1)
    flat = faiss.IndexFlatIP(size)
    for start in range(0, count, AT_ONCE):
        flat.add(np.zeros((min(AT_ONCE, count - start), size), np.float32))
    return flat, faiss.rev_swig_ptr(flat.get_xb(), count * size).reshape(count, size)


def draw(matrix: Floats, queries: int, people: Floats | None) -> Floats:
    """Fill the unit templates (T, E), a person's one after the other; unit probes (queries, E)."""
    rng = np.random.default_rng(0)
    count, size = matrix.shape
    spread = np.float32(np.sqrt((1 / LIKENESS - 1) / size))

    def around(rows: Floats) -> Floats:
        noisy = rows + spread * rng.standard_normal(rows.shape, dtype=np.float32)
        return np.asarray(noisy / np.linalg.norm(noisy, axis=1, keepdims=True), np.float32)

    def centres(number: int) -> Floats:
        if people is None:
            drawn = rng.standard_normal((number, size), dtype=np.float32)
            return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)
        chosen = people[rng.integers(len(people), size=number)]
        return around(np.asarray(chosen / np.linalg.norm(chosen, axis=1, keepdims=True), np.float32))

    for start in range(0, count, EACH * AT_ONCE):
        part = matrix[start : start + EACH * AT_ONCE]
        part[:] = around(np.repeat(centres(-(-len(part) // EACH)), EACH, axis=0)[: len(part)])
    known = around(matrix[rng.integers(count, size=queries // 2)])
    return np.concatenate([known, centres(queries - len(known))])


def enrol(gallery: Gallery, names: list[str], matrix: Floats, alone: int = 300) -> dict[str, int]:
    """Templates a second, durable: a transaction each; 10,000 in batches of 1,000; the rest in batches of 10,000."""
    rates, start = {}, 0
    for what, batch, number in (("alone", 1, alone), ("by_1000", 1000, 10_000), ("by_10000", AT_ONCE, len(names))):
        stop = min(len(names), start + number)
        began = time.perf_counter()
        for first in range(start, stop, batch):
            some = slice(first, min(stop, first + batch))
            gallery.enroll_batch(names[some], matrix[some])
        rates[what] = round((stop - start) / (time.perf_counter() - began)) if stop > start else 0
        start = stop
    return rates


def open_apart(path: Path, *more: str) -> dict[str, Any]:
    """`open_cold` in a process of its own."""
    command = [sys.executable, __file__, "--open", str(path), *more]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def open_cold(path: Path, drop: bool) -> dict[str, Any]:
    """Times and memory of opening a gallery and searching it; `drop` has the system forget its files before."""
    for file in path.parent.iterdir() if drop else ():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
            os.posix_fadvise(stream.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    probes = np.random.default_rng(1).standard_normal((5, 512), dtype=np.float32)
    before = resident()
    started = time.perf_counter()
    with Gallery(path, MODEL) as gallery:
        index = gallery.prepare()
        opened = time.perf_counter() - started
        probes = np.resize(probes, (5, gallery.embedding_size))
        started = time.perf_counter()
        gallery.search(probes[0])
        first = time.perf_counter() - started
        for probe in probes[1:]:
            gallery.search(probe)
        after, peak = resident(), resident("VmHWM")
    return {
        "opened_s": round(opened, 3),
        "first_search_s": round(first, 3),
        "resident_mb": round(after - before),
        "peak_mb": round(peak - before),
        "index": index,
    }


def resident(field: str = "VmRSS") -> float:
    """Memory of this process in MB (10^6 bytes)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024 / 1e6


def race(gallery: Gallery, names: list[str], matrix: Floats, flat: Any, probes: Floats) -> dict[str, Any]:
    """Median and quartiles of a query, the ways taking turns; the same best row is checked for every query."""
    ways: dict[str, Callable[[Floats], str]] = {
        "edgeface": lambda probe: gallery.search(probe, TOP)[0].name,
        "numpy": lambda probe: names[best_rows(matrix, probe)[0]],
    }
    if flat is not None:
        ways["faiss"] = lambda probe: names[int(flat.search(probe[None], TOP)[1][0, 0])]
    times: dict[str, list[float]] = {way: [] for way in ways}
    for way in ways.values():
        way(probes[0])
    orders = list(itertools.permutations(ways))
    different = 0
    for number, probe in enumerate(probes):
        answers = set()
        for way in orders[number % len(orders)]:
            started = time.perf_counter()
            answers.add(ways[way](probe))
            times[way].append(1000 * (time.perf_counter() - started))
        different += len(answers) != 1
    result: dict[str, Any] = {"queries": len(probes), "different_best": different}
    for way, taken in times.items():
        low, median, high = np.percentile(taken, [25, 50, 75])
        result[way] = {"median_ms": round(median, 1), "quartiles_ms": [round(low, 1), round(high, 1)]}
        if way != "edgeface":
            ratios = np.array(taken) / np.array(times["edgeface"])
            low, median, high = np.percentile(ratios, [25, 50, 75])
            result[f"faster_than_{way}"] = {"median": round(median, 2), "quartiles": [round(low, 2), round(high, 2)]}
    return result


def best_rows(matrix: Floats, probe: Floats) -> npt.NDArray[np.intp]:
    """The `TOP` best rows, best first."""
    scores = matrix @ probe
    chosen = np.argpartition(-scores, TOP)[:TOP]
    return np.asarray(chosen[np.argsort(-scores[chosen])])


if __name__ == "__main__":
    if os.environ.get("OMP_NUM_THREADS") != "1":
        print("set OMP_NUM_THREADS=1: numpy takes every core otherwise", file=sys.stderr)
    sys.exit(main())
