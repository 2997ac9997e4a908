"""Whether faces of poor quality are recognised worse: errors against share rejected, and errors by step of a fault.

Run: `python benchmarks/quality.py PHOTOS BUNDLE [--per-person 20] [--seed 0] [--out quality.json]`; PHOTOS has a
folder of photographs a person. The threshold is that of a false match rate of 1e-3 over all pairs as they are.

as they are    pairs of pictures of one person; the poorest by one measure are rejected, a pair by its poorer picture
made poor      the second picture of a pair is made smaller, blurred, darkened ... by steps, found again and compared
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface.data.folders import scan
from edgeface_calibration.thresholds import threshold_at_fmr
from edgeface_runtime.detect import Detector, Face, largest_central
from edgeface_runtime.errors import EdgefaceError, InputError
from edgeface_runtime.image import read_image
from edgeface_runtime.quality import Quality, measure_quality
from edgeface_runtime.recognizer import Recognizer

Pixels = NDArray[np.uint8]
FMR = 1e-3
REJECTED = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
BADNESS: dict[str, Callable[[Quality], float]] = {
    "small": lambda q: -q.eyes_px,
    "blurred": lambda q: q.blur_px,
    "dark": lambda q: -q.brightness,
    "light": lambda q: q.brightness,
    "flat": lambda q: -q.contrast,
    "turned": lambda q: abs(q.yaw_deg),
    "up or down": lambda q: abs(q.pitch_deg),
    "tilted": lambda q: abs(q.roll_deg),
    "unsure": lambda q: -q.detection,
}
"""Name -> how poor a face is by one measure."""


def shrunk(image: Pixels, eyes_px: float, to: float) -> Pixels:
    factor = min(1.0, to / eyes_px)
    return np.asarray(cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA), np.uint8)


def blurred(image: Pixels, eyes_px: float, width: float) -> Pixels:
    """Blurred by `width` pixels of the aligned crop."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), max(width * eyes_px / 35.2, 0.01)), np.uint8)


def exposed(image: Pixels, _: float, factor: float) -> Pixels:
    return np.asarray(np.clip(image * float(factor), 0, 255), np.uint8)


def flattened(image: Pixels, _: float, factor: float) -> Pixels:
    return np.asarray(np.clip(128 + (image - 128.0) * factor, 0, 255), np.uint8)


def cut_off(image: Pixels, eyes_px: float, share: float) -> Pixels:
    """The left part gone: LFW's faces lie in the middle."""
    middle, half = image.shape[1] / 2, 48 * eyes_px / 35.2
    return np.ascontiguousarray(image[:, int(middle - half + 2 * half * share) :])


