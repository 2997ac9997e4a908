"""What a file is: one describer a kind of file, chosen by its name or first bytes.

Each needs only what its kind needs: bundles, engines and galleries are described without torch or onnx.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

from edgeface.workflows.inspect.description import Description
from edgeface_runtime.errors import InputError

__all__ = ["KINDS", "Description", "describe"]

CHECKPOINTS = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
"""What checkpoints are called; those of torch.save are named as such and refused."""
SQLITE = b"SQLite format 3"

KINDS: dict[str, Callable[[Path], bool]] = {
    "bundle": lambda file: file.is_dir() or file.suffix == ".tar" or str(file) == "default",
    "graph": lambda file: file.suffix == ".onnx",
    "engine": lambda file: file.suffix == ".engine",
    "gallery": lambda file: file.suffix == ".db" or _starts_with(file, SQLITE),
    "dictionary": lambda file: file.suffix == ".npz",
    "checkpoint": lambda file: file.suffix in CHECKPOINTS,
}
"""Kind -> whether a file looks like one; the first that does is asked, by `describe_KIND` in KIND.py."""


def describe(file: Path) -> Description:
    """Describe a file of any kind.

    Raises:
        InputError: there is none, or it is none of edgeface's.
        ArtefactError: it is damaged, foreign or too new.
        MissingExtraError: its kind needs a package that is not installed.
    """
    if not file.exists() and file.suffix != ".tar" and str(file) != "default":
        raise InputError(f"file not found: {file}")
    for kind, looks_like_one in KINDS.items():
        if looks_like_one(file):
            module = importlib.import_module(f"{__name__}.{kind}")
            found: Description = getattr(module, f"describe_{kind}")(file)
            return found
    raise InputError(
        f"{file} is none of edgeface's files: give a checkpoint (.safetensors), a bundle (a folder or .tar), "
        "an ONNX graph (.onnx), an engine (.engine), a gallery (.db) or a mask dictionary (.npz)"
    )


def _starts_with(file: Path, signature: bytes) -> bool:
    with file.open("rb") as stream:
        return stream.read(len(signature)) == signature
