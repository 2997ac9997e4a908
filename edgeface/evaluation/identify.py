"""Closed-set identification: every probe against all gallery pictures, by people; rank-1, rank-5 and the CMC curve.

Rank-1 is the nearest neighbour over all gallery pictures (Johnston & Ngxande 2022, Table 1); rank-5 counts people.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgeface.evaluation.embedder import Embedder
from edgeface.evaluation.gallery_split import GallerySplit, first_pictures
from edgeface.evaluation.matching import Matcher, PlainMatcher, Progress, no_progress
from edgeface.evaluation.occlusion import Occlusion
from edgeface.evaluation.pictures import Pictures
from edgeface.evaluation.scores import IdentifyScores
from edgeface_calibration.metrics import Interval, curve_of, grouped_mean, identity_interval, ranks
from edgeface_runtime.errors import InputError

__all__ = ["IdentifyResult", "evaluate_identify"]

CMC_RANKS = 50
"""Of the curve, so many ranks are reported."""


@dataclass(frozen=True)
class IdentifyResult:
    """One network on one set of people."""

    protocol: str
    rank1: float
    """Share of probes whose person is nearest, 0..1."""
    rank1_interval: Interval
    """95 %, people resampled."""
    rank5: float
    rank5_interval: Interval
    cmc: tuple[float, ...]
    """Share of probes found within rank 1, 2, ..., at most 50."""
    people: int
    """People in the gallery, those without a probe as well."""
    gallery_pictures: int
    probes: int
    missing: tuple[str, ...]
    """Pictures a split file asks for that are not there."""
    strangers: int
    """Probes left out because nobody of their name is in the gallery."""
    unusable: int
    """Pictures left out because their first bytes are no picture's."""
    failures: dict[str, str]
    """Those, and pictures that cannot be decoded or show no face, with the reason."""
    occlusion: str
    masking: str
    """The kind of a mask dictionary, empty without one."""
    seed: int
    ran_on: dict[str, Any]
    scores: IdentifyScores = field(repr=False, compare=False)
    """Of every probe; not in `to_dict`."""

    def to_dict(self) -> dict[str, Any]:
        data = {name: value for name, value in self.__dict__.items() if name != "scores"}
        intervals = {name: asdict(data[name]) for name in ("rank1_interval", "rank5_interval")}
        return {**data, **intervals}

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
    system: Matcher | Embedder,
    images: Path | GallerySplit,
    *,
    occlusion: Occlusion | None = None,
    name: str | None = None,
    align: bool = False,
    progress: Progress = no_progress,
) -> IdentifyResult:
    """Judge a system; `occlusion` covers the probes.

    Args:
        images: identity folders, whose first pictures are the gallery; or which pictures are gallery and probes.
        name: of the set, for the report; default: the probes' folder.
        align: find and align the largest central face of every picture; else they are crops of the network's size.

    Raises:
        InputError: nobody has two pictures, nobody of the probes is in the gallery, or pictures that are no crops.
    """
    matcher = PlainMatcher(system) if isinstance(system, Embedder) else system
    split = images if isinstance(images, GallerySplit) else first_pictures(images)
    known = {person for _, person in split.gallery}
    total = len(split.gallery) + sum(person in known for _, person in split.probes)
    with Pictures(split.gallery_root, matcher.size, matcher.template, detect=align) as pictures:
        paths = [path for path, _ in split.gallery]
        gallery = matcher.encode(pictures, paths, progress=lambda done, _: progress(done, total))
        failures = {pictures.name(path): reason for path, reason in gallery.failed.items()}
    person_of = dict((*split.gallery, *split.probes))
    enrolled = [person_of[path] for path in gallery.paths]
    known = set(enrolled)
    asked = [path for path, person in split.probes if person in known]
    if not asked:
        raise InputError(f"nobody of the {len(split.probes)} probes is in the gallery")
    with Pictures(split.probe_root, matcher.size, matcher.template, detect=align) as pictures:
        probes = matcher.encode(
            pictures,
            asked,
            occlusion,
            probe=True,
            progress=lambda done, _: progress(min(len(split.gallery) + done, total), total),
        )
        failures |= {pictures.name(path): reason for path, reason in probes.failed.items()}
        names = np.array([pictures.name(path) for path in probes.paths])
    truth = [person_of[path] for path in probes.paths]
    found = np.zeros(len(truth), np.int64)
    for rows, scores in matcher.probe_scores(gallery, probes):
        found[rows] = ranks(scores, [truth[row] for row in rows], enrolled)
    words = f"{name or split.probe_root.resolve().name} rank-1"
    words = words if occlusion is None else f"{words} {occlusion.label}"
    kept = IdentifyScores(
        words + (f" by {matcher.label}" if matcher.label else ""), names, np.array(truth), found, len(known)
    )
    curve = curve_of(found, len(known))
    return IdentifyResult(
        protocol=kept.label,
        rank1=float(curve[0]),
        rank1_interval=_interval(kept, 1),
        rank5=float(curve[min(5, len(curve)) - 1]),
        rank5_interval=_interval(kept, 5),
        cmc=tuple(round(float(value), 6) for value in curve[:CMC_RANKS]),
        people=len(known),
        gallery_pictures=len(enrolled),
        probes=len(truth),
        missing=split.missing,
        strangers=len(split.probes) - len(asked),
        unusable=len(split.unusable),
        failures={**split.unusable, **failures},
        occlusion=occlusion.label if occlusion else "none",
        masking=matcher.label,
        seed=occlusion.seed if occlusion else 0,
        ran_on=matcher.describe(),
        scores=kept,
    )


def _interval(kept: IdentifyScores, k: int) -> Interval:
    """Of rank-k; with one person's probes only, people cannot be resampled and it is no wider than the value."""
    hits = (kept.ranks <= k).astype(float)
    if len(np.unique(kept.identities)) < 2:
        return Interval(float(hits.mean()), float(hits.mean()), float(hits.mean()), 0.95, 0, 0)
    return identity_interval(grouped_mean(hits, np.zeros(len(hits))), np.stack([kept.identities] * 2, 1))
