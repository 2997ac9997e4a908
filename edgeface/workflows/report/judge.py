"""Accuracy of every row of a benchmark on one list of pairs, under each condition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeface.evaluation.occlusion import Occlusion
from edgeface.evaluation.open_matcher import open_matcher
from edgeface.evaluation.scores import VerifyScores
from edgeface.evaluation.verify import VerifyResult, evaluate_pairs
from edgeface.workflows.benchmark import BenchmarkSettings, Subject
from edgeface_calibration.metrics import roc
from edgeface_calibration.pairs import read_pairs
from edgeface_calibration.thresholds import MIN_FALSE_MATCHES
from edgeface_runtime.errors import InputError

if TYPE_CHECKING:
    from edgeface_runtime.engine_open import EngineBuilder

__all__ = ["Judged", "PairTest", "judge", "roc_curve"]

STEPS = 80
"""Points of a ROC curve that is drawn."""


@dataclass(frozen=True)
class PairTest:
    """What to judge on.

    Raises:
        InputError: no such pictures or pairs, a fold that is not there, or an unknown condition.
    """

    images: Path
    """Identity folders of crops."""
    pairs: Path
    """LFW's format."""
    conditions: tuple[str, ...] = ("none", "random", "mask")
    """What covers the second picture of every pair."""
    folds: tuple[int, ...] | None = None
    """None: all."""

    def __post_init__(self) -> None:
        if not self.conditions or len(set(self.conditions)) < len(self.conditions):
            raise InputError(f"--occlusion takes each kind once, got {','.join(self.conditions)!r}")
        self.covers()
        _, found = read_pairs(self.pairs, self.images)
        if self.folds is not None and max(self.folds) > found.folds:
            raise InputError(f"--folds asks for fold {max(self.folds)}, {self.pairs} has {found.folds}")
        if found.folds < 2 or (self.folds is not None and len(self.folds) < 2):
            raise InputError(f"{self.pairs}: a fold's threshold comes from the others: two or more are needed")

    def covers(self) -> list[Occlusion | None]:
        """One for each condition."""
        return [None if kind == "none" else Occlusion(kind) for kind in self.conditions]


@dataclass(frozen=True)
class Judged:
    """One row under one condition."""

    row: int
    """Its number in the benchmark."""
    condition: str
    """`clean`, `random .4`, `mask`."""
    result: VerifyResult
    roc: tuple[tuple[float, float], ...]
    """(false match rate, true accept rate), rising."""
    carried: float
    """The smallest false match rate that the impostor pairs carry: 30 expected false matches."""

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        own = {name: value for name, value in self.__dict__.items() if name != "result"}
        return {**own, **self.result.to_dict()}


def judge(
    subjects: Sequence[Subject],
    settings: BenchmarkSettings,
    test: PairTest,
    *,
    builder: EngineBuilder | None = None,
    progress: Callable[[str, int, int], None] = lambda title, done, total: None,
) -> list[Judged]:
    """Judge every subject, which is of a bundle, on the backend and with the threads it was timed with.

    Raises:
        InputError: pictures that are no crops of a network's size, or no pair left.
    """
    found = []
    for number, subject in enumerate(subjects):
        assert subject.bundle is not None
        with open_matcher(
            subject.bundle,
            backend=settings.backend,
            precision=subject.precision,
            device=settings.device,
            threads=settings.threads,
            builder=builder,
        ) as matcher:
            for cover in test.covers():
                words = "clean" if cover is None else cover.label

                def step(done: int, total: int, title: str = f"{subject.label}, {words}") -> None:
                    progress(title, done, total)

                result = evaluate_pairs(
                    matcher,
                    test.images,
                    test.pairs,
                    occlusion=cover,
                    folds=test.folds,
                    progress=step,
                )
                curve = roc_curve(result.scores)
                impostors = int((~result.scores.genuine).sum())
                found.append(Judged(number, words, result, curve, min(1.0, MIN_FALSE_MATCHES / impostors)))
    return found


def roc_curve(scores: VerifyScores) -> tuple[tuple[float, float], ...]:
    """The ROC at rates evenly spaced in their logarithm, from one false match to all of them.

    Each accept rate is the highest without exceeding that rate.
    """
    curve = roc(scores.scores, scores.genuine)
    impostors = int((~scores.genuine).sum())
    rates = np.geomspace(1 / impostors, 1, STEPS) if impostors > 1 else np.ones(1)
    at = np.searchsorted(curve.fmr, rates * (1 + 1e-9), "right") - 1
    return tuple(
        (round(float(rate), 6), round(float(curve.tmr[row]), 6)) for rate, row in zip(rates, at, strict=True)
    )
