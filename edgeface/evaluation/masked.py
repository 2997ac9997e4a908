"""Matching by a mask dictionary, as the device does it (PDSN, Song et al. 2019; Johnston & Ngxande 2022).

Every probe's covered regions name its feature discarding mask (FDM), and the head embeds the masked features of both
sides. Probes are taken together by their covered regions, so the gallery is embedded once for each combination that
occurs, one at a time. A probe of which less than 1 % of the features is left is not compared, as on the device: a
verification refuses it, an identification ranks its person last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeface.data.template import Points
from edgeface.evaluation.matching import CHUNK, Covered, Encoded, Floats, Progress, no_progress, none_usable
from edgeface.evaluation.occlusion import Occlusion
from edgeface.evaluation.pictures import Failures, Pictures, Shot
from edgeface_runtime.dictionary import MaskDictionary
from edgeface_runtime.dictionary_model import MIN_KEPT
from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.regions import coincide

__all__ = ["DictionaryMatcher", "Parts", "exact_look", "segmented_look"]

Faces = NDArray[np.uint8]
Look = Callable[[Sequence[Shot]], list[Covered]]


@dataclass(frozen=True)
class Parts:
    """A network cut in two where the dictionary masks it."""

    features: Callable[[Faces], Floats]
    """Faces (N, H, W, 3) uint8 BGR -> features (N, C, h, w)."""
    head: Callable[[NDArray[np.float32]], NDArray[np.float32]]
    """Features (N, C, h, w) float32, masked -> unit embeddings (N, E)."""
    describe: dict[str, Any]


def exact_look(dictionary: MaskDictionary) -> Look:
    """Covered regions from what the test's own occluder hides; a picture without an occluder counts as uncovered."""
    clear = (False,) * len(dictionary.regions)

    def look(shots: Sequence[Shot]) -> list[Covered]:
        return [clear if shot.covered is None else dictionary.covered(shot.covered, shot.landmarks) for shot in shots]

    return look


def segmented_look(dictionary: MaskDictionary, segment: Callable[[Faces], NDArray[np.bool_]]) -> Look:
    """Covered regions from a segmentation: faces (N, H, W, 3) -> (N, H, W) True where covered."""

    def look(shots: Sequence[Shot]) -> list[Covered]:
        masks = segment(np.stack([shot.crop for shot in shots]))
        return [dictionary.covered(mask, shot.landmarks) for mask, shot in zip(masks, shots, strict=True)]

    return look


