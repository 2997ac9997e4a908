"""Opening whatever is to be judged: a checkpoint or a bundle, with or without a mask dictionary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeface.evaluation.embedder import open_embedder, refuse_unsigned
from edgeface.evaluation.masked import DictionaryMatcher, Parts, exact_look, segmented_look
from edgeface.evaluation.matching import Covered, Matcher, PlainMatcher
from edgeface.evaluation.pictures import Shot
from edgeface_runtime.dictionary import load_dictionary
from edgeface_runtime.embedding import to_batch
from edgeface_runtime.errors import InputError
from edgeface_runtime.manifest import InputSpec, read_manifest

if TYPE_CHECKING:
    from edgeface.models import FaceNet
    from edgeface_runtime.engine_open import EngineBuilder
    from edgeface_runtime.recognizer import Recognizer

__all__ = ["EXACT", "open_matcher", "open_segmenter", "torch_parts"]

EXACT = "exact"
"""In place of a segmenter: what the test's occluder hides."""

Faces = NDArray[np.uint8]


@contextmanager
def open_matcher(
    path: Path,
    *,
    dictionary: Path | None = None,
    segmenter: Path | None = None,
    discarded: str | None = None,
    backend: str = "onnxruntime",
    precision: str = "auto",
    device: str = "auto",
    threads: int = 0,
    builder: EngineBuilder | None = None,
    require_signature: Path | None = None,
) -> Iterator[Matcher]:
    """A checkpoint (`.safetensors`), by itself or with a dictionary and a segmenter; or a bundle, which has its own.

    Args:
        dictionary: what `edgeface train --stage dictionary` made on this network.
        segmenter: its file, or `exact`; needed with a dictionary.
        discarded: what a discarded feature becomes (DISCARDED); None: as the dictionary says.
        builder: see `open_embedder`, as for `require_signature`.

    Raises:
        InputError: it is neither, is damaged, or dictionary and network do not go together.
        DeviceError: the device is not there.
    """
    if (dictionary is None) != (segmenter is None):
        raise InputError("--dictionary and --segmenter (a file, or exact) belong together: give both")
    if path.suffix == ".safetensors" and dictionary is not None and segmenter is not None:
        refuse_unsigned(path, require_signature)
        yield _checkpoint_matcher(path, dictionary, segmenter, discarded, device, threads)
        return
    if dictionary is not None:
        raise InputError(f"--dictionary belongs to a checkpoint; a bundle such as {path} carries its own")
    if path.suffix not in (".safetensors", ".pth", ".pt", ".ckpt", ".bin") and _has_dictionary(path):
        from edgeface_runtime.recognizer import Recognizer

        with Recognizer.from_bundle(
            path, backend, precision, device, threads, builder=builder, require_signature=require_signature
        ) as recognizer:
            yield _bundle_matcher(recognizer)
        return
    with open_embedder(
        path,
        backend=backend,
        precision=precision,
        device=device,
        threads=threads,
        builder=builder,
        require_signature=require_signature,
    ) as embedder:
        yield PlainMatcher(embedder)


def torch_parts(model: FaceNet, device: str = "cpu") -> Parts:
    """A network in evaluation mode, cut at its top map.

    Raises:
        InputError: it has a mask of its own.
    """
    import torch

    if model.spec.mask is not None:
        raise InputError("--dictionary belongs to a network without a mask of its own: this one has a decoder")
    model = model.eval().to(device)
    size = model.spec.input_size

    def features(faces: Faces) -> NDArray[np.float32]:
        batch = torch.from_numpy(to_batch(faces, InputSpec(*size))).to(device)
        with torch.inference_mode():
            found: NDArray[np.float32] = model.top_map(batch).float().cpu().numpy()
        return found

    def head(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode():
            out = model.head(torch.from_numpy(np.ascontiguousarray(rows)).to(device)).float()
            found: NDArray[np.float32] = torch.nn.functional.normalize(out, dim=1).cpu().numpy()
        return found

    return Parts(features, head, {"backend": "torch", "version": str(torch.__version__), "device": device})


def open_segmenter(path: Path, device: str = "cpu") -> tuple[Callable[[Faces], NDArray[np.bool_]], tuple[int, int]]:
    """A segmenter's file as a function, faces (N, H, W, 3) uint8 BGR -> (N, H, W) covered, and its (H, W).

    Raises:
        InputError: missing.
        ArtefactError: damaged or foreign.
    """
    from edgeface.models.segmenter import load_segmenter
    from edgeface.segmentation.predict import predict

    model = load_segmenter(path).eval().to(device)
    return lambda faces: predict(model, faces) > 0.5, model.input_size


def _checkpoint_matcher(
    path: Path, dictionary: Path, segmenter: Path, discarded: str | None, device: str, threads: int
) -> Matcher:
    from edgeface.models import load_checkpoint
    from edgeface.models.digest import check_same_network
    from edgeface.training.device import choose_device, prepare_cpu

    prepare_cpu(threads)
    masks = load_dictionary(dictionary)
    if discarded is not None:
        try:
            masks = replace(masks, discarded=discarded)
        except ValueError as exc:
            raise InputError(f"{dictionary}: {exc}") from exc
    place = str(choose_device(device, 0))
    model = load_checkpoint(path).model
    if model.spec.input_size != masks.input_size:
        raise InputError(f"{dictionary} is for faces of {masks.input_size}, {path} takes {model.spec.input_size}")
    check_same_network(masks, model, str(dictionary))
    parts = torch_parts(model, place)
    if str(segmenter) == EXACT:
        return DictionaryMatcher(masks, parts, exact_look(masks), "the test's own occluders")
    segment, size = open_segmenter(segmenter, place)
    if size != masks.input_size:
        raise InputError(f"{segmenter} is for faces of {size}, {path} takes {masks.input_size}")
    return DictionaryMatcher(masks, parts, segmented_look(masks, segment), f"segmenter {segmenter.name}")


def _has_dictionary(path: Path) -> bool:
    if not (path / "manifest.json").is_file():
        return path.suffix == ".tar" and _tar_has_dictionary(path)
    return read_manifest(path).dictionary is not None


def _tar_has_dictionary(path: Path) -> bool:
    from edgeface_runtime.bundle import open_bundle

    return open_bundle(path).manifest.dictionary is not None


def _bundle_matcher(recognizer: Recognizer) -> Matcher:
    masking = recognizer.masking
    assert masking is not None
    masks = masking.dictionary
    keep = np.ones(masks.masks.shape[1:], np.bool_)

    def features(faces: Faces) -> NDArray[np.float32]:
        found = recognizer.embed(faces).features
        assert found is not None
        return np.asarray(found, np.float32)

    def head(rows: NDArray[np.float32]) -> NDArray[np.float32]:
        return masking.embed(rows, keep)  # masked already

    def look(shots: Sequence[Shot]) -> list[Covered]:
        points: list[Any] = [shot.landmarks for shot in shots]  # None: regions of the mean face
        covers = masking.look(np.stack([shot.crop for shot in shots]), points)
        return [tuple(name in cover.discarded for name in masks.names) for cover in covers]

    return DictionaryMatcher(masks, Parts(features, head, recognizer.describe()), look, "the bundle's segmenter")
