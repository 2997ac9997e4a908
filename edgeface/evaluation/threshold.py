"""Thresholds for false match rates, and for false alarms in an open set, from identity folders.

One to one   all pairs of different people; FNMR over all pairs of one person
one to many  galleries of half of the people, drawn at random; the others' pictures are strangers (see `open_set`)

In a covered condition the template is clean and the probe covered. A rate that would be seen less than 30 times is
refused, and so is a gallery larger than the people can give.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeface.data.folders import scan
from edgeface.evaluation.embedder import Embedder
from edgeface.evaluation.matching import Encoded, Matcher, PlainMatcher, no_progress
from edgeface.evaluation.occlusion import Occlusion
from edgeface.evaluation.pictures import Pictures
from edgeface.evaluation.threshold_result import ConditionResult, OneToMany, OneToOne, ThresholdResult
from edgeface_calibration.metrics import Interval
from edgeface_calibration.open_set import Draw, alarms, draw_galleries, open_scores, too_few_strangers
from edgeface_calibration.rate_interval import false_alarm_interval, false_match_interval, share_interval
from edgeface_calibration.thresholds import (
    MIN_FALSE_MATCHES,
    check_rate,
    lowest_threshold,
    threshold_at_fmr,
    too_few,
)
from edgeface_runtime.decision import CLEAN
from edgeface_runtime.errors import ImageError, InputError

__all__ = ["calibrate_threshold"]

Floats = NDArray[np.float64]
LOOKED_AT = 500
"""Faces of each condition whose covered share is looked at."""
CLEAN_BELOW = 0.99
"""Share of clean faces that lie below the covered share from which a face counts as covered."""
MUST_SEE = 0.9
"""Share of the faces of every covered condition that must lie above it; else the share tells nothing."""
DET_POINTS = 30


def calibrate_threshold(
    system: Matcher | Embedder,
    images: Path,
    rates: Sequence[float],
    *,
    limit: int = 2000,
    seed: int = 0,
    occlusion: Occlusion | None = None,
    conditions: Sequence[Occlusion | None] | None = None,
    fpir: Sequence[float] = (),
    gallery_size: int | None = None,
    draws: int = 5,
    progress: Callable[[int, int], None] = no_progress,
) -> ThresholdResult:
    """Measure thresholds on the identity folders of `images` (crops of the network's size).

    Args:
        rates: false match rates in (0, 1).
        limit: at most this many faces, drawn at random with `seed`.
        occlusion: covers the probe of every pair; None leaves it clean.
        conditions: several such, measured one after the other; None: that one.
        fpir: false positive identification rates in (0, 1).
        gallery_size: people enrolled; None: half of them.
        draws: galleries drawn.

    Raises:
        InputError: a rate that these faces cannot carry, a gallery too large, or a folder without two people.
        ImageError: a picture cannot be read.
    """
    if limit < 2 or seed < 0:
        raise InputError(f"--faces must be at least 2 and --seed at least 0, got {limit} and {seed}")
    if draws < 1:
        raise InputError(f"--draws must be at least 1, got {draws}")
    for rate in (*rates, *fpir):
        check_rate(rate)
    views = (occlusion,) if conditions is None else tuple(conditions)
    names = [_name(view) for view in views]
    if len(set(names)) < len(names) or not names:
        raise InputError(f"--conditions names none, or one twice: {', '.join(names) or 'none'}")
    matcher = PlainMatcher(system) if isinstance(system, Embedder) else system
    folder = scan(images)
    samples = folder.samples
    chosen = sorted(np.random.default_rng(seed).permutation(len(samples))[:limit])
    paths = [samples[index][0] for index in chosen]
    labels = np.array([samples[index][1] for index in chosen])
    probe, template = np.tril_indices(len(paths), -1)
    same = labels[probe] == labels[template]
    impostors = int((~same).sum())
    drawn = draw_galleries(labels, gallery_size, draws, seed) if fpir else []
    unsupported = [too_few(impostors, rate) for rate in rates] + [too_few_strangers(drawn, rate) for rate in fpir]
    for reason in filter(None, unsupported):
        raise InputError(reason)  # before the work
    steps = _Steps(progress, len(paths) * sum(view is not None or bool(matcher.label) for view in views) + len(paths))
    with Pictures(images, matcher.size, matcher.template) as pictures:
        gallery = _encode(matcher, pictures, paths, None, False, steps)
        found: list[ConditionResult] = []
        shares: dict[str, Floats | None] = {}
        tell = CLEAN in names and len(names) > 1
        for name, view in zip(names, views, strict=True):
            plain = view is None and not matcher.label
            probes = gallery if plain else _encode(matcher, pictures, paths, view, True, steps)
            shares[name] = _shares(matcher, pictures, paths, view, probes, seed) if tell else None
            table = np.empty((len(paths), len(paths)), np.float32)
            for rows, scores in matcher.probe_scores(gallery, probes):
                table[rows] = scores
            pairs = _Pairs(table[probe, template].astype(np.float64), same, probe, template, labels)
            found.append(
                ConditionResult(
                    name=name,
                    occlusion="none" if view is None else view.label,
                    fmr={f"{rate:g}": _one_to_one(pairs, rate, seed) for rate in rates},
                    fpir=_one_to_many(table, labels, drawn, fpir, seed),
                    det=_det(pairs),
                    seen_covered=None,
                )
            )
    above, seen = _telling(shares, bool(matcher.label))
    return ThresholdResult(
        conditions=tuple(replace(result, seen_covered=seen.get(result.name)) for result in found),
        people=len(np.unique(labels)),
        faces=len(paths),
        impostor_pairs=impostors,
        genuine_pairs=int(same.sum()),
        gallery_size=len(drawn[0].gallery) if drawn else None,
        draws=len(drawn),
        stranger_probes=min((len(draw.strangers) for draw in drawn), default=0),
        mate_probes=min((len(draw.mates) for draw in drawn), default=0),
        covered_above=above,
        by_regions=bool(matcher.label),
        data=images.resolve().name,
        seed=seed,
        ran_on=matcher.describe(),
        skipped=tuple(f"{entry.path}: {entry.reason}" for entry in folder.skipped),
    )


class _Pairs:
    """Every pair of pictures once."""

    def __init__(
        self,
        scores: Floats,
        same: NDArray[np.bool_],
        probe: NDArray[np.int64],
        template: NDArray[np.int64],
        labels: NDArray[np.int64],
    ) -> None:
        self.genuine, self.genuine_people = scores[same], labels[probe[same]]
        self.impostors = scores[~same]
        self.impostor_rows = np.flatnonzero(~same)
        self.probe, self.template, self.labels = probe, template, labels

    def false_matches(self, threshold: float) -> NDArray[np.int64]:
        """(k, 2) pictures that match falsely."""
        rows = self.impostor_rows[self.impostors >= threshold]
        return np.stack([self.probe[rows], self.template[rows]], 1)


class _Steps:
    """Progress over several passes."""

    def __init__(self, progress: Callable[[int, int], None], total: int) -> None:
        self._progress, self._total, self._before, self._last = progress, total, 0, 0

    def __call__(self, done: int, total: int) -> None:
        self._last = done
        self._progress(min(self._before + done, self._total), self._total)

    def next(self) -> None:
        self._before, self._last = self._before + self._last, 0


def _name(view: Occlusion | None) -> str:
    return CLEAN if view is None else view.kind


def _encode(
    matcher: Matcher, pictures: Pictures, paths: Sequence[Path], view: Occlusion | None, probe: bool, steps: _Steps
) -> Encoded:
    encoded = matcher.encode(pictures, paths, view, probe=probe, progress=steps)
    steps.next()
    if encoded.failed:
        raise ImageError(next(iter(encoded.failed.values())))
    return encoded


def _one_to_one(pairs: _Pairs, rate: float, seed: int) -> OneToOne:
    threshold = threshold_at_fmr(pairs.impostors, rate)
    return OneToOne(
        threshold,
        false_match_interval(pairs.false_matches(threshold), pairs.labels, seed=seed),
        _missed(pairs.genuine < threshold, pairs.genuine_people, seed),
    )


def _one_to_many(
    table: NDArray[np.float32], labels: NDArray[np.int64], draws: Sequence[Draw], rates: Sequence[float], seed: int
) -> dict[str, OneToMany]:
    if not draws:
        return {}
    scores = open_scores(table, labels, draws)
    found = {}
    for rate in rates:
        threshold = lowest_threshold(scores.stranger_best, rate)
        raised = alarms(table, labels, draws, threshold)
        found[f"{rate:g}"] = OneToMany(
            threshold,
            false_alarm_interval(*raised, scores.stranger_people, seed=seed),
            _missed(scores.mate_own < threshold, scores.mate_people, seed),
        )
    return found


def _missed(missed: NDArray[np.bool_], people: NDArray[np.int64], seed: int) -> Interval | None:
    """The share missed; of one person alone nothing is known of others, so the interval is all of 0..1."""
    if not len(missed):
        return None
    if len(np.unique(people)) < 2:
        return Interval(float(missed.mean()), 0.0, 1.0, 0.95, 0, 0)
    return share_interval(missed, people, seed=seed)


def _det(pairs: _Pairs) -> tuple[tuple[float, float], ...]:
    """The DET curve as far as the pairs carry it."""
    smallest = MIN_FALSE_MATCHES / len(pairs.impostors)
    if not len(pairs.genuine) or smallest >= 0.1:
        return ()
    falling = np.sort(pairs.impostors)[::-1]
    points = []
    for rate in np.geomspace(smallest, 0.1, DET_POINTS):
        threshold = falling[min(int(rate * len(falling)), len(falling) - 1)]
        points.append((float(np.mean(falling > threshold)), float(np.mean(pairs.genuine <= threshold))))
    return tuple(points)


def _shares(
    matcher: Matcher,
    pictures: Pictures,
    paths: Sequence[Path],
    view: Occlusion | None,
    probes: Encoded,
    seed: int,
) -> Floats | None:
    """Covered shares of some faces; 1 and 0 where a dictionary decides by itself; None where nothing looks."""
    if matcher.label:
        return np.array([any(regions) for regions in probes.covered], np.float64)
    look = matcher.shares if isinstance(matcher, PlainMatcher) else None
    if look is None:
        return None
    some = np.random.default_rng(seed).permutation(len(paths))[:LOOKED_AT]
    failed: dict[Path, str] = {}
    batches = pictures.batches([paths[at] for at in some], view, failed, no_progress)
    looked = [look(np.stack([shot.crop for shot in batch])) for batch in batches]
    return np.concatenate(looked).astype(np.float64)


def _telling(shares: dict[str, Floats | None], by_regions: bool) -> tuple[float | None, dict[str, float]]:
    """The share above which a face counts as covered, None where it tells nothing; and who would count as such."""
    known = {name: values for name, values in shares.items() if values is not None}
    if by_regions:
        return None, {name: float(np.mean(values > 0)) for name, values in known.items()}
    if CLEAN not in known or len(known) < 2:
        return None, {}
    above = float(np.quantile(known[CLEAN], CLEAN_BELOW))
    seen = {name: float(np.mean(values > above)) for name, values in known.items()}
    tells = all(share >= MUST_SEE for name, share in seen.items() if name != CLEAN)
    return (above if tells else None), seen
