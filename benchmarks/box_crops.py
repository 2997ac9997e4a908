"""What DeepStream's box crops cost: one network on aligned faces and on boxes cut as nvinfer cuts them.

Run: `python benchmarks/box_crops.py PHOTOS BUNDLE [--pairs 6000]`; PHOTOS has a folder a person, pictures named as
LFW's (`Name/Name_0001.jpg`). Pairs are drawn with a seed in ten folds of different people; the threshold of a fold
comes from the others. MTCNN finds the faces of all crops; intervals are over people.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface.evaluation import compare, evaluate_pairs, open_embedder
from edgeface_calibration.nvinfer_crop import nvinfer_crop
from edgeface_runtime.align import align
from edgeface_runtime.bundle import open_bundle
from edgeface_runtime.detect import Detector, Face, largest_central
from edgeface_runtime.errors import EdgefaceError, FaceError, InputError
from edgeface_runtime.image import read_image

Cut = Callable[[NDArray[np.uint8], Face], NDArray[np.uint8]]
FOLDS = 10
MARGINS = (-0.1, 0.1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--pairs", type=int, default=6000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    options = parser.parse_args()
    try:
        rows = measure(options.photos, options.bundle, options.pairs, options.seed)
    except EdgefaceError as exc:
        print(f"box_crops: {exc}", file=sys.stderr)
        return exc.exit_code
    if options.out:
        options.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(photos: Path, bundle: Path, pairs: int, seed: int) -> list[dict[str, object]]:
    """Print a line a way of cutting, the first of which the others are compared with."""
    chosen = draw_pairs(photos, pairs // (2 * FOLDS), seed)
    manifest = open_bundle(bundle).manifest
    if manifest.crop != "aligned":
        raise InputError(f"{bundle} takes box crops already: give one that takes aligned faces")
    size = (manifest.input.height, manifest.input.width)
    ways: dict[str, Cut] = {
        "aligned": lambda image, face: align(image, face.landmarks, size, manifest.template),
        "box": lambda image, face: nvinfer_crop(image, face.box, size),
        "box, aspect kept": lambda image, face: nvinfer_crop(image, face.box, size, keep_aspect=True),
        **{f"box, margin {margin:+.0%}": partial(_with_margin, size, margin) for margin in MARGINS},
        "box, aspect, +10%": lambda image, face: nvinfer_crop(image, face.box, size, margin=0.1, keep_aspect=True),
    }
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="edgeface-") as folder, open_embedder(bundle, threads=1) as embedder:
        root = Path(folder)
        cut_all(photos, chosen, ways, root)
        first = None
        for way in ways:
            result = evaluate_pairs(embedder, root / way, root / "pairs.txt", name=way)
            first = first or result
            drop = compare(result.scores, first.scores)
            rows.append({"way": way, **result.to_dict(), "against_aligned": drop.to_dict()})
            low, high = (100 * edge for edge in (result.interval.low, result.interval.high))
            tar = ", ".join(f"{entry.fmr:g}: {_percent(entry.tar)}" for entry in result.tar)
            print(f"{way:<18} {result.pairs} pairs, accuracy {100 * result.accuracy:.2f} % [{low:.2f}, {high:.2f}]")
            print(f"{'':<18} AUC {result.auc:.4f}, TAR at {tar}")
            for name, gap in drop.differences.items():
                print(
                    f"{'':<18} {name}: {100 * gap.value:+.2f} [{100 * gap.low:+.2f}, {100 * gap.high:+.2f}]",
                    flush=True,
                )
    return rows


def draw_pairs(photos: Path, each: int, seed: int) -> list[list[tuple[str, int, str, int]]]:
    """A list a fold: `each` pairs of one person, then `each` of two, as (name, number, name, number)."""
    people = {
        entry.name: sorted(int(path.stem.rsplit("_", 1)[1]) for path in entry.glob(f"{entry.name}_*.jpg"))
        for entry in sorted(photos.iterdir())
        if entry.is_dir()
    }
    names = [name for name, numbers in people.items() if len(numbers) > 1]
    if len(names) < 2 * FOLDS:
        raise InputError(f"{photos} has {len(names)} people with two pictures or more: {2 * FOLDS} are needed")
    rng = np.random.default_rng(seed)
    folds = []
    for part in np.array_split(rng.permutation(names), FOLDS):
        pairs: dict[tuple[str, int, str, int], None] = {}
        for genuine in (True, False):
            wanted = len(pairs) + each
            for _ in range(1000 * each):
                one, other = (str(name) for name in rng.choice(part, 2, replace=False))
                if genuine:
                    a, b = sorted(int(number) for number in rng.choice(people[one], 2, replace=False))
                    pairs.setdefault((one, a, one, b))
                else:
                    pairs.setdefault((one, int(rng.choice(people[one])), other, int(rng.choice(people[other]))))
                if len(pairs) == wanted:
                    break
        folds.append(list(pairs))
    return folds


def cut_all(photos: Path, folds: list[list[tuple[str, int, str, int]]], ways: dict[str, Cut], root: Path) -> None:
    """Write the crops of every picture in a pair, a folder a way, and the pairs."""
    pictures = sorted({side for fold in folds for a, i, b, j in fold for side in ((a, i), (b, j))})
    lost = 0
    with Detector() as detector:
        for name, number in pictures:
            file = Path(name) / f"{name}_{number:04d}.jpg"
            image = read_image(photos / file)
            faces = detector.detect(image)
            try:
                if not faces:
                    raise FaceError("no face")
                crops = {way: cut(image, largest_central(faces, image.shape)) for way, cut in ways.items()}
            except FaceError:
                lost += 1
                continue
            for way, crop in crops.items():
                target = root / way / file.with_suffix(".png")
                target.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(target), crop)
    print(f"{len(pictures)} pictures, {lost} without a face", flush=True)
    lines = [f"{FOLDS}\t{len(folds[0]) // 2}"]
    for fold in folds:
        lines += [f"{a}\t{i}\t{j}" if a == b else f"{a}\t{i}\t{b}\t{j}" for a, i, b, j in fold]
    (root / "pairs.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _percent(share: float | None) -> str:
    return "too few pairs" if share is None else f"{100 * share:.2f} %"


def _with_margin(size: tuple[int, int], margin: float, image: NDArray[np.uint8], face: Face) -> NDArray[np.uint8]:
    return nvinfer_crop(image, face.box, size, margin=margin)


if __name__ == "__main__":
    sys.exit(main())
