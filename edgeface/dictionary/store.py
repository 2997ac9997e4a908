"""What a dictionary run keeps: `run.json` (what it is) and `generators.safetensors` (every finished region).

The generators are written again after each region, so a killed run goes on with the next one.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from torch import Tensor

from edgeface.models.tensor_file import read_tensors, write_tensors
from edgeface.training.run_file import refuse_differences
from edgeface.training.run_folder import LOG_NAME, MODEL_NAME, RUN_NAME, STATE_NAME, claim_folder
from edgeface.training.run_settings import differing
from edgeface_runtime.errors import ArtefactError
from edgeface_runtime.files import write_json

__all__ = [
    "DICTIONARY_NAME",
    "GENERATORS_NAME",
    "PLOT_NAME",
    "Finished",
    "Identity",
    "claim",
    "load_finished",
    "save_finished",
]

DICTIONARY_NAME, GENERATORS_NAME, PLOT_NAME = "dictionary.npz", "generators.safetensors", "dictionary.png"
FLAGS = {"kind": "--mask", "weight_of_difference": "--lambda"}
"""Settings whose flag has another name."""
FORMAT = "edgeface-dictionary-run"
VERSION = 1


@dataclass(frozen=True)
class Identity:
    """What makes a run this run and no other."""

    settings: dict[str, Any]
    data: str
    data_digest: str
    network: str
    network_digest: str

    @property
    def digest(self) -> str:
        """Hex SHA-256 of all that must stay the same."""
        text = json.dumps([self.settings, self.data_digest, self.network_digest], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def differences(self, now: Identity) -> list[str]:
        """What makes `now` another run, in words."""
        names = sorted({*self.settings, *now.settings})
        found = differing(names, self.settings, now.settings, FLAGS)
        if self.data_digest != now.data_digest:
            found.append(f"data {self.data}, now {now.data}")
        if self.network_digest != now.network_digest:
            found.append(f"network {self.network}, now {now.network}")
        return found


@dataclass(frozen=True)
class Finished:
    """One region whose generator is trained."""

    weights: dict[str, Tensor]
    mean: Tensor
    """(C, h, w) float32, the mean mask."""

    @property
    def mean_array(self) -> NDArray[np.float32]:
        """`mean` as numpy."""
        return np.asarray(self.mean.numpy(), np.float32)


def claim(folder: Path, identity: Identity, resume: bool) -> None:
    """Make a run's folder, or check on resuming that it holds this run.

    Raises:
        InputError: the folder holds a run already, none to resume, or another one.
        ArtefactError: its `run.json` is damaged or of another kind of run.
    """
    names = (RUN_NAME, DICTIONARY_NAME, GENERATORS_NAME, LOG_NAME, STATE_NAME, MODEL_NAME)
    claim_folder(folder, resume, "dictionary", names)
    path = folder / RUN_NAME
    if not resume:
        write_json(path, {"format": FORMAT, "version": VERSION, **identity.__dict__, "digest": identity.digest})
        return
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data.pop("format") != FORMAT or data.pop("version") != VERSION:
            raise ValueError("it is of another kind or version of run")
        data.pop("digest")
        old = Identity(**data)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as exc:
        raise ArtefactError(f"{path} is damaged or of another run ({exc}): start a new run") from exc
    refuse_differences(folder, old.differences(identity))


def save_finished(folder: Path, identity: Identity, finished: dict[str, Finished], mean: Tensor) -> None:
    """Write all finished regions and the clean faces' mean features (C, h, w) float16 atomically."""
    tensors = {"mean": mean}
    for region, part in finished.items():
        tensors[f"{region}/mean"] = part.mean
        for name, value in part.weights.items():
            tensors[f"{region}/generator.{name}"] = value
    metadata = {
        "format": "edgeface-generators",
        "version": str(VERSION),
        "run": identity.digest,
        "regions": json.dumps(list(finished)),
    }
    write_tensors(folder / GENERATORS_NAME, tensors, metadata)


def load_finished(folder: Path, identity: Identity) -> tuple[dict[str, Finished], Tensor | None]:
    """The regions finished so far, in order, and the clean faces' mean features; none if there is no file yet.

    Raises:
        ArtefactError: the file is damaged or of another run.
    """
    path = folder / GENERATORS_NAME
    if not path.is_file():
        return {}, None
    try:
        with safe_open(str(path), framework="pt") as stream:
            header: dict[str, Any] = stream.metadata() or {}
        tensors = read_tensors(path)
        if header.get("run") != identity.digest:
            raise ArtefactError(f"{path} belongs to another run than {RUN_NAME} beside it: start a new run")
        found, mean = {}, tensors["mean"]
        for region in json.loads(header["regions"]):
            start = f"{region}/generator."
            weights = {name[len(start) :]: value for name, value in tensors.items() if name.startswith(start)}
            found[str(region)] = Finished(weights, tensors[f"{region}/mean"])
    except (SafetensorError, OSError, KeyError, ValueError) as exc:
        raise ArtefactError(f"{path} is damaged ({exc}): start a new run") from exc
    return found, mean
