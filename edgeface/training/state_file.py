"""One finished epoch as one safetensors file, weights and the optimiser's memory, so that a kill never mixes epochs.

No random state is kept because there is none: every sample follows from (seed, epoch, position).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from edgeface.models.tensor_file import read_tensors, write_tensors
from edgeface.training.run_folder import RUN_NAME, STATE_NAME
from edgeface_runtime.errors import ArtefactError

__all__ = ["StateFormat"]

WEIGHT = "weight."


@dataclass(frozen=True)
class StateFormat:
    """How the states of one kind of training are stored."""

    name: str
    version: int
    what: str
    """The kind in words, as errors put it before `state`."""
    fits: str
    """What its tensors must fit, in words."""
    memory: Mapping[str, str]
    """What the optimiser keeps of a parameter -> how the names of such tensors begin."""

    def save(
        self, path: Path, module: nn.Module, optimizer: torch.optim.Optimizer, header: Mapping[str, str]
    ) -> None:
        """Write weights, memory and `header`, atomically.

        Raises:
            InputError: it cannot be written, such as on a full disk.
        """
        tensors = {f"{WEIGHT}{name}": value for name, value in module.state_dict().items()}
        for name, parameter in module.named_parameters():
            for entry, value in optimizer.state.get(parameter, {}).items():
                if isinstance(value, Tensor):
                    tensors[f"{self.memory[entry]}{name}"] = value
        write_tensors(path, tensors, {"format": self.name, "version": str(self.version), **header})

    def read(self, path: Path, run: str | None = None) -> tuple[dict[str, str], dict[str, Tensor]]:
        """Header and tensors, of the run with the digest `run` if one is given.

        Raises:
            ArtefactError: it is damaged, of another kind or version, or belongs to another run.
        """
        header = _header(path)
        if header.get("format") != self.name or header.get("version") != str(self.version):
            raise ArtefactError(f"{path} is no {self.what} state of this version: start a new run")
        try:
            tensors = read_tensors(path)
        except (SafetensorError, OSError) as exc:
            raise _damaged(path, exc) from exc
        if run is not None and header.get("run") != run:
            raise ArtefactError(f"{path} belongs to another run than {RUN_NAME} beside it: start a new run")
        return header, tensors

    def wrote(self, path: Path) -> bool:
        """Whether a state is of this kind of training, of whatever version.

        Raises:
            ArtefactError: it is damaged.
        """
        return _header(path).get("format") == self.name

    def restore(self, tensors: Mapping[str, Tensor], module: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Put weights and memory back.

        Raises:
            ArtefactError: they do not fit.
        """
        named = dict(module.named_parameters())
        weights = {key.removeprefix(WEIGHT): value for key, value in tensors.items() if key.startswith(WEIGHT)}
        try:
            module.load_state_dict(weights)
            for entry, start in self.memory.items():
                for key, value in tensors.items():
                    if key.startswith(start):
                        parameter = named[key.removeprefix(start)]
                        shaped = value.shape == parameter.shape
                        like = torch.empty_like(parameter if shaped else value)
                        optimizer.state[parameter][entry] = like.copy_(value)
        except (RuntimeError, KeyError) as exc:
            raise ArtefactError(
                f"{STATE_NAME} does not fit its own {self.fits}: start again without --resume"
            ) from exc


def _header(path: Path) -> dict[str, str]:
    """What a state says of itself; ArtefactError where it cannot be read."""
    try:
        with safe_open(str(path), framework="pt") as stream:
            header: dict[str, str] = stream.metadata() or {}
            return header
    except (SafetensorError, OSError) as exc:
        raise _damaged(path, exc) from exc


def _damaged(path: Path, exc: Exception) -> ArtefactError:
    return ArtefactError(f"{path} is damaged ({exc}): start a new run")
