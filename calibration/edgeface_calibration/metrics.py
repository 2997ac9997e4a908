"""Everything that judges scores, in one place: see `roc`, `folds`, `bootstrap` and `thresholds` for each part."""

from __future__ import annotations

from edgeface_calibration.bootstrap import Interval, identity_interval, paired_interval
from edgeface_calibration.folds import FoldAccuracy, cmc, rank_k, ten_fold
from edgeface_calibration.roc import Roc, TarAtFmr, accuracy_at, auc, best_threshold, eer, roc, tar_at_fmr

__all__ = [
    "FoldAccuracy",
    "Interval",
    "Roc",
    "TarAtFmr",
    "accuracy_at",
    "auc",
    "best_threshold",
    "cmc",
    "eer",
    "identity_interval",
    "paired_interval",
    "rank_k",
    "roc",
    "tar_at_fmr",
    "ten_fold",
]
