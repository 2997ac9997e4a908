"""The training state: one file per run from which training goes on as if it had never stopped.

Weights, class weights and momentum of one finished epoch are written together under one name, so a kill can never mix
epochs; `last.safetensors` is derived from it. `run.json` says what the run is and is compared on --resume. No random
state is kept because there is none: every sample follows from (seed, epoch, position).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from edgeface.models import ArchSpec, CheckpointMeta
from edgeface.models.digest import weights_digest
from edgeface.models.tensor_file import write_tensors
from edgeface.training.settings import TrainSettings
from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.files import write_json

__all__ = [
    "LAST_NAME",
    "LOG_NAME",
    "MODEL_NAME",
    "RUN_NAME",
    "STATE_NAME",
    "Run",
    "State",
    "claim_folder",
    "load_state",
    "read_class_weights",
    "read_run",
    "read_spec",
    "refuse_other_stage",
    "save_state",
    "weights_digest",
    "write_run",
]

FORMAT = "edgeface-training-state"
VERSION = 1
KINDS = {"edgeface-segmenter-run": "segmenter", "edgeface-dictionary-run": "dictionary"}
"""Format of `run.json`: the stage it is of, where the settings in it name none."""
RUN_NAME, STATE_NAME, LOG_NAME = "run.json", "state.safetensors", "log.jsonl"
LAST_NAME, MODEL_NAME = "last.safetensors", "model.safetensors"


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
        if found:
            raise InputError(
                f"cannot resume {folder}: it was made with {'; '.join(found)}: "
                "use the same, or another --out (and --from) for a new run"
            )


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
        weights = {key[7:]: value for key, value in self.tensors.items() if key.startswith("weight.")}
        try:
            module.load_state_dict(weights)
        except RuntimeError as exc:
            raise ArtefactError(
                f"{STATE_NAME} does not fit its own architecture: start again without --resume"
            ) from exc
        for name, parameter in module.named_parameters():
            momentum = self.tensors.get(f"momentum.{name}")
            if momentum is not None:
                optimizer.state[parameter]["momentum_buffer"] = torch.empty_like(parameter).copy_(momentum)


def claim_folder(folder: Path, resume: bool, stage: str = "clean") -> None:
    """Refuse to write over a run, or to resume where there is none or one of another kind.

    Raises:
        InputError: in one line, what to do instead.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {folder} is a file: name a folder")
    present = [name for name in (RUN_NAME, STATE_NAME, LAST_NAME, MODEL_NAME, LOG_NAME) if (folder / name).exists()]
    if present and not resume:
        raise InputError(f"{folder} holds a run already ({present[0]}): go on with --resume, or choose another --out")
    if resume and not (folder / RUN_NAME).is_file():
        raise InputError(f"{folder} holds no run to resume ({RUN_NAME} is missing): leave --resume out to start one")
    if resume:
        refuse_other_stage(folder, stage)


def refuse_other_stage(folder: Path, stage: str) -> None:
    """Refuse to go on with `stage` where the folder's run is one of another kind; both of a network are one kind.

    Raises:
        InputError: in one line.
    """
    try:
        data = json.loads((folder / RUN_NAME).read_text(encoding="utf-8"))
        found = KINDS.get(data["format"]) or str(data["settings"]["stage"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # damaged or foreign: what reads it next says so
    if found != stage and {found, stage} & set(KINDS.values()):
        raise InputError(
            f"cannot resume {folder}: it was made with --stage {found}, now {stage}: use the same, or another --out"
        )


def write_run(folder: Path, run: Run) -> None:
    """Write `run.json`."""
    data = {"format": "edgeface-run", "version": VERSION, **asdict(run), "settings": run.settings.to_dict()}
    write_json(folder / RUN_NAME, data)


def read_run(folder: Path) -> Run:
    """Read `run.json`; raises ArtefactError if it is damaged or of another version."""
    try:
        data = json.loads((folder / RUN_NAME).read_text())
        if data.pop("format") != "edgeface-run" or data.pop("version") != VERSION:
            raise ValueError("another format or version")
        return Run(**{**data, "settings": TrainSettings.from_dict(data["settings"])})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as exc:
        raise ArtefactError(f"{folder / RUN_NAME} is damaged or of another version ({exc}): start a new run") from exc


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
    tensors = {f"weight.{name}": value for name, value in module.state_dict().items()}
    for name, parameter in module.named_parameters():
        momentum = optimizer.state.get(parameter, {}).get("momentum_buffer")
        if momentum is not None:
            tensors[f"momentum.{name}"] = momentum
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        "run": run.digest,
        "arch": json.dumps(spec.to_dict()),
        "meta": json.dumps(asdict(meta)),
        "people": _people_digest(people),
        "losses": json.dumps(losses),
    }
    write_tensors(path, {name: value.detach().cpu().contiguous() for name, value in tensors.items()}, metadata)


def load_state(path: Path, run: Run) -> State | None:
    """Read the state of `run`; None if no epoch was finished yet.

    Raises:
        ArtefactError: it is damaged, of another version, or belongs to another run.
    """
    if not path.exists():
        return None
    header, tensors = _read(path)
    if header.get("run") != run.digest:
        raise ArtefactError(f"{path} belongs to another run than {RUN_NAME} beside it: start a new run")
    try:
        known = {entry.name for entry in fields(CheckpointMeta)}
        meta: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value
            for key, value in json.loads(header["meta"]).items()
            if key in known
        }
        losses = tuple(float(loss) for loss in json.loads(header["losses"]))
        spec = ArchSpec.from_dict(json.loads(header["arch"]))
        return State(spec, CheckpointMeta(**meta), len(losses), losses, tensors)
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
    """(people, embedding) class weights of a finished run over the same people; None if there is no such run."""
    if not path.is_file():
        return None
    header, tensors = _read(path)
    weights = tensors.get("weight.margin.weight")
    if header.get("people") != _people_digest(people) or weights is None or weights.shape[1] != embedding:
        return None
    return weights


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(str(path), framework="pt") as stream:
            header: dict[str, Any] = stream.metadata() or {}
            if header.get("format") != FORMAT or header.get("version") != str(VERSION):
                raise ArtefactError(f"{path} is no training state of this version: start a new run")
            return header, {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as exc:
        raise ArtefactError(f"{path} is damaged ({exc}): start a new run") from exc


def _people_digest(people: tuple[str, ...]) -> str:
    return hashlib.sha256("\n".join(people).encode()).hexdigest()
