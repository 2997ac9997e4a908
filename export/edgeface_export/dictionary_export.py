"""A dictionary model's parts for a bundle: trunk and head as graphs of their own, the segmenter, and the masks.

trunk.onnx: `input` (N, 3, H, W) float32 RGB in [-1, 1] -> `features` (N, C, h, w), the unmasked top map.
head.onnx: `features` -> `embedding` (N, E) of unit length. Between them a device multiplies by the feature discarding
mask. BN is folded in both as in `recognizer.onnx`, which stays in the bundle: the same network in one piece.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgeface.models import FaceNet
from edgeface.models.digest import check_same_network
from edgeface_calibration.drift import GATES
from edgeface_export.fold import fold
from edgeface_export.graph import BATCH, run_graph, write_graph
from edgeface_export.parity import cosines, to_input
from edgeface_export.variants import MODELS, Part
from edgeface_runtime.dictionary import MaskDictionary
from edgeface_runtime.dictionary_entry import DictionaryEntry
from edgeface_runtime.errors import ArtefactError, GateError, InputError

__all__ = ["TRUNKS", "DictionaryParts", "check_fit", "export_dictionary", "feature_shape", "write_parts"]

Floats = np.ndarray[Any, np.dtype[np.float32]]

TRUNKS = {key: file.replace("recognizer", "trunk") for key, file in MODELS.items()}
HEADS = {key: file.replace("recognizer", "head") for key, file in MODELS.items()}
HALF_GATE = 0.999
"""Lowest cosine between an FP16 part and the network that passes."""
SEGMENTER = "segmenter.onnx"
MASKS = "dictionary.npz"
"""Files in the bundle; trunk and head by precision."""


@dataclass(frozen=True)
class DictionaryParts:
    """What a dictionary model has beside its network."""

    masks: MaskDictionary
    write_segmenter: Callable[[Path, np.ndarray], Mapping[str, Any]]
    """Writes the segmenter's ONNX file (`input` (N, 3, H, W) -> `covered` (N, 1, H, W), probabilities), compares it
    on faces (N, H, W, 3) uint8 BGR, and returns what the manifest says of that."""
    segmenter_size: tuple[int, int]
    """Height and width of what the segmenter eats."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """What the manifest says of the segmenter."""


def feature_shape(model: FaceNet) -> tuple[int, int, int]:
    """(C, h, w) of the network's top map."""
    with torch.no_grad():
        top = fold(model).model.top_map(torch.zeros(1, 3, *model.spec.input_size))
    return int(top.shape[1]), int(top.shape[2]), int(top.shape[3])


def check_fit(model: FaceNet, parts: DictionaryParts) -> tuple[int, int, int]:
    """(C, h, w) of the features, if dictionary and segmenter fit the network.

    Raises:
        InputError: they do not, or the network has a mask of its own.
    """
    spec, masks = model.spec, parts.masks
    if spec.mask is not None:
        raise InputError("--dictionary: the network has a mask of its own: give the checkpoint the dictionary is of")
    if masks.input_size != tuple(spec.input_size):
        raise InputError(
            f"--dictionary is for faces of {_by(masks.input_size)}, the network takes {_by(spec.input_size)}"
        )
    if parts.segmenter_size != tuple(spec.input_size):
        raise InputError(
            f"--segmenter is for faces of {_by(parts.segmenter_size)}, the network takes {_by(spec.input_size)}"
        )
    features = feature_shape(model)
    if masks.masks.shape[1:] != features:
        raise InputError(
            f"--dictionary masks features of {_by(masks.masks.shape[1:])}, the network has {_by(features)}: "
            "give the checkpoint the dictionary is of"
        )
    check_same_network(masks, model, "--dictionary")
    return features


def write_parts(model: FaceNet, folder: Path, opset: int) -> tuple[Part, Part]:
    """Write trunk and head as FP32 graphs into `folder`, for `write_variants` to make the other precisions of.

    Their nodes are named as in `recognizer.onnx`, so what was measured there holds for them.
    """
    net, shape = fold(model).model, feature_shape(model)
    trunk, head = folder / TRUNKS["fp32"], folder / HEADS["fp32"]
    crop, top = torch.zeros(2, 3, *model.spec.input_size), torch.zeros(2, *shape)
    write_graph(_Trunk(net).eval(), crop, trunk, f"{model.spec.name} trunk", ("features",), opset)
    write_graph(_Head(net).eval(), top, head, f"{model.spec.name} head", ("embedding",), opset, given="features")
    return Part(trunk, TRUNKS), Part(head, HEADS)


