"""One way to embed faces, whatever is judged: a PyTorch checkpoint, or a bundle on the device runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeface.data.template import Points
from edgeface_runtime.align import CROP_SIZE
from edgeface_runtime.backends.allow_cpu import Placed
from edgeface_runtime.embedding import to_batch
from edgeface_runtime.errors import DeviceError, InputError
from edgeface_runtime.manifest import InputSpec
from edgeface_runtime.signature import required_key

if TYPE_CHECKING:
    from edgeface.models import FaceNet
    from edgeface_runtime.engine_open import EngineBuilder

__all__ = [
    "Embedder",
    "checkpoint_embedder",
    "open_embedder",
    "place_torch",
    "refuse_unsigned",
    "torch_embedder",
    "torch_facts",
]

Faces = NDArray[np.uint8]
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Embedder:
    """Faces (N, H, W, 3) uint8 BGR -> unit embeddings (N, 512) float32."""

    run: Callable[[Faces], Vectors]
    describe: dict[str, Any]
    """What runs it, for the report."""
    close: Callable[[], None] = field(default=lambda: None)
    size: tuple[int, int] = CROP_SIZE
    """Height and width of the faces it takes."""
    template: Points | None = None
    """Where the five points of its aligned faces lie, pixels; None: it is no bundle of aligned faces."""
    shares: Callable[[Faces], Vectors] | None = None
    """Faces -> (N,) covered share in [0, 1]: what the network's mask discards, or what the bundle's segmenter sees;
    None where nothing looks."""

    def __enter__(self) -> Embedder:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


def torch_embedder(model: FaceNet, device: str = "cpu") -> Embedder:
    """Embed with a network in evaluation mode, FP32."""
    import torch

    model = model.eval().to(device)
    size = model.spec.input_size

    def run(faces: Faces) -> Vectors:
        batch = torch.from_numpy(to_batch(faces, InputSpec(*size))).to(device)
        with torch.inference_mode():
            found: Vectors = torch.nn.functional.normalize(model(batch).float(), dim=1).cpu().numpy()
        return found

    def shares(faces: Faces) -> Vectors:
        batch = torch.from_numpy(to_batch(faces, InputSpec(*size))).to(device)
        with torch.inference_mode():
            mask = model.forward_masked(batch).mask
        assert mask is not None
        found: Vectors = (1 - mask.float()).flatten(1).mean(1).cpu().numpy()
        return found

    return Embedder(run, torch_facts(device), size=size, shares=shares if model.spec.mask else None)


def torch_facts(device: str) -> dict[str, Any]:
    """What really runs, where PyTorch does: the same fields as a backend's."""
    import torch

    facts = {"backend": "torch", "provider": device.split(":")[0], "device": device, "precision": "fp32"}
    return {**facts, "version": str(torch.__version__), "fallback": None}


def place_torch(device: str, allow_cpu: bool = False) -> Placed:
    """Where PyTorch runs: as asked, or with `allow_cpu` and no GPU on the CPU.

    Raises:
        DeviceError: a GPU is asked for and there is none, and the CPU is not allowed.
    """
    from edgeface.training.device import choose_device

    try:
        return Placed("torch", str(choose_device(device, 0)))
    except DeviceError as exc:
        if not allow_cpu:
            raise
        return Placed("torch", "cpu", f"torch on {device}", str(exc))


def checkpoint_embedder(path: Path, device: str = "auto", threads: int = 0, allow_cpu: bool = False) -> Embedder:
    """Embed with a checkpoint; raises as `load_checkpoint`, DeviceError if the device is not there."""
    from edgeface.models import load_checkpoint
    from edgeface.training.device import prepare_cpu

    prepare_cpu(threads)
    placed = place_torch(device, allow_cpu)
    embedder = torch_embedder(load_checkpoint(path).model, placed.device)
    return replace(embedder, describe={**embedder.describe, **placed.facts()})


def refuse_unsigned(checkpoint: Path, require_signature: Path | None) -> None:
    """Raise InputError where a signature is required: a checkpoint carries none."""
    if (key := required_key(require_signature)) is not None:
        raise InputError(f"{checkpoint} is a checkpoint, which carries no signature by {key}: evaluate its bundle")


def open_embedder(
    path: Path,
    *,
    backend: str = "onnxruntime",
    precision: str = "auto",
    device: str = "auto",
    threads: int = 0,
    allow_cpu: bool = False,
    builder: EngineBuilder | None = None,
    require_signature: Path | None = None,
) -> Embedder:
    """A checkpoint (`.safetensors`) or a bundle (folder or `.tar`).

    Args:
        allow_cpu: the CPU will do where a GPU is asked for and none is there; `describe` then says so.
        builder: builds an engine for a bundle where none fits; None refuses.
        require_signature: public key that must have signed a bundle; see `Recognizer.from_bundle`.

    Raises:
        InputError: it is neither, is damaged, or a signature is required, which a checkpoint has not.
        DeviceError: the device is not there.
    """
    if path.suffix in (".safetensors", ".pth", ".pt", ".ckpt", ".bin"):
        refuse_unsigned(path, require_signature)
        return checkpoint_embedder(path, device, threads, allow_cpu)
    if path.suffix == ".npz":
        raise InputError(
            f"{path} is no network: give a checkpoint or a bundle; a dictionary is given as --dictionary"
        )
    if not path.exists() and str(path) != "default":
        raise InputError(f"no checkpoint or bundle at {path}")
    from edgeface_runtime.recognizer import Recognizer

    recognizer = Recognizer.from_bundle(
        path,
        backend,
        precision,
        device,
        threads,
        allow_cpu=allow_cpu,
        builder=builder,
        require_signature=require_signature,
    )

    def shares(faces: Faces) -> Vectors:
        if recognizer.masking is not None:
            return np.array([cover.share for cover in recognizer.masking.look(faces)], np.float32)
        found = recognizer.embed(faces).covered_share
        assert found is not None
        return found

    manifest = recognizer.bundle.manifest
    template = manifest.template if manifest.crop == "aligned" else None
    sees = recognizer.masking is not None or "covered_share" in manifest.outputs
    return Embedder(
        lambda faces: recognizer.embed(faces).vectors,
        recognizer.describe(),
        recognizer.close,
        (manifest.input.height, manifest.input.width),
        template,
        shares if sees else None,
    )