class DictionaryMatcher:
    """Cosine of embeddings of masked features.

    Args:
        dictionary: regions and their masks.
        parts: the network.
        look: what covers the probes.
        seen_by: what looks, in words.
    """

    def __init__(self, dictionary: MaskDictionary, parts: Parts, look: Look, seen_by: str) -> None:
        self.dictionary = dictionary
        self.size = dictionary.input_size
        self.template: Points | None = None
        self.label = dictionary.kind
        self.coded = {"codes": "features", **parts.describe}
        self._parts, self._look, self._seen_by = parts, look, seen_by
        self._probes: Counter[Covered] = Counter()

    def encode(
        self,
        pictures: Pictures,
        paths: Sequence[Path],
        occlusion: Occlusion | None = None,
        *,
        probe: bool = False,
        progress: Progress = no_progress,
    ) -> Encoded:
        failed: Failures = {}
        done: list[Path] = []
        covered: list[Covered] = []
        codes: NDArray[np.float16] | None = None
        for shots in pictures.batches(paths, occlusion, failed, progress):
            batch = self._placed(shots, failed) if probe else shots
            if not batch:
                continue
            found = self._features(np.stack([shot.crop for shot in batch]))
            if codes is None:
                codes = np.empty((len(paths), *found.shape[1:]), np.float16)
            codes[len(done) : len(done) + len(batch)] = found
            done += [shot.path for shot in batch]
            if probe:
                covered += self._look(batch)
        if codes is None:
            raise none_usable(paths, failed)
        self._probes.update(covered)
        return Encoded(tuple(done), codes[: len(done)], tuple(covered), failed)

    def pair_scores(self, first: Encoded, second: Encoded, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        scores = np.full(len(rows), -1.0)
        for fdm, chosen in self._by_fdm([second.covered[row] for row in rows[:, 1]]):
            if fdm is None:
                continue
            sides = []
            for side, encoded in enumerate((first, second)):
                wanted, back = np.unique(rows[chosen, side], return_inverse=True)
                sides.append(self._embed(encoded.codes, wanted, fdm)[back])
            scores[chosen] = np.einsum("ne,ne->n", *sides)
        return scores

    def probe_scores(self, gallery: Encoded, probes: Encoded) -> Iterator[tuple[NDArray[np.int64], Floats]]:
        everybody = np.arange(len(gallery.paths))
        for fdm, chosen in self._by_fdm(probes.covered):
            if fdm is None:
                for start in range(0, len(chosen), CHUNK):
                    part = chosen[start : start + CHUNK]
                    yield part, np.full((len(part), len(everybody)), -1.0, np.float32)
                continue
            enrolled = self._embed(gallery.codes, everybody, fdm)
            for start in range(0, len(chosen), CHUNK):
                part = chosen[start : start + CHUNK]
                yield part, self._embed(probes.codes, part, fdm) @ enrolled.T

    def describe(self) -> dict[str, Any]:
        total = max(1, self._probes.total())
        names = self.dictionary.names
        found = {
            name: round(sum(n for key, n in self._probes.items() if key[at]) / total, 4)
            for at, name in enumerate(names)
        }
        fdms = {key: self.dictionary.fdm(key) for key in self._probes}
        return {
            **self._parts.describe,
            "masking": self.label,
            "discarded": self.dictionary.discarded,
            "covered_by": self._seen_by,
            "region_covered": found,
            "combinations": len(self._probes),
            "uncovered_probes": self._probes[(False,) * len(names)],
            "refused_probes": sum(n for key, n in self._probes.items() if fdms[key].mean() < MIN_KEPT),
        }

    def _placed(self, shots: Sequence[Shot], failed: Failures) -> list[Shot]:
        """Those on which a per-face dictionary can place its regions; the others go into `failed`."""
        placed = []
        for shot in shots:
            if self.dictionary.per_face and shot.landmarks is not None and coincide(shot.landmarks):
                failed[shot.path] = f"{shot.path} has landmarks that coincide: no regions can be placed on them"
            else:
                placed.append(shot)
        return placed

    def _features(self, faces: Faces) -> NDArray[np.float16]:
        found = self._parts.features(faces)
        if found.shape[1:] != self.dictionary.masks.shape[1:]:
            raise InputError(
                f"the dictionary masks features of {self.dictionary.masks.shape[1:]}, this network's are "
                f"{found.shape[1:]}: it was made for another one"
            )
        with np.errstate(over="ignore"):
            half = found.astype(np.float16)
        if not np.isfinite(half).all():
            raise ArtefactError("the network's features do not fit half precision, in which they are kept")
        return half

    def _by_fdm(self, covered: Sequence[Covered]) -> Iterator[tuple[NDArray[np.bool_] | None, NDArray[np.int64]]]:
        """FDM and the places it is for; None for an FDM that keeps too little."""
        places: dict[Covered, list[int]] = {}
        for at, key in enumerate(covered):
            places.setdefault(key, []).append(at)
        for key, found in places.items():
            fdm = self.dictionary.fdm(key)
            yield (None if fdm.mean() < MIN_KEPT else fdm), np.array(found)

    def _embed(self, codes: Floats, rows: NDArray[np.int64], fdm: NDArray[np.bool_]) -> NDArray[np.float32]:
        parts = []
        for start in range(0, len(rows), CHUNK):
            part = codes[rows[start : start + CHUNK]].astype(np.float32)
            parts.append(self._parts.head(self.dictionary.discard(part, fdm)))
        return np.concatenate(parts)
