"""Evaluation of a checkpoint or a bundle: verification on pairs, closed-set identification."""

from __future__ import annotations

from edgeface.evaluation.embed_paths import Occlusion
from edgeface.evaluation.embedder import Embedder, open_embedder
from edgeface.evaluation.identify import IdentifyResult, evaluate_identify
from edgeface.evaluation.verify import VerifyResult, evaluate_pairs, parse_folds

__all__ = [
    "Embedder",
    "IdentifyResult",
    "Occlusion",
    "VerifyResult",
    "evaluate_identify",
    "evaluate_pairs",
    "open_embedder",
    "parse_folds",
]
