"""`run.json`: what a run is, in words and digests, compared when it is resumed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from edgeface.training.run_folder import RUN_NAME
from edgeface.training.run_settings import RunSettings
from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.files import write_json

__all__ = ["RunFile", "refuse_differences"]


class Described(Protocol):
    """A frozen dataclass of settings and of what they are applied to."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def settings(self) -> RunSettings: ...


Run = TypeVar("Run", bound=Described)


@dataclass(frozen=True)
class RunFile(Generic[Run]):
    """How one kind of run is written."""

    format: str
    version: int
    run: type[Run]
    settings: type[RunSettings]

    def write(self, folder: Path, run: Run) -> None:
        """Write `folder / run.json`, making the folder."""
        told = {"format": self.format, "version": self.version, **asdict(run), "settings": run.settings.to_dict()}
        write_json(folder / RUN_NAME, told)

    def read(self, folder: Path) -> Run:
        """Read it; raises ArtefactError if it is damaged, of another version, or of another kind of run."""
        path = folder / RUN_NAME
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            if data.pop("format") != self.format or data.pop("version") != self.version:
                raise ValueError("another format or version")
            return self.run(**{**data, "settings": self.settings.from_dict(data["settings"])})
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as exc:
            raise ArtefactError(f"{path} is damaged or of another kind ({exc}): start a new run") from exc


def refuse_differences(folder: Path, found: Sequence[str], flags: str = "--out") -> None:
    """Raise InputError, in one line, if there are differences, each 'what it was, now what it is'."""
    if found:
        differences = "; ".join(found)
        raise InputError(
            f"cannot resume {folder}: it was made with {differences}: use the same, or another {flags} for a new run"
        )
