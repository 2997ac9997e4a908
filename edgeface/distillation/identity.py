"""What makes a distillation this run and no other: `run.json`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeface.distillation.settings import DistillSettings
from edgeface.models import ArchSpec, load_checkpoint
from edgeface.models.digest import weights_digest
from edgeface.training.run_file import RunFile, refuse_differences

__all__ = ["RUN", "DistillRun"]


@dataclass(frozen=True)
class DistillRun:
    """Settings, and what they are applied to."""

    settings: DistillSettings
    data: str
    """The data sets in words."""
    data_digest: str
    teacher: str
    teacher_digest: str
    start: str
    start_digest: str

    @staticmethod
    def of(
        settings: DistillSettings,
        words: str,
        digests: Sequence[str],
        teacher: str,
        teacher_digest: str,
        init: ArchSpec | Path,
        mask: str | None,
        patterns: int,
    ) -> DistillRun:
        """Of what is asked for now; raises as `load_checkpoint`."""
        if isinstance(init, ArchSpec):
            begin, name = json.dumps(init.to_dict(), sort_keys=True), init.name
        else:
            begin, name = weights_digest(load_checkpoint(init).model), init.name
        return DistillRun(
            settings,
            words,
            _sha(*digests),
            teacher,
            teacher_digest,
            f"{name}, mask {mask or 'as it is'}, patterns {patterns}",
            _sha(begin, str(mask), str(patterns)),
        )

    @property
    def digest(self) -> str:
        """Hex SHA-256 of all that must stay the same when the run is resumed."""
        same = {key: value for key, value in self.settings.to_dict().items() if key not in self.settings.FREE}
        return _sha(json.dumps(same, sort_keys=True), self.data_digest, self.teacher_digest, self.start_digest)

    def refuse_other(self, other: DistillRun, folder: Path) -> None:
        """Raise InputError, in one line, if `other` (what is asked for now) is another run."""
        found = self.settings.differences(other.settings)
        for name in ("data", "teacher", "start"):
            if getattr(self, f"{name}_digest") != getattr(other, f"{name}_digest"):
                found.append(f"{name} {getattr(self, name)}, now {getattr(other, name)}")
        refuse_differences(folder, found)


RUN = RunFile("edgeface-distillation-run", 1, DistillRun, DistillSettings)


def _sha(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
