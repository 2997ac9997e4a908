"""From aligned faces to embeddings: the network's input as its bundle describes it, and its outputs checked."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from edgeface_runtime.backends import Backend
from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.manifest import InputSpec, Manifest
from edgeface_runtime.results import Embeddings

__all__ = ["embed", "to_batch", "to_half", "unit_rows"]

Floats = npt.NDArray[np.float32]
Halves = npt.NDArray[np.float16]
Pixels = npt.NDArray[np.uint8]

MAX_BATCH = 64
"""Faces given to the backend at once: bounds memory whatever the caller asks for."""
MAX_HALF = 65504.0
"""Largest finite float16."""


def to_batch(crops: Pixels, spec: InputSpec) -> Floats:
    """The network's input.

    Args:
        crops: (N, H, W, 3) uint8 BGR, aligned.
        spec: what the network eats.

    Returns:
        (N, 3, H, W) float32, (pixel - mean) / std, in the colour order of `spec`.

    Raises:
        InputError: crops of another shape or dtype.
    """
    if crops.ndim != 4 or crops.shape[1:] != (spec.height, spec.width, 3) or crops.dtype != np.uint8:
        raise InputError(
            f"aligned faces must be (N, {spec.height}, {spec.width}, 3) uint8 BGR, not {crops.shape} {crops.dtype}"
        )
    ordered = crops[..., ::-1] if spec.color == "RGB" else crops
    batch = np.ascontiguousarray(ordered.transpose(0, 3, 1, 2), dtype=np.float32)
    batch -= np.float32(spec.mean)
    batch /= np.float32(spec.std)
    return batch


def embed(backend: Backend, manifest: Manifest, crops: Pixels, model: str) -> Embeddings:
    """Embed aligned faces, at most MAX_BATCH at a time.

    Args:
        backend: the recogniser, loaded.
        manifest: of its bundle.
        crops: (N, H, W, 3) uint8 BGR; N may be 0.
        model: what to call the model in messages.

    Raises:
        InputError: crops of another shape or dtype.
        EngineError: the network failed.
        ArtefactError: the network gave something other than finite embeddings (FP16 may overflow).
    """
    vectors = [np.empty((0, manifest.embedding_size), np.float32)]
    shares = [np.empty(0, np.float32)] if "covered_share" in manifest.outputs else []
    patterns: list[Floats] = []
    entry = manifest.dictionary
    features = [] if entry is None else [np.empty((0, *entry.features), np.float16)]
    if not len(crops):
        to_batch(crops, manifest.input)
    for start in range(0, len(crops), MAX_BATCH):
        batch = to_batch(crops[start : start + MAX_BATCH], manifest.input)
        outputs = backend.run(batch)
        rows = _output(outputs, "embedding", (len(batch), manifest.embedding_size), model)
        vectors.append(unit_rows(rows, model))
        if shares:
            shares.append(_output(outputs, "covered_share", (len(batch),), model))
        if "pattern" in manifest.outputs:
            found = outputs.get("pattern")
            classes = found.shape[-1] if found is not None and found.ndim == 2 else 0
            patterns.append(_output(outputs, "pattern", (len(batch), classes), model))
        if entry is not None:
            maps = _output(outputs, "features", (len(batch), *entry.features), model)
            features.append(to_half(maps, model))
    return Embeddings(
        np.concatenate(vectors),
        np.concatenate(shares) if shares else None,
        np.concatenate(features) if features else None,
        np.concatenate(patterns) if patterns else None,
    )


def _output(outputs: dict[str, Floats], name: str, shape: tuple[int, ...], model: str) -> Floats:
    value = outputs.get(name)
    if value is None or value.shape != shape or not np.isfinite(value).all():
        raise ArtefactError(
            f"{model} gave no finite {name} of shape {shape}: use --precision fp32, or export it again"
        )
    return value


def to_half(features: Floats, model: str) -> Halves:
    """Features as a gallery keeps them, float16.

    Raises:
        ArtefactError: one of them is beyond float16's range (65504).
    """
    if np.abs(features).max(initial=0.0) > MAX_HALF:
        raise ArtefactError(f"{model} gave features beyond what a gallery keeps (65504): train it further")
    return features.astype(np.float16)


def unit_rows(vectors: Floats, model: str) -> Floats:
    """Unit length again: in low precision the rows leave the graph a little off it.

    Raises:
        ArtefactError: a row is zero.
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if (lengths < 1e-12).any():
        raise ArtefactError(f"{model} gave a zero embedding: export it again")
    return np.asarray(vectors / lengths, np.float32)
