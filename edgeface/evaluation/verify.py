"""Verification on pairs as LFW does it: ten folds, the threshold from nine, only a pair's second picture occluded.

The protocols of Liu et al. 2023, Table 2 and 3: LFW, Occ-LFW (40 % of the area covered at random), Mask-LFW. Any set
in LFW's pairs format over identity folders can be judged.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeface.evaluation.embedder import Embedder
from edgeface.evaluation.matching import Encoded, Matcher, PlainMatcher, Progress, no_progress
from edgeface.evaluation.occlusion import Occlusion
from edgeface.evaluation.pictures import Pictures
from edgeface.evaluation.scores import VerifyScores
from edgeface_calibration.metrics import (
    Interval,
    TarAtFmr,
    auc,
    eer,
    grouped_mean,
    identity_interval,
    tar_at_fmr,
    tar_unchecked,
    ten_fold,
)
from edgeface_calibration.pairs import Pair, read_pairs
from edgeface_runtime.errors import InputError

__all__ = ["VerifyResult", "evaluate_pairs", "parse_folds"]

RATES = (1e-1, 1e-2, 1e-3)
MAX_FOLD = 10_000
"""No list of pairs has as many folds; a range is not counted out beyond it."""
RESAMPLES = 1000


@dataclass(frozen=True)
class VerifyResult:
    """One network on one list of pairs."""

    protocol: str
    """Set, folds, occlusion and masking in words: `lfw`, `lfw random .4`, `lfw mask, folds 6-10`, `lfw by lm2`."""
    accuracy: float
    """Mean over folds, 0..1."""
    std: float
    """Standard deviation over folds."""
    interval: Interval
    """95 % of the accuracy, people resampled, each fold's threshold as it is."""
    auc: float
    auc_interval: Interval | None
    """None where the pairs are too few to resample their people."""
    eer: float
    tar: tuple[TarAtFmr, ...]
    """True accept rates; a rate the impostor pairs cannot carry has a reason instead."""
    tar_intervals: tuple[Interval | None, ...]
    """Theirs, the threshold chosen in every draw; None where there is no rate."""
    threshold: float
    """Median of the folds' thresholds, cosine."""
    fold_accuracies: tuple[float, ...]
    fold_thresholds: tuple[float, ...]
    pairs: int
    missing: int
    """Pairs left out because a picture is missing."""
    missing_first: tuple[str, ...]
    """The first few missing pictures of the whole list."""
    left_out: int
    """Pairs left out because a picture cannot be read or shows no face."""
    failures: dict[str, str]
    """Those pictures, with the reason."""
    fold_notes: tuple[str, ...]
    """Folds left without genuine or without impostor pairs, one line each: their accuracy is of one kind only."""
    occlusion: str
    masking: str
    """The kind of a mask dictionary, empty without one."""
    seed: int
    ran_on: dict[str, Any]
    scores: VerifyScores = field(repr=False, compare=False)
    """Of every pair; not in `to_dict`."""

    def to_dict(self) -> dict[str, Any]:
        data = {name: value for name, value in self.__dict__.items() if name != "scores"}
        return {
            **data,
            "interval": asdict(self.interval),
            "auc_interval": self.auc_interval and asdict(self.auc_interval),
            "tar": [asdict(entry) for entry in self.tar],
            "tar_intervals": [entry and asdict(entry) for entry in self.tar_intervals],
        }

    def record(self) -> dict[str, Any]:
        """The short form a checkpoint or a manifest carries."""
        return {
            "protocol": self.protocol,
            "accuracy": round(self.accuracy, 6),
            "std": round(self.std, 6),
            "pairs": self.pairs,
            "threshold": round(self.threshold, 6),
            "seed": self.seed,
        }


def evaluate_pairs(
    system: Matcher | Embedder,
    images: Path,
    pairs_file: Path,
    *,
    occlusion: Occlusion | None = None,
    folds: Sequence[int] | None = None,
    name: str | None = None,
    align: bool = False,
    progress: Progress = no_progress,
) -> VerifyResult:
    """Judge a system on the pairs of `pairs_file` over the identity folders of `images`.

    Args:
        images: identity folders of crops of the network's size, or of photographs to `align`.
        pairs_file: LFW's format.
        occlusion: covers the second picture of every pair; None leaves both clean.
        folds: numbers of the folds to use, from 1; None: all.
        name: of the set, for the report; default: the pairs file's folder.
        align: find and align the largest central face of every picture.

    Raises:
        InputError: no usable pair, fewer than two folds, or pictures that are no crops.
    """
    matcher = PlainMatcher(system) if isinstance(system, Embedder) else system
    usable, report = read_pairs(pairs_file, images)
    wanted = set(range(1, report.folds + 1)) if folds is None else set(folds)
    if max(wanted) > report.folds:
        raise InputError(f"--folds asks for fold {max(wanted)}, {pairs_file} has {report.folds}")
    listed = [pair for pair in usable if pair.fold in wanted]
    if not listed:
        raise InputError(
            f"{pairs_file}: no pair of folds {', '.join(map(str, sorted(wanted)))} has both its pictures"
        )
    missing = report.listed // report.folds * len(wanted) - len(listed)  # all folds are of one size
    with Pictures(images, matcher.size, matcher.template, detect=align) as pictures:
        one, other = _encode(matcher, pictures, listed, occlusion, progress)
    pairs = [pair for pair in listed if pair.a in one.row and pair.b in other.row]
    if not pairs:
        raise InputError(f"{pairs_file}: no pair is left, all have a picture that cannot be used")
    rows = np.array([(one.row[pair.a], other.row[pair.b]) for pair in pairs])
    words = _protocol(name or pairs_file.resolve().parent.name, folds, occlusion)
    kept = VerifyScores(
        words + (f" by {matcher.label}" if matcher.label else ""),
        np.array([(pictures.name(pair.a), pictures.name(pair.b)) for pair in pairs]),
        np.array([pair.identities for pair in pairs]),
        np.array([pair.genuine for pair in pairs]),
        np.array([pair.fold for pair in pairs], np.int64),
        matcher.pair_scores(one, other, rows),
    )
    failed = {pictures.name(path): reason for path, reason in sorted({**one.failed, **other.failed}.items())}
    facts: dict[str, Any] = {
        "missing": missing,
        "missing_first": tuple(entry.picture for entry in report.missing[:5]) if missing else (),
        "left_out": len(listed) - len(pairs),
        "failures": failed,
        "fold_notes": _fold_notes(pairs, sorted(wanted)),
        "occlusion": occlusion.label if occlusion else "none",
        "masking": matcher.label,
        "seed": occlusion.seed if occlusion else 0,
        "ran_on": matcher.describe(),
    }
    return _judge(kept, facts)


