"""Everything that judges scores, in one place: see `roc`, `folds`, `cmc`, `bootstrap` and `thresholds`."""

from __future__ import annotations

from edgeface_calibration.bootstrap import Interval, grouped_mean, identity_interval, paired_interval
from edgeface_calibration.cmc import cmc, curve_of, rank_k, ranks
from edgeface_calibration.folds import FoldAccuracy, ten_fold
from edgeface_calibration.roc import (
    Roc,
    TarAtFmr,
    accuracy_at,
    auc,
    best_threshold,
    eer,
    roc,
    tar_at_fmr,
    tar_unchecked,
)

__all__ = [
    "FoldAccuracy",
    "Interval",
    "Roc",
    "TarAtFmr",
    "accuracy_at",
    "auc",
    "best_threshold",
    "cmc",
    "curve_of",
    "eer",
    "grouped_mean",
    "identity_interval",
    "paired_interval",
    "rank_k",
    "ranks",
    "roc",
    "tar_at_fmr",
    "tar_unchecked",
    "ten_fold",
]
