"""Does a network from elsewhere do what a recogniser does, fed as it was said to be? Looked at before it is written.

A wrong range or colour order shows: the embeddings of different people come out alike, or pairs of one person come
out less apart from pairs of two than they would under another range.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeface_calibration.metrics import auc
from edgeface_export.parity import embed_onnx
from edgeface_runtime.errors import GateError
from edgeface_runtime.manifest import InputSpec

__all__ = ["ALIKE", "RANGES", "People", "Progress", "Seen", "look_at_faces"]

RANGES = {"-1..1": (127.5, 127.5), "0..255": (0.0, 1.0), "0..1": (0.0, 255.0)}
"""Range of the network's input -> mean and standard deviation in pixel values."""
ALIKE = 0.9
"""Mean cosine between different people from which something is wrong."""
CONSTANT = 0.999999
"""Lowest cosine between any two faces from which the network sees nothing of them."""
CLEARLY = 0.5
"""Another range is named when it halves what is left of the area under the curve, at least."""
HARDLY = 0.75
"""Area under the curve below which a network is no face recogniser, or its faces are not cut as it wants them."""
NOISE = 5e-4
"""Differences of the area under the curve below it are chance with so few faces."""

Faces = NDArray[np.uint8]
Floats = NDArray[np.float32]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class People:
    """Faces of people with several pictures each."""

    crops: Faces
    """(N, H, W, 3) uint8 BGR."""
    labels: NDArray[np.int64]
    """(N,) who it is."""


@dataclass(frozen=True)
class Seen:
    """What was found."""

    faces: int
    mean_cosine: float
    """Between different faces, on average."""
    auc: float | None
    """Area under the curve of pairs of one person against pairs of two, None without identities."""
    alternatives: tuple[tuple[str, float], ...]
    """Other ranges and colour orders, as flags, with their area under the curve."""
    warnings: tuple[str, ...]
    """One line each."""

    def to_dict(self) -> dict[str, Any]:
        """What a manifest records."""
        return {**asdict(self), "alternatives": dict(self.alternatives), "warnings": list(self.warnings)}


def look_at_faces(
    graph: Path,
    spec: InputSpec,
    faces: Faces,
    people: People | None,
    progress: Progress = lambda phase, done, total: None,
) -> Seen:
    """Look at what the ONNX file `graph` makes of faces, fed by `spec`; with people, of other ranges and orders too.

    Args:
        faces: (N, H, W, 3) uint8 BGR, of different people, N >= 2.

    Raises:
        GateError: values that are not finite, or the same for every face.
    """
    vectors = _finite(embed_onnx(graph, faces, spec)[0], len(faces))
    between = _between(vectors)
    if between.min() > CONSTANT:
        raise GateError(
            f"the network gives the same embedding for all of {len(faces)} faces: check --range, --color and --output"
        )
    warnings = []
    mean = float(between.mean())
    if people is None:
        if mean >= ALIKE:
            warnings.append(f"all faces look alike (mean cosine {mean:.2f}): check --range and --color")
        return Seen(len(faces), mean, None, (), tuple(warnings))
    own = _auc(graph, spec, people)
    others = []
    for number, (flags, other) in enumerate(_alternatives(spec), 1):
        others.append((flags, _auc(graph, other, people)))
        progress("other ranges and colour orders", number, 5)
    best, value = max(others, key=lambda entry: entry[1])
    if 1 - value <= CLEARLY * (1 - own) and value - own >= NOISE:
        warnings.append(
            f"people are told apart better with {best} (area under the curve {value:.4f}, not {own:.4f}): "
            "check --range and --color"
        )
    elif mean >= ALIKE:
        warnings.append(f"all faces look alike (mean cosine {mean:.2f}): check --range and --color")
    elif max(own, value) < HARDLY:
        warnings.append(
            f"people are hardly told apart (area under the curve {own:.2f}; .5 is chance): "
            "check that the file is a face recogniser, and --template"
        )
    return Seen(len(faces), mean, own, tuple(others), tuple(warnings))


def _finite(vectors: Floats, faces: int) -> Floats:
    bad = int((~np.isfinite(vectors).all(axis=1)).sum())
    if bad:
        raise GateError(f"{bad} of {faces} embeddings are not finite: check --range, and that the file is complete")
    return vectors


def _between(vectors: Floats) -> NDArray[np.float64]:
    """Cosines of all pairs."""
    rows = vectors.astype(np.float64)
    rows /= np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    found: NDArray[np.float64] = (rows @ rows.T)[np.triu_indices(len(rows), 1)]
    return found


def _auc(graph: Path, spec: InputSpec, people: People) -> float:
    vectors = embed_onnx(graph, people.crops, spec)[0]
    if not np.isfinite(vectors).all():
        return 0.0
    first, second = np.triu_indices(len(vectors), 1)
    return float(auc(_between(vectors), people.labels[first] == people.labels[second]))


def _alternatives(spec: InputSpec) -> list[tuple[str, InputSpec]]:
    """All ranges and colour orders but the one that is given, or as good as given."""
    found = []
    for name, (mean, std) in RANGES.items():
        given = abs(spec.mean - mean) < 1 and abs(spec.std / std - 1) < 0.02
        for color in ("RGB", "BGR"):
            if not (given and color == spec.color):
                flags = f"--range {name} --color {color}"
                found.append((flags, replace(spec, color=color, mean=mean, std=std)))
    return found
