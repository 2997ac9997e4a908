"""Evaluation of a checkpoint or a bundle: verification on pairs, closed-set identification, covered share."""

from __future__ import annotations

from edgeface.evaluation.compare import Comparison, compare, compare_identification, compare_verification
from edgeface.evaluation.embedder import Embedder, open_embedder
from edgeface.evaluation.identify import IdentifyResult, evaluate_identify
from edgeface.evaluation.occlusion import Occlusion
from edgeface.evaluation.verify import VerifyResult, evaluate_pairs, parse_folds

__all__ = [
    "Comparison",
    "Embedder",
    "IdentifyResult",
    "Occlusion",
    "VerifyResult",
    "compare",
    "compare_identification",
    "compare_verification",
    "evaluate_identify",
    "evaluate_pairs",
    "open_embedder",
    "parse_folds",
]
