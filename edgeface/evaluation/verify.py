"""Verification on pairs as LFW does it: ten folds, the threshold from nine, only a pair's second picture occluded.

The protocols of Liu et al. 2023, Table 2 and 3: LFW, Occ-LFW (40 % of the area covered at random), Mask-LFW.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgeface.evaluation.embed_paths import Occlusion, embed_paths
from edgeface.evaluation.embedder import Embedder
from edgeface_calibration.metrics import (
    Interval,
    TarAtFmr,
    accuracy_at,
    auc,
    eer,
    identity_interval,
    tar_at_fmr,
    ten_fold,
)
from edgeface_calibration.pairs import Pair, read_pairs
from edgeface_runtime.errors import InputError

__all__ = ["VerifyResult", "evaluate_pairs", "parse_folds"]

RATES = (1e-1, 1e-2, 1e-3)
MAX_FOLD = 10_000
"""No list of pairs has as many folds; a range is not counted out beyond it."""


@dataclass(frozen=True)
class VerifyResult:
    """One network on one list of pairs."""

    protocol: str
    """Set, folds and occlusion in words: `lfw`, `lfw random .4`, `lfw mask, folds 6-10`."""
    accuracy: float
    """Mean over folds, 0..1."""
    std: float
    """Standard deviation over folds."""
    interval: Interval
    """95 % bootstrap over identities of the accuracy at the median of the folds' thresholds."""
    auc: float
    eer: float
    tar: tuple[TarAtFmr, ...]
    """True accept rates; a rate the impostor pairs cannot carry has a reason instead."""
    threshold: float
    """Median of the folds' thresholds, cosine."""
    pairs: int
    missing: int
    """Pairs left out because a picture is missing."""
    missing_first: tuple[str, ...]
    """The first few missing pictures of the whole list."""
    occlusion: str
    seed: int
    ran_on: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

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
    embedder: Embedder,
    images: Path,
    pairs_file: Path,
    *,
    occlusion: Occlusion | None = None,
    folds: Sequence[int] | None = None,
    name: str | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> VerifyResult:
    """Judge `embedder` on the pairs of `pairs_file` over the identity folders of `images`.

    Args:
        images: identity folders of aligned 112x96 crops.
        pairs_file: LFW's format.
        occlusion: covers the second picture of every pair; None leaves both clean.
        folds: numbers of the folds to use, from 1; None: all.
        name: of the set, for the report; default: the pairs file's folder.

    Raises:
        InputError: no usable pair, fewer than two folds, or pictures that are no crops.
    """
    usable, report = read_pairs(pairs_file, images)
    wanted = set(range(1, report.folds + 1)) if folds is None else set(folds)
    if max(wanted) > report.folds:
        raise InputError(f"--folds asks for fold {max(wanted)}, {pairs_file} has {report.folds}")
    pairs = [pair for pair in usable if pair.fold in wanted]
    if not pairs:
        raise InputError(
            f"{pairs_file}: no pair of folds {', '.join(map(str, sorted(wanted)))} has both its pictures"
        )
    missing = report.listed // report.folds * len(wanted) - len(pairs)  # all folds are of one size
    first = sorted({pair.a for pair in pairs} | ({pair.b for pair in pairs} if occlusion is None else set()))
    second = sorted({pair.b for pair in pairs}) if occlusion else []
    total = len(first) + len(second)
    clean = embed_paths(embedder, first, images, progress=lambda done, _: progress(done, total))
    rows = dict(zip(first, clean, strict=True))
    others = rows
    if occlusion:
        covered = embed_paths(
            embedder, second, images, view=occlusion, progress=lambda done, _: progress(len(first) + done, total)
        )
        others = dict(zip(second, covered, strict=True))
    scores = np.array([float(rows[pair.a] @ others[pair.b]) for pair in pairs])
    protocol = _protocol(name or pairs_file.resolve().parent.name, folds, occlusion)
    names = tuple(entry.picture for entry in report.missing[:5]) if missing else ()
    return _judge(protocol, pairs, scores, missing, names, occlusion, embedder)


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


def _judge(
    protocol: str,
    pairs: Sequence[Pair],
    scores: np.ndarray[Any, np.dtype[np.float64]],
    missing: int,
    missing_first: tuple[str, ...],
    occlusion: Occlusion | None,
    embedder: Embedder,
) -> VerifyResult:
    genuine = np.array([pair.genuine for pair in pairs])
    result = ten_fold(scores, genuine, [pair.fold for pair in pairs])
    threshold = float(np.median(result.thresholds))
    identities = [pair.identities for pair in pairs]
    return VerifyResult(
        protocol=protocol,
        accuracy=result.mean,
        std=result.std,
        interval=identity_interval(lambda index: accuracy_at(scores[index], genuine[index], threshold), identities),
        auc=auc(scores, genuine),
        eer=eer(scores, genuine),
        tar=tuple(tar_at_fmr(scores, genuine, rate) for rate in RATES),
        threshold=threshold,
        pairs=len(pairs),
        missing=missing,
        missing_first=missing_first,
        occlusion=occlusion.label if occlusion else "none",
        seed=occlusion.seed if occlusion else 0,
        ran_on=embedder.describe,
    )