BINS: dict[str, tuple[float, ...]] = {
    "turned": (0, 10, 20, 25, 30, 35, 40, 90),
    "up or down": (0, 10, 20, 25, 30, 35, 40, 90),
    "unsure": (-1, -0.999, -0.99, -0.97, -0.95, -0.9, -0.7),
}
"""Measures that no picture can be given by hand -> bounds."""
FAULTS: dict[str, tuple[Callable[[Pixels, float, float], Pixels], Sequence[float], str]] = {
    "small": (shrunk, (40, 30, 24, 20, 17, 15, 13, 12, 11, 10, 8), "eyes_px"),
    "blurred": (blurred, (0, 1, 1.5, 1.75, 2, 2.5, 3, 4), "blur_px"),
    "dark": (exposed, (1, 0.5, 0.3, 0.25, 0.2, 0.16, 0.12), "brightness"),
    "light": (exposed, (1, 1.3, 1.6, 1.8, 2, 2.2, 2.5, 3, 4), "brightness"),
    "flat": (flattened, (1, 0.5, 0.4, 0.3, 0.2, 0.12), "contrast"),
    "cut off": (cut_off, (0, 0.1, 0.15, 0.2, 0.25, 0.3), "outside_share"),
}
"""Fault -> how it is made, its steps, and what measures it."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--per-person", type=int, default=20)
    parser.add_argument("--probes", type=int, default=300, help="pictures made poor")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    options = parser.parse_args()
    try:
        found = measure(options.photos, options.bundle, options.per_person, options.probes, options.seed)
    except EdgefaceError as exc:
        print(f"quality: {exc}", file=sys.stderr)
        return exc.exit_code
    if options.out:
        options.out.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


def measure(photos: Path, bundle: Path, per_person: int, probes: int, seed: int) -> dict[str, object]:
    """Both tables, printed and as data."""
    rng = np.random.default_rng(seed)
    folder = scan(photos)
    labels_of = np.array([label for _, label in folder.samples])
    chosen = [
        int(at)
        for label in np.unique(labels_of)
        for at in rng.permutation(np.flatnonzero(labels_of == label))[:per_person]
    ]
    with Recognizer.from_bundle(bundle, threads=1) as recognizer, Detector(min_face=20) as detector:

        def look(image: Pixels) -> tuple[Quality, NDArray[np.float32], Face] | None:
            faces = detector.detect(image)
            if not faces:
                return None
            face = largest_central(faces, image.shape)
            crop, _ = recognizer._cut(image, face)
            return measure_quality(image, face), recognizer.embed(crop[None]).vectors[0], face

        images, labels, seen = [], [], []
        for at in chosen:
            image = read_image(folder.samples[at][0])
            result = look(image)
            if result is not None:
                images.append(image)
                labels.append(labels_of[at])
                seen.append(result)
        if len(seen) < 2:
            raise InputError(f"{photos}: fewer than two faces were found")
        vectors, people = np.stack([vector for _, vector, _ in seen]), np.array(labels)
        first, second = np.triu_indices(len(people), 1)
        scores, genuine = (vectors @ vectors.T)[first, second], (people[:, None] == people[None])[first, second]
        limit = threshold_at_fmr(scores[~genuine], FMR)
        print(f"{len(people)} faces of {len(set(labels))} people, threshold {limit:.4f} at FMR {FMR:g}")
        curves = rejecting(
            [quality for quality, _, _ in seen], first[genuine], second[genuine], scores[genuine] < limit
        )
        bins = by_bins([quality for quality, _, _ in seen], first[genuine], second[genuine], scores[genuine] < limit)
        probes_at = [int(at) for at in rng.permutation(len(people))[:probes]]
        mates = [_other_picture(people, at, rng) for at in probes_at]
        chosen_images, eyes = [images[at] for at in probes_at], [seen[at][0].eyes_px for at in probes_at]
        verdicts: list[tuple[bool, bool]] = []
        steps = {
            fault: by_step(fault, chosen_images, eyes, vectors[mates], look, limit, verdicts) for fault in FAULTS
        }
        poor = np.array([quality.poor for quality, _, _ in seen])
    print(f"called poor as they are: {poor.mean():.2%}")
    judged = {}
    for word, wanted in (("called poor", True), ("not called poor", False)):
        misses = [miss for verdict, miss in verdicts if verdict == wanted]
        judged[word] = {"pictures": len(misses), "fnmr": float(np.mean(misses))}
        print(f"of all pictures made poor, {word}: {len(misses)}, FNMR {judged[word]['fnmr']:.2%}")
    return {
        "faces": len(people),
        "threshold": limit,
        "rejecting": curves,
        "bins": bins,
        "steps": steps,
        "judged": judged,
        "poor": float(poor.mean()),
    }


def _other_picture(people: NDArray[np.int64], at: int, rng: np.random.Generator) -> int:
    """A picture of the same person."""
    return int(rng.choice(np.flatnonzero((people == people[at]) & (np.arange(len(people)) != at))))


def rejecting(
    seen: Sequence[Quality], first: NDArray[np.int64], second: NDArray[np.int64], missed: NDArray[np.bool_]
) -> dict[str, list[float]]:
    """FNMR of what is left when the poorest share of genuine pairs is rejected, by each measure and at random."""
    print("rejected  " + "  ".join(f"{share:>6.0%}" for share in REJECTED))
    curves = {}
    for name, badness in BADNESS.items():
        values = np.array([badness(quality) for quality in seen])
        order = np.argsort(np.maximum(values[first], values[second]), kind="stable")
        curves[name] = [float(missed[order[: round(len(order) * (1 - share))]].mean()) for share in REJECTED]
        print(f"{name:<10}" + "  ".join(f"{rate:>6.2%}" for rate in curves[name]))
    return curves


def by_bins(
    seen: Sequence[Quality], first: NDArray[np.int64], second: NDArray[np.int64], missed: NDArray[np.bool_]
) -> dict[str, list[dict[str, float]]]:
    """FNMR of genuine pairs by the poorer picture's measure."""
    found: dict[str, list[dict[str, float]]] = {}
    for name, bounds in BINS.items():
        values = np.array([BADNESS[name](quality) for quality in seen])
        worse = np.maximum(values[first], values[second])
        for low, high in pairwise(bounds):
            there = (worse >= low) & (worse < high)
            if there.any():
                pictures = len(np.unique([*first[there], *second[there]]))
                row = {"from": low, "to": high, "pairs": int(there.sum()), "fnmr": float(missed[there].mean())}
                found.setdefault(name, []).append({**row, "pictures": pictures})
                print(f"{name:<10} {low:g} to {high:g}: {row['pairs']} pairs, FNMR {row['fnmr']:.2%}")
    return found


def by_step(
    fault: str,
    images: Sequence[Pixels],
    eyes: Sequence[float],
    mates: NDArray[np.float32],
    look: Callable[[Pixels], tuple[Quality, NDArray[np.float32], Face] | None],
    limit: float,
    verdicts: list[tuple[bool, bool]],
) -> list[dict[str, float]]:
    """One fault by steps: what it measures, the share not found, the FNMR of those found, the share called poor."""
    make, steps, name = FAULTS[fault]
    rows = []
    for step in steps:
        results = [look(make(image, px, step)) for image, px in zip(images, eyes, strict=True)]
        kept = [at for at, result in enumerate(results) if result is not None]
        found = [result for result in results if result is not None]
        if not found:
            break
        missed = [bool(result[1] @ mates[at] < limit) for at, result in zip(kept, found, strict=True)]
        row = {
            "step": float(step),
            name: float(np.median([getattr(quality, name) for quality, _, _ in found])),
            "not_found": 1 - len(found) / len(images),
            "fnmr": float(np.mean(missed)),
            "poor": float(np.mean([quality.poor for quality, _, _ in found])),
        }
        verdicts += [(quality.poor, miss) for (quality, _, _), miss in zip(found, missed, strict=True)]
        rows.append(row)
        print(f"{fault:<10}" + "  ".join(f"{key} {value:.3f}" for key, value in row.items()))
    return rows


if __name__ == "__main__":
    sys.exit(main())
