"""Closed-set identification: the first picture of every person is the gallery, the others are probes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgeface.data.folders import scan
from edgeface.evaluation.embed_paths import Occlusion, embed_paths
from edgeface.evaluation.embedder import Embedder
from edgeface_calibration.metrics import rank_k
from edgeface_runtime.errors import InputError

__all__ = ["IdentifyResult", "evaluate_identify"]


@dataclass(frozen=True)
class IdentifyResult:
    """One network on one set of people."""

    protocol: str
    rank1: float
    """Share of probes whose person is nearest, 0..1."""
    rank5: float
    people: int
    """People in the gallery, those with one picture only as well."""
    probes: int
    occlusion: str
    seed: int
    ran_on: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def record(self) -> dict[str, Any]:
        """The short form a checkpoint or a manifest carries; its accuracy is rank-1."""
        return {
            "protocol": self.protocol,
            "accuracy": round(self.rank1, 6),
            "rank5": round(self.rank5, 6),
            "people": self.people,
            "probes": self.probes,
            "seed": self.seed,
        }


def evaluate_identify(
    embedder: Embedder,
    images: Path,
    *,
    occlusion: Occlusion | None = None,
    name: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> IdentifyResult:
    """Judge `embedder` on the identity folders of `images` (aligned crops); `occlusion` covers the probes.

    Raises:
        InputError: nobody has two pictures.
    """
    folder = scan(images)
    gallery: dict[int, Path] = {}
    probes: list[tuple[Path, int]] = []
    for path, label in folder.samples:
        if label in gallery:
            probes.append((path, label))
        else:
            gallery[label] = path
    if not probes:
        raise InputError(f"{images}: nobody has two pictures, so there is no probe to identify")
    total = len(gallery) + len(probes)
    enrolled = embed_paths(embedder, list(gallery.values()), images, progress=lambda done, _: progress(done, total))
    paths = [path for path, _ in probes]
    found = embed_paths(
        embedder, paths, images, view=occlusion, progress=lambda done, _: progress(len(gallery) + done, total)
    )
    scores, truth, people = found @ enrolled.T, [label for _, label in probes], list(gallery)
    words = f"{name or images.resolve().name} rank-1"
    return IdentifyResult(
        protocol=words if occlusion is None else f"{words} {occlusion.label}",
        rank1=rank_k(scores, truth, people, 1),
        rank5=rank_k(scores, truth, people, min(5, len(people))),
        people=len(people),
        probes=len(probes),
        occlusion=occlusion.label if occlusion else "none",
        seed=occlusion.seed if occlusion else 0,
        ran_on=embedder.describe,
    )
