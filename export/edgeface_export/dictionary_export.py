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
from edgeface_export.fold import fold
from edgeface_export.graph import BATCH, run_graph, write_graph
from edgeface_export.parity import cosines, to_input
from edgeface_export.precision import to_fp16
from edgeface_runtime.dictionary import MaskDictionary
from edgeface_runtime.dictionary_entry import DictionaryEntry
from edgeface_runtime.errors import ArtefactError, GateError, InputError

__all__ = ["TRUNKS", "DictionaryParts", "check_fit", "export_dictionary", "feature_shape"]

Floats = np.ndarray[Any, np.dtype[np.float32]]

TRUNKS = {"fp32": "trunk.onnx", "fp16": "trunk.fp16.onnx"}
HEADS = {"fp32": "head.onnx", "fp16": "head.fp16.onnx"}
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


def export_dictionary(
    model: FaceNet,
    folder: Path,
    parts: DictionaryParts,
    faces: np.ndarray,
    precisions: Sequence[str],
    opset: int,
    gate: float,
) -> dict[str, Any]:
    """Write the parts into `folder`, compare them with the network, and return the manifest's `dictionary` field.

    Args:
        faces: (N, H, W, 3) uint8 BGR.
        precisions: fp32, and fp16 beside it.
        gate: lowest cosine that passes at fp32; HALF_GATE, if lower, at fp16.

    Raises:
        InputError: see `check_fit`.
        GateError: trunk, head or the whole with masks differ from the network.
        ArtefactError: the segmenter's graph does not give what it should.
    """
    shape = check_fit(model, parts)
    net = fold(model).model
    trunk, head = folder / TRUNKS["fp32"], folder / HEADS["fp32"]
    crop, top = torch.zeros(2, 3, *model.spec.input_size), torch.zeros(2, *shape)
    write_graph(_Trunk(net).eval(), crop, trunk, f"{model.spec.name} trunk", ("features",), opset)
    write_graph(_Head(net).eval(), top, head, f"{model.spec.name} head", ("embedding",), opset, given="features")
    if "fp16" in precisions:
        to_fp16(trunk, folder / TRUNKS["fp16"])
        to_fp16(head, folder / HEADS["fp16"])
    gates = {"fp32": gate, "fp16": min(gate, HALF_GATE)}
    parity = {
        precision: _parity(model, folder, precision, parts.masks, faces, gates[precision]) for precision in precisions
    }
    compared = parts.write_segmenter(folder / SEGMENTER, faces)
    _check_segmenter(folder / SEGMENTER, faces)
    parts.masks.save(folder / MASKS)
    entry = DictionaryEntry(
        {precision: TRUNKS[precision] for precision in precisions},
        {precision: HEADS[precision] for precision in precisions},
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
    model: FaceNet, folder: Path, precision: str, masks: MaskDictionary, faces: np.ndarray, gate: float
) -> dict[str, float]:
    """Lowest cosines of trunk, head, and both with each region's mask in between, against the network's own."""
    trunk, head = folder / TRUNKS[precision], folder / HEADS[precision]
    wanted = _torch(model.top_map, to_input(faces), model)
    found = run_graph(trunk, to_input(faces), "features")
    lowest = {
        "trunk": cosines(wanted.reshape(len(faces), -1), found.reshape(len(faces), -1)).min(),
        "head": _lowest(model, head, wanted, wanted),
        "masked": min(_lowest(model, head, wanted * mask, found * mask) for mask in masks.masks),
    }
    for part, value in lowest.items():
        if not value >= gate:
            raise GateError(
                f"the {precision} {part} features differ from the network's: cosine {value:.6f} is below {gate}"
            )
    return {f"{part}_cosine_min": float(value) for part, value in lowest.items()}


def _lowest(model: FaceNet, head: Path, wanted: Floats, found: Floats) -> float:
    """Lowest cosine of the network's head on one and the graph's on the other."""
    reference = _torch(model.head, wanted, model)
    return float(cosines(reference, run_graph(head, found, "embedding", given="features")).min())


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
