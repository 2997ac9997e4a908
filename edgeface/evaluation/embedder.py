"""One way to embed aligned faces, whatever is judged: a PyTorch checkpoint, or a bundle on the device runtime."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeface_runtime.embedding import to_batch
from edgeface_runtime.errors import InputError
from edgeface_runtime.manifest import InputSpec

if TYPE_CHECKING:
    from edgeface.models import FaceNet

__all__ = ["Embedder", "checkpoint_embedder", "open_embedder", "torch_embedder"]

Faces = NDArray[np.uint8]
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Embedder:
    """Aligned faces (N, 112, 96, 3) uint8 BGR -> unit embeddings (N, 512) float32."""

    run: Callable[[Faces], Vectors]
    describe: dict[str, Any]
    """What runs it, for the report."""
    close: Callable[[], None] = field(default=lambda: None)

    def __enter__(self) -> Embedder:
        return self

    def __exit__(self, *details: object) -> None:
        self.close()


def torch_embedder(model: FaceNet, device: str = "cpu") -> Embedder:
    """Embed with a network in evaluation mode, FP32."""
    import torch

    model = model.eval().to(device)

    def run(faces: Faces) -> Vectors:
        batch = torch.from_numpy(to_batch(faces, InputSpec())).to(device)
        with torch.inference_mode():
            found: Vectors = torch.nn.functional.normalize(model(batch).float(), dim=1).cpu().numpy()
        return found

    return Embedder(run, {"backend": "torch", "version": str(torch.__version__), "device": device})


def checkpoint_embedder(path: Path, device: str = "auto") -> Embedder:
    """Embed with a checkpoint; raises as `load_checkpoint`, DeviceError if the device is not there."""
    from edgeface.models import load_checkpoint
    from edgeface.training.device import choose_device

    return torch_embedder(load_checkpoint(path).model, str(choose_device(device, 0)))


def open_embedder(
    path: Path, *, backend: str = "onnxruntime", precision: str = "auto", device: str = "auto", threads: int = 0
) -> Embedder:
    """A checkpoint (`.safetensors`) or a bundle (folder or `.tar`).

    Raises:
        InputError: it is neither, or is damaged.
        DeviceError: the device is not there.
    """
    if path.suffix in (".safetensors", ".pth", ".pt", ".ckpt", ".bin"):
        return checkpoint_embedder(path, device)
    if not path.exists() and str(path) != "default":
        raise InputError(f"no checkpoint or bundle at {path}")
    from edgeface_runtime.recognizer import Recognizer

    recognizer = Recognizer.from_bundle(path, backend, precision, device, threads)
    return Embedder(lambda faces: recognizer.embed(faces).vectors, recognizer.describe(), recognizer.close)
