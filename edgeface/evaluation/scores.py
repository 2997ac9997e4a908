"""Scores kept for comparing two systems later: one `.npz` without pickled objects, for pairs or for probes."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.metrics import ten_fold
from edgeface_runtime.errors import ArtefactError
from edgeface_runtime.files import atomic_path, require_file

__all__ = ["IdentifyScores", "Scores", "VerifyScores", "is_scores", "read_scores", "write_scores"]

FORMAT, VERSION = "edgeface-scores", 1

Names = NDArray[np.str_]


@dataclass(frozen=True, eq=False)
class VerifyScores:
    """One system's scores of pairs."""

    protocol: ClassVar[str] = "verify"
    label: str
    """Set, folds and occlusion in words."""
    names: Names
    """(n, 2) the two pictures, relative to their set."""
    identities: Names
    """(n, 2) the two people."""
    genuine: NDArray[np.bool_]
    folds: NDArray[np.int64]
    scores: NDArray[np.float64]

    def correct(self) -> NDArray[np.bool_]:
        """(n,) whether a pair is judged rightly at its own fold's threshold, which the other folds chose."""
        found = ten_fold(self.scores, self.genuine, self.folds)
        limits = dict(zip(found.folds, found.thresholds, strict=True))
        threshold = np.array([limits[int(fold)] for fold in self.folds])
        return np.asarray((self.scores >= threshold) == self.genuine, np.bool_)


@dataclass(frozen=True, eq=False)
class IdentifyScores:
    """One system's ranks of probes."""

    protocol: ClassVar[str] = "identify"
    label: str
    names: Names
    """(n,) the probes, relative to their set."""
    identities: Names
    """(n,) their people."""
    ranks: NDArray[np.int64]
    """(n,) at which their person was found, from 1."""
    people: int
    """In the gallery."""


Scores = VerifyScores | IdentifyScores


def write_scores(path: Path, scores: Scores) -> None:
    """Write scores atomically.

    Raises:
        InputError: it cannot be written.
    """
    header: dict[str, Any] = {"format": FORMAT, "version": VERSION, "protocol": scores.protocol}
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **header, **scores.__dict__)


def read_scores(path: Path) -> Scores:
    """Read scores.

    Raises:
        InputError: missing.
        ArtefactError: damaged, foreign or too new.
    """
    require_file(path, "scores file")
    try:
        with np.load(path, allow_pickle=False) as data:
            if str(data["format"]) != FORMAT:
                raise ArtefactError(f"{path} is not a scores file: write one with edgeface evaluate --scores")
            if int(data["version"]) != VERSION:
                raise ArtefactError(f"{path} has scores version {data['version']}, not {VERSION}: upgrade edgeface")
            found = _build(data)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as exc:
        raise ArtefactError(f"{path} is not a readable scores file: write it again with --scores") from exc
    return found


def is_scores(path: Path) -> bool:
    """Whether a file is one of scores."""
    try:
        read_scores(path)
    except ArtefactError:
        return False
    return True


def _build(data: Any) -> Scores:
    label, names, identities = str(data["label"]), data["names"], data["identities"]
    if str(data["protocol"]) == "identify":
        ranks = np.asarray(data["ranks"], np.int64)
        if not len(names) == len(identities) == len(ranks) or ranks.ndim != 1 or not len(ranks):
            raise ValueError("lengths")
        return IdentifyScores(label, names, identities, ranks, int(data["people"]))
    scores, genuine = np.asarray(data["scores"], np.float64), np.asarray(data["genuine"], np.bool_)
    folds = np.asarray(data["folds"], np.int64)
    if not len(names) == len(identities) == len(scores) == len(genuine) == len(folds) or identities.ndim != 2:
        raise ValueError("lengths")
    return VerifyScores(label, names, identities, genuine, folds, scores)
