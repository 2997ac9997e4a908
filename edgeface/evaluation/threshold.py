"""The threshold for a false match rate, from all pairs of different people in a folder, kept in the bundle."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgeface.data.folders import scan
from edgeface.evaluation.embed_paths import Occlusion, embed_paths
from edgeface.evaluation.embedder import Embedder
from edgeface_calibration.thresholds import check_rate, threshold_at_fmr, too_few
from edgeface_runtime.bundle import open_bundle, write_manifest
from edgeface_runtime.errors import InputError

__all__ = ["ThresholdResult", "calibrate_threshold", "check_storable", "store_thresholds"]


@dataclass(frozen=True)
class ThresholdResult:
    """What was measured."""

    thresholds: dict[str, float]
    """False match rate as text -> cosine."""
    genuine_accepted: dict[str, float | None]
    """Share of genuine pairs accepted at each; None where nobody has two pictures."""
    people: int
    faces: int
    impostor_pairs: int
    """All pairs of different people. They share faces, so they are fewer independent facts than their number."""
    genuine_pairs: int
    occlusion: str
    data: str
    ran_on: dict[str, Any]
    """What really ran."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def provenance(self, rate: str) -> dict[str, Any]:
        """What a manifest keeps beside the threshold of a rate: where the number comes from."""
        return {
            "data": self.data,
            "people": self.people,
            "faces": self.faces,
            "impostor_pairs": self.impostor_pairs,
            "occlusion": self.occlusion,
            "genuine_accepted": self.genuine_accepted[rate],
        }


def calibrate_threshold(
    embedder: Embedder,
    images: Path,
    rates: Sequence[float],
    *,
    limit: int = 2000,
    seed: int = 0,
    occlusion: Occlusion | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ThresholdResult:
    """Measure thresholds on the identity folders of `images` (aligned crops).

    Args:
        rates: false match rates in (0, 1).
        limit: at most this many faces, drawn at random with `seed`.
        occlusion: covers one picture of every pair; None leaves both clean.

    Raises:
        InputError: a rate that these faces cannot carry, or a folder without two people.
    """
    if limit < 2 or seed < 0:
        raise InputError(f"--faces must be at least 2 and --seed at least 0, got {limit} and {seed}")
    for rate in rates:
        check_rate(rate)
    samples = scan(images).samples
    chosen = sorted(np.random.default_rng(seed).permutation(len(samples))[:limit])
    paths = [samples[index][0] for index in chosen]
    labels = np.array([samples[index][1] for index in chosen])
    upper = np.triu_indices(len(paths), 1)
    same = (labels[:, None] == labels[None, :])[upper]
    for reason in filter(None, (too_few(int((~same).sum()), rate) for rate in rates)):
        raise InputError(reason)  # before the work
    vectors = embed_paths(embedder, paths, images, progress=progress)
    others = vectors if occlusion is None else embed_paths(embedder, paths, images, view=occlusion, progress=progress)
    scores = (vectors @ others.T)[upper]
    found = {f"{rate:g}": threshold_at_fmr(scores[~same], rate) for rate in rates}
    return ThresholdResult(
        thresholds=found,
        genuine_accepted={
            rate: float(np.mean(scores[same] >= value)) if same.any() else None for rate, value in found.items()
        },
        people=len(np.unique(labels)),
        faces=len(paths),
        impostor_pairs=int((~same).sum()),
        genuine_pairs=int(same.sum()),
        occlusion=occlusion.label if occlusion else "none",
        data=images.resolve().name,
        ran_on=embedder.describe,
    )


def check_storable(bundle: Path) -> None:
    """Say before the work whether thresholds can be kept.

    Raises:
        InputError: the bundle is a .tar, which is not written to, or a checkpoint.
    """
    if bundle.suffix in (".tar", ".safetensors"):
        raise InputError(f"{bundle}: only a bundle folder can take thresholds: make one with edgeface export")


def store_thresholds(bundle: Path, result: ThresholdResult) -> dict[str, float]:
    """Write the thresholds into the bundle's manifest, beside those of other rates; returns those they replace.

    Raises:
        InputError: the bundle is a .tar, which is not written to.
    """
    check_storable(bundle)
    manifest = open_bundle(bundle).manifest
    kept = manifest.extra.get("calibration")
    calibration = {
        **(kept if isinstance(kept, dict) else {}),
        **{rate: result.provenance(rate) for rate in result.thresholds},
    }
    write_manifest(
        bundle,
        replace(
            manifest,
            thresholds={**manifest.thresholds, **result.thresholds},
            extra={**manifest.extra, "calibration": calibration},
        ),
    )
    return {rate: manifest.thresholds[rate] for rate in result.thresholds if rate in manifest.thresholds}
