"""Matching of covered faces by a mask dictionary (PDSN, Song et al. 2019; landmark regions: Du et al. 2021).

The probe is segmented, its covered regions name a feature discarding mask (FDM), and the head embeds the masked
features of probe and gallery: the same features are missing on both sides. With no region covered nothing is masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from edgeface_runtime.backends import Backend
from edgeface_runtime.closing import Closing
from edgeface_runtime.dictionary import MaskDictionary
from edgeface_runtime.embedding import MAX_BATCH, to_batch, unit_rows
from edgeface_runtime.errors import ArtefactError, FaceError
from edgeface_runtime.gallery_like import GalleryLike
from edgeface_runtime.gallery_results import Ranked, rank
from edgeface_runtime.manifest import InputSpec
from edgeface_runtime.results import FaceResult

__all__ = ["MAX_MASKED", "Cover", "DictionaryModel"]

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Pixels = npt.NDArray[np.uint8]

MAX_MASKED = 10_000
"""Templates up to which a covered face is matched: every new FDM runs the head on all of them."""
TOO_COVERED = "too much of the face is covered to match it"
MIN_KEPT = 0.01
"""Share of the features an FDM must keep: with none left the head gives its bias, which is like everybody's."""
CACHE_BYTES = 64 << 20
"""Masked templates a gallery keeps in memory, over all FDMs."""


@dataclass(frozen=True)
class Cover:
    """What covers one face."""

    share: float
    """Share of the crop's pixels that the segmenter calls covered, in [0, 1]."""
    discarded: tuple[str, ...]
    """Names of the regions more than half covered."""


class DictionaryModel(Closing):
    """Segmenter, dictionary and head of a bundle. Safe to share between threads; closes the segmenter only.

    Args:
        dictionary: regions and their masks.
        segmenter: input (N, 3, H, W) -> `covered` (N, 1, H, W), probabilities.
        head: (N, C, h, w) float32 -> `embedding` (N, E).
        spec: what trunk and segmenter eat.
        precision: of the head, which masked templates belong to.
    """

    def __init__(
        self, dictionary: MaskDictionary, segmenter: Backend, head: Backend, spec: InputSpec, precision: str
    ) -> None:
        self.dictionary = dictionary
        self._segmenter = segmenter
        self._head = head
        self._spec = spec
        self._precision = precision

    def close(self) -> None:
        """Give the segmenter's memory back. Closing twice does nothing."""
        self._segmenter.close()

    def look(self, crops: Pixels, landmarks: Sequence[npt.ArrayLike] | None = None) -> list[Cover]:
        """What covers each face.

        Args:
            crops: (N, H, W, 3) uint8 BGR, aligned.
            landmarks: (5, 2) pixels of each crop, for regions placed face by face; None takes those of the mean face.

        Raises:
            ArtefactError: the segmenter gave something other than probabilities.
        """
        found: list[Cover] = []
        for start in range(0, len(crops), MAX_BATCH):
            for mask in self._segment(crops[start : start + MAX_BATCH]):
                points = None if landmarks is None else landmarks[len(found)]
                flags = self.dictionary.covered(mask, points)
                names = tuple(name for name, covered in zip(self.dictionary.names, flags, strict=True) if covered)
                found.append(Cover(float(mask.mean()), names))
        return found

    def _segment(self, crops: Pixels) -> Bools:
        """(N, H, W) bool, True where covered."""
        covered = self._segmenter.run(to_batch(crops, self._spec)).get("covered")
        shape = (len(crops), 1, *crops.shape[1:3])
        if covered is None or covered.shape != shape or not np.isfinite(covered).all():
            raise ArtefactError(f"the segmenter gave no finite `covered` of shape {shape}: export the bundle again")
        return np.asarray(covered[:, 0] > 0.5)

    def fdm(self, discarded: Sequence[str]) -> Bools:
        """(C, h, w) bool, True where a feature is kept, for the names of the covered regions."""
        wanted = set(discarded)
        return np.asarray(self.dictionary.fdm([name in wanted for name in self.dictionary.names]), bool)

    def embed(self, features: npt.NDArray[np.floating], fdm: Bools) -> Floats:
        """Unit embeddings (N, E) float32 of features (N, C, h, w) without what `fdm` discards.

        Raises:
            ArtefactError: the head gave something other than finite embeddings.
        """
        rows = self._head.run(self.dictionary.discard(features, fdm)).get("embedding")
        if rows is None or rows.ndim != 2 or len(rows) != len(features) or not np.isfinite(rows).all():
            raise ArtefactError("the head gave no finite embeddings: use --precision fp32, or export it again")
        return unit_rows(rows, "the head")

    def search(self, gallery: GalleryLike, face: FaceResult, top: int) -> Ranked:
        """The most alike people, by what is left uncovered of the probe; nobody where too little is left of it, or
        where the gallery is too large to compare a covered face with.

        Raises:
            ArtefactError: the gallery is damaged, or keeps no features.
        """
        fdm = self.fdm(face.discarded)
        if fdm.all() or face.features is None:
            return Ranked(tuple(gallery.search(face.embedding, top)))
        if fdm.mean() < MIN_KEPT:
            return Ranked((), TOO_COVERED)
        templates = gallery.count()
        if templates > MAX_MASKED:
            why = (
                f"gallery {gallery.place} holds {templates} templates, a covered face is compared with at most "
                f"{MAX_MASKED}: split the gallery, or use a bundle of a network with --mask decoder"
            )
            return Ranked((), "covered, and the gallery is too large", why)
        key = self._precision.encode() + np.packbits(fdm).tobytes()
        names, matrix = gallery.masked(key, lambda features: self.embed(features, fdm), CACHE_BYTES)
        return Ranked(tuple(rank(names, matrix, self.embed(face.features[None], fdm)[0], top)))

    def score(self, a: FaceResult, b: FaceResult) -> tuple[float, tuple[str, ...]]:
        """Cosine of two faces without the regions covered on either, and the names of those regions.

        Raises:
            FaceError: too little is left to compare.
        """
        discarded = tuple(name for name in self.dictionary.names if name in {*a.discarded, *b.discarded})
        fdm = self.fdm(discarded)
        first, second = a.embedding, b.embedding
        if fdm.mean() < MIN_KEPT:
            raise FaceError(f"{TOO_COVERED}: use pictures that show more of it")
        if not fdm.all() and a.features is not None and b.features is not None:
            first, second = self.embed(np.stack([a.features, b.features]), fdm)
        return float(np.clip(first @ second, -1.0, 1.0)), discarded
