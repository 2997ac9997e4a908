"""What a segmenter's run keeps: `run.json` says what it is, `state.safetensors` holds its last finished epoch whole.

As in `edgeface.training.state` no random state is kept because there is none.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from edgeface.models.tensor_file import write_tensors
from edgeface.segmentation.settings import SegmentSettings
from edgeface.training.state import RUN_NAME
from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.files import write_json

__all__ = ["MODEL_NAME", "SegmentRun", "SegmentState", "load_state", "read_run", "save_state", "write_run"]

MODEL_NAME = "segmenter.safetensors"
RUN_FORMAT, STATE_FORMAT = "edgeface-segmenter-run", "edgeface-segmenter-state"
VERSION = 1


@dataclass(frozen=True)
class SegmentRun:
    """What makes a run this run and no other."""

    settings: SegmentSettings
    data: str
    """The data set in words."""
    data_digest: str
    start: str = "new"
    """The segmenter it starts from, in words."""
    start_digest: str = ""
    """SHA-256 of that segmenter's weights."""

    @property
    def digest(self) -> str:
        """Hex SHA-256 of all that must stay the same."""
        return self.settings.digest(f"{self.data_digest} {self.start_digest}")

    def refuse_other(self, other: SegmentRun, folder: Path) -> None:
        """Raise InputError, in one line, if `other` (what is asked for now) is another run."""
        found = self.settings.differences(other.settings)
        if self.data_digest != other.data_digest:
            found.append(f"data {self.data}, now {other.data}")
        if self.start_digest != other.start_digest:
            found.append(f"start {self.start}, now {other.start}")
        if found:
            raise InputError(
                f"cannot resume {folder}: it was made with {'; '.join(found)}: "
                "use the same, or another --out for a new run"
            )


@dataclass(frozen=True)
class SegmentState:
    """One finished epoch, as read back."""

    losses: tuple[float, ...]
    """Mean loss of every epoch so far."""
    scores: dict[str, Any]
    """The last measurement on the people held out."""
    tensors: dict[str, Tensor]
    """`weight.<name>` and `optimizer.<key>.<name>`."""

    def restore(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put weights and the optimiser's memory back.

        Raises:
            ArtefactError: they do not fit.
        """
        weights = {key[7:]: value for key, value in self.tensors.items() if key.startswith("weight.")}
        named = dict(model.named_parameters())
        try:
            model.load_state_dict(weights)
            for key, value in self.tensors.items():
                if key.startswith("optimizer."):
                    _, entry, name = key.split(".", 2)
                    parameter = named[name]
                    like = torch.empty_like(parameter) if value.shape == parameter.shape else torch.empty_like(value)
                    optimizer.state[parameter][entry] = like.copy_(value)
        except (RuntimeError, KeyError) as exc:
            raise ArtefactError("state.safetensors does not fit its own run: start again without --resume") from exc


def write_run(folder: Path, run: SegmentRun) -> None:
    """Write `run.json`."""
    data = {"format": RUN_FORMAT, "version": VERSION, **asdict(run), "settings": run.settings.to_dict()}
    write_json(folder / RUN_NAME, data)


def read_run(folder: Path) -> SegmentRun:
    """Read `run.json`; raises ArtefactError if it is damaged, of another version, or of another stage."""
    path = folder / RUN_NAME
    try:
        data = json.loads(path.read_text())
        if data.pop("format") != RUN_FORMAT or data.pop("version") != VERSION:
            raise ValueError("not a segmenter's run of this version")
        return SegmentRun(**{**data, "settings": SegmentSettings.from_dict(data["settings"])})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as exc:
        raise ArtefactError(f"{path} is damaged or of another kind ({exc}): start a new run") from exc


def save_state(
    path: Path,
    run: SegmentRun,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    losses: tuple[float, ...],
    scores: dict[str, Any],
) -> None:
    """Write everything of the epoch that just ended (`len(losses)` are done), atomically.

    Raises:
        InputError: it cannot be written, such as on a full disk.
    """
    tensors = {f"weight.{name}": value for name, value in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"optimizer.{key}.{name}"] = value
    header = {
        "format": STATE_FORMAT,
        "version": str(VERSION),
        "run": run.digest,
        "losses": json.dumps(losses),
        "scores": json.dumps(scores),
    }
    write_tensors(path, {name: value.detach().cpu().contiguous() for name, value in tensors.items()}, header)


def load_state(path: Path, run: SegmentRun) -> SegmentState | None:
    """Read the state of `run`; None if no epoch was finished yet.

    Raises:
        ArtefactError: it is damaged, of another version, or belongs to another run.
    """
    if not path.exists():
        return None
    try:
        with safe_open(str(path), framework="pt") as stream:
            header: dict[str, str] = stream.metadata() or {}
            if header.get("format") != STATE_FORMAT or header.get("version") != str(VERSION):
                raise ArtefactError(f"{path} is no segmenter's state of this version: start a new run")
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 (not a dict)
        if header.get("run") != run.digest:
            raise ArtefactError(f"{path} belongs to another run than {RUN_NAME} beside it: start a new run")
        losses = tuple(float(loss) for loss in json.loads(header["losses"]))
        return SegmentState(losses, dict(json.loads(header["scores"])), tensors)
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as exc:
        raise ArtefactError(f"{path} is damaged ({exc}): start a new run") from exc