def _fold_notes(pairs: Sequence[Pair], folds: Sequence[int]) -> tuple[str, ...]:
    """What is wrong with each fold that has not both kinds of pairs."""
    notes = []
    for fold in folds:
        kinds = {pair.genuine for pair in pairs if pair.fold == fold}
        if not kinds:
            notes.append(f"fold {fold} has no pair left and is not counted")
        elif len(kinds) < 2:
            notes.append(f"fold {fold} has only {'genuine' if kinds.pop() else 'impostor'} pairs left")
    return tuple(notes)


def _encode(
    matcher: Matcher, pictures: Pictures, pairs: Sequence[Pair], occlusion: Occlusion | None, progress: Progress
) -> tuple[Encoded, Encoded]:
    """Both sides, every picture once; one encoding serves both where neither is covered or looked at."""
    first, second = sorted({pair.a for pair in pairs}), sorted({pair.b for pair in pairs})
    if occlusion is None and not matcher.label:
        both = matcher.encode(pictures, sorted({*first, *second}), progress=progress)
        return both, both
    total = len(first) + len(second)
    one = matcher.encode(pictures, first, progress=lambda done, _: progress(done, total))
    other = matcher.encode(
        pictures, second, occlusion, probe=True, progress=lambda done, _: progress(len(first) + done, total)
    )
    return one, other


def parse_folds(text: str) -> tuple[int, ...]:
    """`1-10`, `6-10`, `1,3,5`.

    Raises:
        InputError: not of that form.
    """
    found: list[int] = []
    try:
        for part in text.split(","):
            low, _, high = part.partition("-")
            found += range(int(low), min(int(high or low), MAX_FOLD) + 1)
    except ValueError as exc:
        raise InputError(f"--folds takes ranges such as 1-10 or 6-10, got {text!r}") from exc
    if not found or min(found) < 1:
        raise InputError(f"--folds takes ranges such as 1-10 or 6-10, got {text!r}")
    return tuple(sorted(set(found)))


def _protocol(name: str, folds: Sequence[int] | None, occlusion: Occlusion | None) -> str:
    words = name if occlusion is None else f"{name} {occlusion.label}"
    if folds is None:
        return words
    whole = list(folds) == list(range(folds[0], folds[-1] + 1))
    return f"{words}, folds {folds[0]}-{folds[-1]}" if whole else f"{words}, folds {','.join(map(str, folds))}"


def _judge(kept: VerifyScores, facts: dict[str, Any]) -> VerifyResult:
    scores, genuine = kept.scores, kept.genuine
    result = ten_fold(scores, genuine, kept.folds)

    def interval(statistic: Callable[[NDArray[np.int64]], float]) -> Interval | None:
        try:
            return identity_interval(statistic, kept.identities, RESAMPLES)
        except InputError:  # few people: most draws have one class of pairs only
            return None

    tar = tuple(tar_at_fmr(scores, genuine, rate) for rate in RATES)
    return VerifyResult(
        protocol=kept.label,
        accuracy=result.mean,
        std=result.std,
        interval=identity_interval(grouped_mean(kept.correct(), kept.folds), kept.identities, RESAMPLES),
        auc=auc(scores, genuine),
        auc_interval=interval(lambda i: auc(scores[i], genuine[i])),
        eer=eer(scores, genuine),
        tar=tar,
        tar_intervals=tuple(
            None
            if entry.tar is None
            else interval(lambda i, rate=entry.fmr: tar_unchecked(scores[i], genuine[i], rate))  # type: ignore[misc]
            for entry in tar
        ),
        threshold=float(np.median(result.thresholds)),
        fold_accuracies=result.accuracies,
        fold_thresholds=result.thresholds,
        pairs=len(scores),
        scores=kept,
        **facts,
    )
