"""Recognition end to end: detect, align, embed, match. One object for a bundle and the backend that runs it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from edgeface_runtime.align import align, in_crop
from edgeface_runtime.backends import Backend, backend_kind, check_threads
from edgeface_runtime.backends.allow_cpu import Placed, place
from edgeface_runtime.box_crop import box_crop
from edgeface_runtime.bundle import Bundle, open_bundle
from edgeface_runtime.closing import Closing
from edgeface_runtime.covered_part import covered_part
from edgeface_runtime.detect import Detector, Face, largest_central
from edgeface_runtime.embedding import embed
from edgeface_runtime.enrolling import enrollable, find_duplicates, refuse_poor
from edgeface_runtime.errors import FaceError, ImageError, InputError
from edgeface_runtime.gallery_like import GalleryLike
from edgeface_runtime.gallery_open import as_file, open_gallery
from edgeface_runtime.gallery_results import Ranked, person_name
from edgeface_runtime.open_model import open_model
from edgeface_runtime.picture import Picture, Pixels, pixels_of, source_of
from edgeface_runtime.quality import is_usual, limits_of, measure_quality
from edgeface_runtime.results import Embeddings, Enrolment, FaceResult, ImageResult, Status, Threshold, Verification
from edgeface_runtime.signature import check_bundle_signature, required_key
from edgeface_runtime.threshold import choose_threshold

if TYPE_CHECKING:
    from edgeface_runtime.dictionary_model import DictionaryModel
    from edgeface_runtime.engine_open import EngineBuilder
    from edgeface_runtime.gallery_key import GalleryKey

__all__ = ["FaceFinder", "Recognizer"]


class FaceFinder(Protocol):
    """What the recogniser needs of a detector."""

    def detect(self, image: Pixels) -> list[Face]:
        """Faces of a picture, the most prominent first."""

    def close(self) -> None:
        """Give memory back."""


class Recognizer(Closing):
    """A bundle, loaded and ready. A context manager, safe to share between threads. See `from_bundle`.

    Args:
        bundle: an open bundle.
        backend: its recogniser, loaded; closed with this object.
        precision: what that runs, for `describe`.
        detector: finds faces; closed with this object. None makes MTCNN on the CPU when the first picture comes.
        min_face: smallest face MTCNN looks for, pixels.
        threads: CPU threads of MTCNN, at most 256; 0 leaves it to the backend.
        masking: what matches covered faces, for a bundle with a mask dictionary; closed with this object.
        placed: what was asked for, for `describe`; None: what the backend is.

    Raises:
        InputError: `threads` is out of its range.
    """

    def __init__(
        self,
        bundle: Bundle,
        backend: Backend,
        precision: str = "fp32",
        detector: FaceFinder | None = None,
        min_face: int = 40,
        threads: int = 1,
        masking: DictionaryModel | None = None,
        placed: Placed | None = None,
    ) -> None:
        check_threads(threads)
        if (bundle.manifest.dictionary is None) != (masking is None):
            raise ValueError(
                "a bundle with a mask dictionary, and no other, is opened with its parts: see from_bundle"
            )
        self.bundle = bundle
        self.backend = backend
        self.precision = precision
        self.masking = masking
        self.placed = Placed(backend.name, backend.device) if placed is None else placed
        self._detector = detector
        self._min_face = min_face
        self._threads = threads
        self._lock = threading.Lock()
        self._closed = False

    @classmethod
    def from_bundle(
        cls,
        path: str | Path,
        backend: str = "onnxruntime",
        precision: str = "auto",
        device: str = "auto",
        threads: int = 0,
        *,
        engine: str | Path | None = None,
        min_face: int = 40,
        allow_cpu: bool = False,
        builder: EngineBuilder | None = None,
        require_signature: str | Path | None = None,
    ) -> Recognizer:
        """Open a bundle and load its recogniser.

        Args:
            path: a bundle's folder or `.tar`.
            backend: onnxruntime, onnxruntime-tensorrt, tensorrt or tensorrt-rtx.
            precision: fp32, fp16 or int8, as far as the bundle has it; auto is fp16 for TensorRT, else fp32.
            device: auto, cpu, cuda or cuda:N; auto is the CPU for onnxruntime and GPU 0 for the others.
            threads: CPU threads, at most 256; 0 leaves it to the backend.
            engine: for the TensorRT backends; by default the one kept for this model and machine (engine_place.py).
            min_face: smallest face to look for, pixels.
            allow_cpu: where a GPU is asked for and none is there, ONNX Runtime on the CPU instead of an error;
                `describe` then says so.
            builder: builds an engine where there is none that may be loaded here; None refuses, with the command.
            require_signature: public key (PEM) that must have signed the bundle and an engine; None takes the one
                EDGEFACE_REQUIRE_SIGNATURE names, if any.

        Raises:
            InputError: no such bundle, backend, precision or engine, too many threads, or a dictionary model on a
                backend that runs engines.
            ArtefactError: the bundle or engine is damaged, foreign, too new, or not signed as required.
            DeviceError: not the device that was asked for.
            MissingExtraError: the backend's package is not installed.
        """
        placed = place(backend, device, allow_cpu)
        backend, device = placed.backend, placed.device
        check_threads(threads)
        if precision == "auto":
            precision = backend_kind(backend).precision
        key = required_key(require_signature)
        bundle = open_bundle(path, full=key is not None)
        if key is not None:
            check_bundle_signature(bundle, key)
            if backend == "onnxruntime-tensorrt":
                raise InputError(
                    f"{backend} keeps engines of its own, which carry no signature: use --backend tensorrt, "
                    "or do not require a signature"
                )
        loaded, masking = open_model(bundle, backend, precision, device, threads, engine, builder, key)
        try:
            bundle.check_unchanged()
            return cls(bundle, loaded, precision, None, min_face, threads or 1, masking, placed)
        except BaseException:
            loaded.close()
            if masking is not None:
                masking.close()
            raise

    def close(self) -> None:
        """Give memory back. Closing twice does nothing."""
        with self._lock:
            detector, self._detector = self._detector, None
            self._closed = True
        if detector is not None:
            detector.close()
        if self.masking is not None:
            self.masking.close()
        self.backend.close()

    def describe(self) -> dict[str, Any]:
        """The model, and what really runs it: backend, provider, device, version, threads.

        `fallback` says why that is not what was asked for (`asked`), and is None where it is.
        """
        manifest = self.bundle.manifest
        return {
            "model": manifest.name,
            "model_id": self.bundle.model_id,
            "precision": self.precision,
            "masking": manifest.masking,
            "ratio": manifest.ratio.achieved,
            **self.backend.describe(),
            **self.placed.facts(),
        }

    def open_gallery(
        self,
        spec: str | Path,
        create: bool = False,
        *,
        cache: str | Path | None = None,
        key: GalleryKey | None = None,
    ) -> GalleryLike:
        """Open (or make) a gallery bound to this model: a file, or `milvus://host:19530/name` with or without a copy.

        Raises as `gallery_open.open_gallery` does.
        """
        manifest = self.bundle.manifest
        features = None if manifest.dictionary is None else manifest.dictionary.features
        return open_gallery(
            spec, self.bundle.model_id, manifest.embedding_size, create, features, cache=cache, key=key
        )

    def threshold(
        self,
        value: float | None = None,
        fmr: str | None = None,
        *,
        covered: bool | None = None,
        templates: int | None = None,
    ) -> Threshold:
        """The threshold to decide by: the caller's, else the bundle's; see `choose_threshold`."""
        return choose_threshold(self.bundle, value, fmr, covered=covered, templates=templates)

    def is_covered(self, face: FaceResult) -> bool | None:
        """Whether a face is covered, as far as its threshold goes; None where nothing tells.

        A dictionary model tells by its regions; another one by its covered share, where calibration has shown that
        the share tells.
        """
        if self.masking is not None:
            return bool(face.discarded)
        above = self.bundle.manifest.decision.covered_above
        return None if above is None or face.covered_share is None else face.covered_share > above

    def embed(self, crops: Pixels) -> Embeddings:
        """Embed aligned faces. A dictionary model's embeddings are unmasked, and its features come with them.

        Args:
            crops: (N, H, W, 3) uint8 BGR, of the bundle's input size, aligned onto its template, or box crops.

        Raises:
            InputError: crops of another shape or dtype.
            EngineError: the network failed.
            ArtefactError: the network gave something other than embeddings.
        """
        return embed(self.backend, self.bundle.manifest, crops, f"the {self.precision} model of {self.bundle.source}")

    def analyse(self, image: Picture) -> list[FaceResult]:
        """Find and embed every face of a picture, the most prominent first; an empty list when there is none.

        Raises:
            ImageError: the picture cannot be read.
        """
        pixels = pixels_of(image)
        return self._embed_faces(pixels, self.find(pixels))

    def find(self, pixels: Pixels) -> list[Face]:
        """The faces of a picture, (H, W, 3) uint8 BGR, without embedding them; the most prominent first."""
        with self._lock:
            if self._closed:
                raise InputError(f"the recogniser of {self.bundle.source} is closed: open it again")
            if self._detector is None:
                self._detector = Detector(min_face=self._min_face, threads=self._threads)
            detector = self._detector
        return detector.detect(pixels)

    def _embed_faces(self, pixels: Pixels, faces: Sequence[Face]) -> list[FaceResult]:
        return self.embed_cut(faces, [self.cut(pixels, face) for face in faces], pixels)

    def embed_cut(
        self,
        faces: Sequence[Face],
        cut: Sequence[tuple[Pixels, npt.NDArray[np.float64]]],
        pixels: Pixels | None = None,
    ) -> list[FaceResult]:
        """Embed faces that are cut out already: `cut` of each. Raises as `embed`.

        With `pixels`, the picture they were found in, their quality is measured.
        """
        if not faces:
            return []
        crops = np.stack([crop for crop, _ in cut])
        embeddings = self.embed(crops)
        shares, features, patterns = embeddings.covered_share, embeddings.features, embeddings.patterns
        covers, limits = None, limits_of(self.bundle.manifest)
        usual = is_usual(self.bundle.manifest)
        if self.masking is not None:
            covers = self.masking.look(crops, [points for _, points in cut])
            shares = np.array([cover.share for cover in covers], np.float32)
        return [
            FaceResult(
                box=np.asarray(face.box, np.float32),
                landmarks=np.asarray(face.landmarks, np.float32),
                score=float(face.score),
                embedding=embeddings.vectors[i],
                covered_share=None if shares is None else float(shares[i]),
                covered_part=None if patterns is None else covered_part(patterns[i]),
                discarded=() if covers is None else covers[i].discarded,
                features=None if features is None else features[i],
                quality=None
                if pixels is None
                else measure_quality(
                    pixels, face, None if shares is None else float(shares[i]), limits, crops[i] if usual else None
                ),
            )
            for i, face in enumerate(faces)
        ]

    def cut(self, pixels: Pixels, face: Face) -> tuple[Pixels, npt.NDArray[np.float64]]:
        """The crop the network wants, (H, W, 3) uint8 BGR, and the landmarks in it, (5, 2) pixels.

        Raises:
            FaceError: the landmarks coincide, or the box of a box crop lies outside the picture.
        """
        spec = self.bundle.manifest.input
        size = (spec.height, spec.width)
        if self.bundle.manifest.crop == "box":
            return box_crop(pixels, face.box, face.landmarks, size)
        template = self.bundle.manifest.template
        return align(pixels, face.landmarks, size, template), in_crop(face.landmarks, template)

    def single_face(self, image: Picture, largest: bool = False) -> FaceResult:
        """Find and embed the one face of a picture; with `largest`, the most prominent of several.

        Raises:
            ImageError: the picture cannot be read.
            FaceError: no face, or several and not `largest`.
        """
        pixels = pixels_of(image)
        faces = self.find(pixels)
        where = source_of(image) or "the picture"
        if not faces:
            raise FaceError(f"no face found in {where}: use a picture with a face of {self._min_face} pixels or more")
        if len(faces) > 1 and not largest:
            raise FaceError(f"{len(faces)} faces found in {where}: crop it to one, or give --largest")
        return self._embed_faces(pixels, [largest_central(faces, pixels.shape)])[0]

    def crop(self, image: Picture, face: FaceResult) -> Pixels:
        """The crop a face was embedded from, (H, W, 3) uint8 BGR, cut from its picture again."""
        return self.cut(pixels_of(image), Face(face.box, face.landmarks, face.score))[0]

    def enroll(
        self,
        gallery: GalleryLike,
        name: str,
        images: Sequence[Picture],
        largest: bool = False,
        *,
        keep_crops: Path | None = None,
        accept_poor: bool = False,
        allow_duplicate: bool = False,
    ) -> Enrolment:
        """Add one template a picture to a gallery: all pictures, or none if one of them will not do.

        Args:
            gallery: of this model.
            name: who it is.
            images: the pictures.
            largest: of several faces take the most prominent.
            keep_crops: folder to keep the aligned faces in, for `gallery_migrate`; None keeps none.
            accept_poor: faces of poor quality (see quality.py) as well.
            allow_duplicate: do not look for the same face under other names, which `duplicates` would tell.

        Raises:
            ImageError, FaceError: see `single_face`; FaceError also where a face is of poor quality.
            ArtefactError: the gallery is of another model.
            InputError: the name cannot be used, or the gallery cannot be written.
        """
        self.check_gallery(gallery)
        enrollable(name)
        faces = self.prepare(images, largest, accept_poor)
        return self.add(gallery, name, images, faces, keep_crops=keep_crops, allow_duplicate=allow_duplicate)

    def prepare(
        self, images: Sequence[Picture], largest: bool = False, accept_poor: bool = False
    ) -> list[FaceResult]:
        """The one face of every picture, for `add`; no gallery is needed yet. Raises as `enroll`."""
        faces = []
        for image in images:
            face = self.single_face(image, largest)
            if not accept_poor:
                refuse_poor(face, source_of(image) or "the picture")
            faces.append(face)
        return faces

    def add(
        self,
        gallery: GalleryLike,
        name: str,
        images: Sequence[Picture],
        faces: Sequence[FaceResult],
        *,
        keep_crops: Path | None = None,
        allow_duplicate: bool = False,
    ) -> Enrolment:
        """Add one template a face to a gallery, all or none; `faces` are those of `images`. Else as `enroll`.

        Without a threshold in the bundle nobody is looked for under other names, and `checked` says so.
        """
        check = not allow_duplicate and bool(self.bundle.manifest.thresholds or self.bundle.manifest.decision.fpir)
        limit = self.threshold(templates=self._templates(gallery)) if check else None
        same = () if limit is None else find_duplicates(gallery, name, faces, limit)
        sources = [source_of(image) for image in images]
        features = [face.features for face in faces if face.features is not None]
        embeddings = [face.embedding for face in faces]
        if keep_crops is None:
            ids = gallery.enroll_many(name, embeddings, sources, features or None)
        else:
            from edgeface_runtime.gallery_crop_files import crop_spec, discard, keep

            own = as_file(gallery, "crops are kept for a gallery file")
            cut = [self.crop(image, face) for image, face in zip(images, faces, strict=True)]
            kept = keep(own.path, keep_crops, cut, crop_spec(self.bundle.manifest))
            try:
                ids = own.enroll_many(name, embeddings, sources, features or None, kept)
            except BaseException:
                discard(own.path, kept)
                raise
        return Enrolment(person_name(name), tuple(ids), tuple(sources), tuple(faces), self.describe(), same, check)

    def identify(
        self, image: Picture, gallery: GalleryLike, top: int = 5, threshold: float | None = None
    ) -> ImageResult:
        """Match every face of a picture against a gallery. A picture that cannot be read is an outcome, not an error.

        With a dictionary model a covered face is compared by what is left of it, on both sides; in a gallery too
        large for that (`dictionary_model.MAX_MASKED`) it is not compared, and the outcome is `refused`.

        Args:
            image: a path, the bytes of a file, or (H, W, 3) uint8 BGR.
            gallery: of this model.
            top: how many candidates a face.
            threshold: cosine from which a candidate is a match; None takes the bundle's for what covers the face
                and the size of the gallery (see `choose_threshold`).

        Raises:
            InputError: no threshold is known, or `top` is below 1.
            ArtefactError: the gallery is damaged or of another model.
            ServerError: the gallery's server cannot be reached, and there is no copy.
        """
        self.check_gallery(gallery)
        templates = self._templates(gallery)
        limit = self.threshold(threshold, templates=templates)
        if top < 1:
            raise InputError(f"--top is {top}: give at least 1")
        try:
            found = self.analyse(image)
        except ImageError as exc:
            return ImageResult(source_of(image), "unreadable", str(exc), (), limit, self.describe(), gallery.source())
        faces, refused = self.match(found, gallery, threshold, top, templates=templates)
        limits = [face.threshold for face in faces if face.threshold is not None]
        limit = max(limits, key=lambda own: own.value, default=limit)
        status, message = _outcome(len(faces))
        if refused:
            status, message = "refused", refused
        return ImageResult(source_of(image), status, message, tuple(faces), limit, self.describe(), gallery.source())

    def match(
        self,
        faces: Sequence[FaceResult],
        gallery: GalleryLike,
        threshold: float | None = None,
        top: int = 5,
        *,
        templates: int | None = None,
    ) -> tuple[list[FaceResult], str]:
        """Look embedded faces up in a gallery of this model.

        Args:
            threshold: as in `identify`; None takes the bundle's for what covers each face.
            templates: how many the gallery has, where they were counted already.

        Returns:
            The faces with `candidates`, `match`, `threshold` and `note`; and why covered ones were not compared, if
            so, in one line.

        Raises:
            InputError: no threshold is known.
            ArtefactError: the gallery is damaged.
        """
        matched = []
        refused = ""
        templates = self._templates(gallery) if templates is None else templates
        for face in faces:
            ranked = self._search(gallery, face, top)
            own = self.threshold(threshold, covered=self.is_covered(face), templates=templates)
            best = ranked.candidates[0] if ranked.candidates else None
            name = best.name if best is not None and best.score >= own.value else None
            matched.append(replace(face, candidates=ranked.candidates, match=name, note=ranked.note, threshold=own))
            refused = refused or ranked.refused
        return matched, refused

    def _templates(self, gallery: GalleryLike) -> int | None:
        """How many templates a gallery has, where a threshold depends on it; counting a large one takes time."""
        return gallery.count() if self.bundle.manifest.decision.fpir else None

    def check_gallery(self, gallery: GalleryLike) -> None:
        """Raise ArtefactError unless the gallery is this model's, with its features where it has any."""
        gallery.check_model(self.bundle.model_id)
        entry = self.bundle.manifest.dictionary
        if entry is not None:
            gallery.check_features(entry.features)

    def _search(self, gallery: GalleryLike, face: FaceResult, top: int) -> Ranked:
        if self.masking is None:
            return Ranked(tuple(gallery.search(face.embedding, top)))
        return self.masking.search(gallery, face, top)

    def verify(
        self, a: Picture, b: Picture, threshold: float | None = None, *, largest: bool = False
    ) -> Verification:
        """Whether two pictures show one person. A dictionary model leaves out what is covered on either, on both.

        Raises:
            InputError: no threshold is known.
            ImageError, FaceError: see `single_face`; FaceError also where too little of the faces is left to compare.
        """
        self.threshold(threshold)  # refused before the work
        first, second = self.single_face(a, largest), self.single_face(b, largest)
        limit = self.threshold(threshold, covered=_either(self.is_covered(first), self.is_covered(second)))
        discarded: tuple[str, ...] = ()
        if self.masking is None:
            score = float(np.clip(first.embedding @ second.embedding, -1.0, 1.0))
        else:
            score, discarded = self.masking.score(first, second)
        return Verification(score, score >= limit.value, limit, first, second, self.describe(), discarded)


def _either(one: bool | None, other: bool | None) -> bool | None:
    """Whether one of two faces is covered; None where nothing tells."""
    return None if one is None or other is None else one or other


def _outcome(faces: int) -> tuple[Status, str]:
    if faces == 0:
        return "no_face", "no face found"
    return ("ok", "one face") if faces == 1 else ("several_faces", f"{faces} faces")