def export_dictionary(
    model: FaceNet, folder: Path, parts: DictionaryParts, faces: np.ndarray, keys: Sequence[str], gate: float
) -> dict[str, Any]:
    """Compare trunk and head in `folder` with the network, write the other parts beside them, and return the
    manifest's `dictionary` field.

    Args:
        faces: (N, H, W, 3) uint8 BGR.
        keys: of the models there are, such as fp32 and int8-cpu.
        gate: lowest cosine that passes at fp32; HALF_GATE, if lower, at fp16; INT8 must reach its mean cosine.

    Raises:
        InputError: see `check_fit`.
        GateError: trunk, head or the whole with masks differ from the network.
        ArtefactError: the segmenter's graph does not give what it should.
    """
    shape = check_fit(model, parts)
    parity = {key: _parity(model, folder, key, parts.masks, faces, gate) for key in keys}
    compared = parts.write_segmenter(folder / SEGMENTER, faces)
    _check_segmenter(folder / SEGMENTER, faces)
    parts.masks.save(folder / MASKS)
    entry = DictionaryEntry(
        {key: TRUNKS[key] for key in keys},
        {key: HEADS[key] for key in keys},
        SEGMENTER,
        MASKS,
        shape,
    )
    masks = parts.masks
    return {
        "kind": masks.kind,
        "per_face": masks.per_face,
        "regions": [
            {"name": region.name, "box": list(region.box), "kept": round(float(mask.mean()), 4)}
            for region, mask in zip(masks.regions, masks.masks, strict=True)
        ],
        "features": list(shape),
        "tau": masks.extra.get("tau"),
        "discarded": masks.discarded,
        "files": entry.files(),
        "parity": parity,
        "segmenter": {**parts.notes, **compared},
    }


class _Trunk(nn.Module):
    def __init__(self, net: FaceNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        return self.net.top_map(x)


class _Head(nn.Module):
    def __init__(self, net: FaceNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, features: Tensor) -> Tensor:
        embedding = self.net.head(features)
        return embedding / torch.linalg.vector_norm(embedding, dim=1, keepdim=True).clamp_min(1e-12)


def _parity(
    model: FaceNet, folder: Path, key: str, masks: MaskDictionary, faces: np.ndarray, gate: float
) -> dict[str, float]:
    """Cosines of trunk, head, and both with each region's mask in between, against the network's own."""
    trunk, head = folder / TRUNKS[key], folder / HEADS[key]
    wanted = _torch(model.top_map, to_input(faces), model)
    found = run_graph(trunk, to_input(faces), "features")
    cosine = {
        "trunk": cosines(wanted.reshape(len(faces), -1), found.reshape(len(faces), -1)),
        "head": _heads(model, head, wanted, wanted),
        "masked": np.concatenate([_heads(model, head, wanted * mask, found * mask) for mask in masks.masks]),
    }
    precision = key.removesuffix("-cpu")
    for part, values in cosine.items():
        if precision.startswith("int8"):
            passed, reached, asked = "on average", values.mean(), GATES[precision].cosine_mean
        else:
            passed, reached, asked = "at least", values.min(), min(gate, HALF_GATE) if precision == "fp16" else gate
        if not reached >= asked:
            raise GateError(
                f"the {key} {part} features differ from the network's: cosine {reached:.6f} {passed} is below {asked}"
            )
    return {f"{part}_cosine_min": float(values.min()) for part, values in cosine.items()}


def _heads(model: FaceNet, head: Path, wanted: Floats, found: Floats) -> np.ndarray:
    """Cosines of the network's head on one and the graph's on the other."""
    return cosines(_torch(model.head, wanted, model), run_graph(head, found, "embedding", given="features"))


def _torch(run: Callable[[Tensor], Tensor], rows: Floats, model: FaceNet) -> Floats:
    """`run` on rows, a batch at a time, in evaluation mode, on the network's device."""
    device = next(model.parameters()).device
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            batches = [torch.from_numpy(rows[start : start + BATCH]) for start in range(0, len(rows), BATCH)]
            return np.concatenate([run(batch.float().to(device)).float().cpu().numpy() for batch in batches])
    finally:
        model.train(training)


def _check_segmenter(path: Path, faces: np.ndarray) -> None:
    covered = run_graph(path, to_input(faces), "covered")
    shape = (len(faces), 1, *faces.shape[1:3])
    if covered.shape != shape or not np.isfinite(covered).all() or covered.min() < 0 or covered.max() > 1:
        raise ArtefactError(f"{path.name} gives {covered.shape}, not probabilities of shape {shape}: train it again")


def _by(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))
