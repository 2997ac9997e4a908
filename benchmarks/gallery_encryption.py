"""What encryption costs a gallery: enrolling, opening, a query, another key; beside a plain one of the same people.

Run: `OMP_NUM_THREADS=1 python benchmarks/gallery_encryption.py [--templates 10000,100000] [--all]`. Templates of 512
numbers, three a person. Seconds by the clock, and of the processor in brackets: on a shared machine the latter
count. `--all` encrypts the plain gallery and decrypts it too. A million templates need 8 GB of disk.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from edgeface_runtime.gallery import Gallery, GalleryKey

MODEL = "0" * 64
SIZE = 512
EACH = 3
AT_ONCE = 10_000
QUERIES = 40


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--templates", default="10000,100000,1000000", help="sizes, separated by commas")
    parser.add_argument("--folder", type=Path, help="where to make the galleries; default: the temporary folder")
    parser.add_argument("--all", action="store_true", help="encrypt the plain gallery, and decrypt it")
    options = parser.parse_args()
    for count in map(int, options.templates.split(",")):
        for key in (None, GalleryKey(os.urandom(32))):
            with tempfile.TemporaryDirectory(prefix="edgeface-", dir=options.folder) as folder:
                print(json.dumps(measure(Path(folder) / "gallery.db", count, key, options.all)), flush=True)
    return 0


def timed(work: Callable[[], object]) -> str:
    """Seconds by the clock (of the processor)."""
    clock, processor = time.perf_counter(), time.process_time()
    work()
    return f"{time.perf_counter() - clock:.3f} ({time.process_time() - processor:.3f})"


def measure(path: Path, count: int, key: GalleryKey | None, convert: bool) -> dict[str, object]:
    """All figures of one gallery."""
    rng = np.random.default_rng(0)
    figures: dict[str, object] = {"templates": count, "encrypted": key is not None}
    with Gallery(path, MODEL, SIZE, create=True, key=key) as gallery:
        rows = rng.standard_normal((AT_ONCE, SIZE), dtype=np.float32)

        def enrol() -> None:
            for start in range(0, count, AT_ONCE):
                names = [f"person-{row // EACH:07d}" for row in range(start, min(count, start + AT_ONCE))]
                gallery.enroll_batch(names, np.roll(rows, start // AT_ONCE, axis=1)[: len(names)])

        figures["enrol_by_10000_s"] = timed(enrol)
        figures["enrol_1000_s"] = timed(
            lambda: gallery.enroll_batch([f"x{k // 3}" for k in range(1000)], rows[:1000])
        )
        figures["enrol_one_s"] = timed(lambda: gallery.enroll("y", rows[0]))
    path.with_name(path.name + ".index").unlink(missing_ok=True)
    with Gallery(path, key=key) as gallery:
        figures["index_made_s"] = timed(gallery.prepare)
        probes = rng.standard_normal((QUERIES, SIZE))
        figures["queries_s"] = timed(lambda: [gallery.search(probe) for probe in probes])
        figures["people_s"] = timed(gallery.people)
        figures["delete_s"] = timed(lambda: gallery.delete("person-0000002"))
        if key is not None:
            figures["rekey_s"] = timed(lambda: gallery.rekey(GalleryKey(os.urandom(32))))
        elif convert:
            figures["encrypt_s"] = timed(lambda: gallery.rekey(GalleryKey(os.urandom(32))))
            figures["decrypt_s"] = timed(lambda: gallery.rekey(None))
    return figures


if __name__ == "__main__":
    raise SystemExit(main())
