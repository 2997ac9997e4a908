"""Does the exported graph give what the network gives? Compared on real pictures, with a gate.

ONNX Runtime's CPU provider runs the graph. For an FP16 graph it computes in FP32, so this checks the rounded weights
and the graph, not FP16 arithmetic: see judge.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray

from edgeface.models import FaceNet
from edgeface_calibration.drift import cosines
from edgeface_export.graph import BATCH, open_session
from edgeface_export.half_weights import expand_half
from edgeface_runtime.embedding import to_batch
from edgeface_runtime.errors import ArtefactError, EdgefaceError, GateError, InputError
from edgeface_runtime.files import require_file
from edgeface_runtime.manifest import InputSpec

__all__ = [
    "GATE",
    "Parity",
    "batches_of",
    "compare",
    "cosines",
    "embed_onnx",
    "embed_torch",
    "load_graph",
    "to_input",
]

GATE = 0.9999
"""Lowest cosine between the network's embedding and the graph's that passes."""

Floats = NDArray[np.float32]
Told = Callable[[int, int], None]
Outputs = tuple[Floats, "Floats | None"]
"""Embeddings (N, E), and covered shares (N,) where there is a mask."""


@dataclass(frozen=True)
class Parity:
    """How near the graph is to the network."""

    cosine_min: float
    cosine_mean: float
    covered_share_max_difference: float | None
    """Largest absolute difference, None without a mask."""
    faces: int

    def to_dict(self) -> dict[str, Any]:
        """What a manifest records."""
        return {"cosine_min": self.cosine_min, "cosine_mean": self.cosine_mean, "faces": self.faces}


def compare(model: FaceNet, graph: Path, faces: np.ndarray, gate: float = GATE) -> Parity:
    """Compare `model` and the ONNX file `graph` on `faces` (N, H, W, 3) uint8 BGR.

    Raises:
        GateError: the lowest cosine is below `gate`, or not a number; the message holds the figures.
        InputError: no faces, or of the wrong shape.
        ArtefactError: the graph does not load, or lacks an output.
    """
    reference, share = embed_torch(model, faces)
    embedding, graph_share = embed_onnx(graph, faces)
    if (share is None) != (graph_share is None):
        found = "no" if graph_share is None else "a"
        raise ArtefactError(f"{graph}: has {found} covered_share, which the network's mask contradicts")
    values = cosines(reference, embedding)
    difference = None
    if share is not None and graph_share is not None:
        difference = float(np.abs(share - graph_share).max())
    parity = Parity(float(values.min()), float(values.mean()), difference, len(faces))
    if not parity.cosine_min >= gate:
        raise GateError(
            f"{graph.name} differs from the network: cosine {parity.cosine_min:.6f} at least, "
            f"{parity.cosine_mean:.6f} on average over {parity.faces} faces, below the gate {gate}"
        )
    return parity


def to_input(faces: np.ndarray, spec: InputSpec | None = None) -> Floats:
    """The runtime's own input of (N, H, W, 3) uint8 BGR faces: (N, 3, H, W) float32, as `spec` says.

    None is this project's own networks: RGB in [-1, 1], of the faces' size.

    Raises:
        InputError: no faces, or of another shape or type.
    """
    if faces.ndim != 4 or len(faces) == 0:
        raise InputError(f"faces must be (N, H, W, 3) uint8 BGR with N >= 1, got {faces.shape} {faces.dtype}")
    return to_batch(faces, spec or InputSpec(height=faces.shape[1], width=faces.shape[2]))


def embed_torch(model: FaceNet, faces: np.ndarray) -> Outputs:
    """Unit embeddings and covered shares of the network itself, on its own device, in evaluation mode."""
    device = next(model.parameters()).device
    training = model.training
    embeddings, shares = [], []
    model.eval()
    try:
        with torch.no_grad():
            for start in range(0, len(faces), BATCH):
                batch = torch.from_numpy(to_input(faces[start : start + BATCH])).to(device)
                found = model.forward_masked(batch)
                embeddings.append(torch.nn.functional.normalize(found.embedding.float(), dim=1).cpu().numpy())
                if found.mask is not None:
                    shares.append((1.0 - found.mask.float().flatten(1).mean(dim=1)).cpu().numpy())
    finally:
        model.train(training)
    if not embeddings:
        raise InputError("no faces to compare on")
    return np.concatenate(embeddings), np.concatenate(shares) if shares else None


def batches_of(
    faces: np.ndarray, spec: InputSpec | None = None, step: int = BATCH, progress: Told = lambda done, total: None
) -> Iterator[Floats]:
    """The network's input (see `to_input`) of (N, H, W, 3) uint8 BGR faces, `step` at a time.

    `progress` is called after each that was used, with faces done and all of them.
    """
    for start in range(0, len(faces), step):
        yield to_input(faces[start : start + step], spec)
        progress(min(start + step, len(faces)), len(faces))


def embed_onnx(
    graph: Path,
    faces: np.ndarray,
    spec: InputSpec | None = None,
    optimise: bool = True,
    progress: Told = lambda done, total: None,
) -> Outputs:
    """The same from the ONNX file, on ONNX Runtime's CPU provider; without `optimise` operator by operator.

    `spec` is as in `to_input`, `progress` as in `batches_of`.

    Raises:
        ArtefactError: it does not load.
        MissingExtraError: onnxruntime is not installed.
    """
    try:
        session = open_session(graph, optimise)
    except EdgefaceError:
        raise
    except Exception as exc:
        raise ArtefactError(f"{graph}: ONNX Runtime cannot load it ({_first_line(exc)})") from exc
    names = [output.name for output in session.get_outputs()]
    if "embedding" not in names:
        raise ArtefactError(f"{graph}: has no output named embedding, but {', '.join(names)}")
    given = batches_of(faces, spec, progress=progress)
    batches = [dict(zip(names, session.run(None, {"input": batch}), strict=True)) for batch in given]
    share = np.concatenate([batch["covered_share"] for batch in batches]) if "covered_share" in names else None
    return np.concatenate([batch["embedding"] for batch in batches]), share


def load_graph(path: Path) -> onnx.ModelProto:
    """Read an ONNX file, weights stored as FP16 made FP32 again.

    Raises:
        InputError: it is missing.
        ArtefactError: it is not an ONNX graph.
    """
    require_file(path, "ONNX file")
    try:
        proto = onnx.load(str(path), load_external_data=False)
        onnx.checker.check_model(proto)
    except (DecodeError, onnx.checker.ValidationError) as exc:
        raise ArtefactError(f"{path} is not a readable ONNX graph ({_first_line(exc)}): export it again") from exc
    return expand_half(proto)


def _first_line(exc: BaseException) -> str:
    return (str(exc).strip().splitlines() or [type(exc).__name__])[0].strip()
