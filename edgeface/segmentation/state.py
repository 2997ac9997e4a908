"""What a segmenter's run keeps: `run.json` says what it is, `state.safetensors` its last finished epoch."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgeface.segmentation.settings import SegmentSettings
from edgeface.training.run_file import RunFile, refuse_differences
from edgeface.training.state_file import StateFormat
from edgeface_runtime.errors import ArtefactError

__all__ = ["MODEL_NAME", "RUN", "SegmentRun", "SegmentState", "load_state", "save_state"]

MODEL_NAME = "segmenter.safetensors"
MEMORY = ("momentum_buffer", "step", "exp_avg", "exp_avg_sq")
"""What SGD and AdamW keep of a parameter."""
STATE = StateFormat(
    "edgeface-segmenter-state", 1, "segmenter's", "run", memory={entry: f"optimizer.{entry}." for entry in MEMORY}
)


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
        refuse_differences(folder, found)


RUN = RunFile("edgeface-segmenter-run", 1, SegmentRun, SegmentSettings)


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
        STATE.restore(self.tensors, model, optimizer)


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
    header = {"run": run.digest, "losses": json.dumps(losses), "scores": json.dumps(scores)}
    STATE.save(path, model, optimizer, header)


def load_state(path: Path, run: SegmentRun) -> SegmentState | None:
    """Read the state of `run`; None if no epoch was finished yet.

    Raises:
        ArtefactError: it is damaged, of another version, or belongs to another run.
    """
    if not path.exists():
        return None
    header, tensors = STATE.read(path, run.digest)
    try:
        losses = tuple(float(loss) for loss in json.loads(header["losses"]))
        return SegmentState(losses, dict(json.loads(header["scores"])), tensors)
    except (KeyError, ValueError, TypeError) as exc:
        raise ArtefactError(f"{path} is damaged ({exc}): start a new run") from exc
