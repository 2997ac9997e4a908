"""The training state: one file per run from which training goes on as if it had never stopped.

Weights, class weights and momentum of one finished epoch are written together under one name, so a kill can never mix
epochs; `last.safetensors` is derived from it. `run.json` says what the run is and is compared on --resume.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from edgeface.models import ArchSpec, CheckpointMeta
from edgeface.training.run_file import RunFile, refuse_differences
from edgeface.training.settings import TrainSettings
from edgeface.training.state_file import StateFormat
from edgeface_runtime.errors import ArtefactError

__all__ = ["RUN", "Run", "State", "load_state", "read_class_weights", "read_run", "read_spec", "save_state"]

STATE = StateFormat("edgeface-training-state", 1, "training", "architecture", memory={"momentum_buffer": "momentum."})


@dataclass(frozen=True)
class Run:
    """What makes a run this run and no other."""

    settings: TrainSettings
    data: str
    """The data set in words."""
    data_digest: str
    start: str
    """The starting point in words, such as the flags that chose it."""
    start_digest: str
    """SHA-256 of the checkpoint's weights or of the architecture, and of the mask asked for."""
    world: int
    """Processes."""

    @property
    def digest(self) -> str:
        """Hex SHA-256 of all that must stay the same."""
        text = json.dumps([self.settings.fixed(), self.data_digest, self.start_digest, self.world], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    def refuse_other(self, other: Run, folder: Path) -> None:
        """Raise InputError, in one line, if `other` (what is asked for now) is another run."""
        found = self.settings.differences(other.settings)
        if self.data_digest != other.data_digest:
            found.append(f"data {self.data}, now {other.data}")
        if self.start_digest != other.start_digest:
            same = "another of that name"
            found.append(f"start {self.start}, now {same if other.start == self.start else other.start}")
        if self.world != other.world:
            found.append(f"{self.world} processes, now {other.world}")
        refuse_differences(folder, found, "--out (and --from)")


RUN = RunFile("edgeface-run", 1, Run, TrainSettings)


def read_run(folder: Path) -> Run:
    """What a training's folder says of it; raises as `RunFile.read`."""
    return RUN.read(folder)


@dataclass(frozen=True)
class State:
    """One finished epoch, as read back."""

    spec: ArchSpec
    meta: CheckpointMeta
    """Of the network the run started from."""
    epochs: int
    losses: tuple[float, ...]
    """Mean loss of every epoch so far."""
    tensors: dict[str, Tensor]
    """`weight.<name>` and `momentum.<name>`."""

    def restore(self, module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put weights and momentum back."""
        STATE.restore(self.tensors, module, optimizer)


def save_state(
    path: Path,
    run: Run,
    module: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    spec: ArchSpec,
    meta: CheckpointMeta,
    people: tuple[str, ...],
    losses: tuple[float, ...],
) -> None:
    """Write everything of the epoch that just ended (`len(losses)` are done), atomically.

    Raises:
        InputError: it cannot be written, such as on a full disk.
    """
    header = {
        "run": run.digest,
        "arch": json.dumps(spec.to_dict()),
        "meta": json.dumps(asdict(meta)),
        "people": _people_digest(people),
        "losses": json.dumps(losses),
    }
    STATE.save(path, module, optimizer, header)


def load_state(path: Path, run: Run) -> State | None:
    """Read the state of `run`; None if no epoch was finished yet.

    Raises:
        ArtefactError: it is damaged, of another version, or belongs to another run.
    """
    if not path.exists():
        return None
    header, tensors = STATE.read(path, run.digest)
    try:
        losses = tuple(float(loss) for loss in json.loads(header["losses"]))
        spec = ArchSpec.from_dict(json.loads(header["arch"]))
        meta = CheckpointMeta.from_dict(json.loads(header["meta"]))
        return State(spec, meta, len(losses), losses, tensors)
    except (KeyError, ValueError, TypeError) as exc:
        raise ArtefactError(f"{path} is damaged ({exc}): start a new run") from exc


def read_spec(path: Path) -> ArchSpec | None:
    """The architecture of the last finished epoch; None if there is none.

    Raises:
        ArtefactError: the state is damaged or of another version.
    """
    if not path.exists():
        return None
    try:
        with safe_open(str(path), framework="pt") as stream:
            return ArchSpec.from_dict(json.loads((stream.metadata() or {})["arch"]))
    except (SafetensorError, OSError, KeyError, ValueError) as exc:
        raise ArtefactError(f"{path} is damaged ({exc}): start a new run") from exc


def read_class_weights(path: Path, people: tuple[str, ...], embedding: int) -> Tensor | None:
    """(people, embedding) class weights of a finished run over the same people; None if there is no such run.

    Beside a distilled network lies another kind of state, without such weights.

    Raises:
        ArtefactError: what lies there is damaged, or of another version, so that nobody knows.
    """
    if not path.is_file():
        return None
    try:
        if not STATE.wrote(path):
            return None
        header, tensors = STATE.read(path)
    except ArtefactError as exc:
        raise ArtefactError(
            f"{path}, beside the checkpoint, would say where class weights start but cannot be read: move it away, "
            "and each person starts at their mean embedding"
        ) from exc
    weights = tensors.get("weight.margin.weight")
    if header.get("people") != _people_digest(people) or weights is None:
        return None
    return weights if weights.shape == (len(people), embedding) and weights.is_floating_point() else None


def _people_digest(people: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(people).encode()).hexdigest()
