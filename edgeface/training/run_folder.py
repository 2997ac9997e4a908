"""The folder of a run: what its files are called, and whether a run may begin or go on there."""

from __future__ import annotations

import json
from pathlib import Path

from edgeface_runtime.errors import InputError

__all__ = ["LAST_NAME", "LOG_NAME", "MODEL_NAME", "RUN_NAME", "STATE_NAME", "claim_folder"]

RUN_NAME, STATE_NAME, LOG_NAME = "run.json", "state.safetensors", "log.jsonl"
LAST_NAME, MODEL_NAME = "last.safetensors", "model.safetensors"
NAMES = (RUN_NAME, STATE_NAME, LAST_NAME, MODEL_NAME, LOG_NAME)
KINDS = {
    "edgeface-segmenter-run": "segmenter",
    "edgeface-dictionary-run": "dictionary",
    "edgeface-distillation-run": "distilled",
}
"""Format of `run.json`: the stage it is of, where the settings in it name none."""


def claim_folder(folder: Path, resume: bool, stage: str = "clean", names: tuple[str, ...] = NAMES) -> None:
    """Refuse to write over a run, or to resume where there is none or one of another kind.

    Args:
        names: files that tell of a run.

    Raises:
        InputError: in one line, what to do instead.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--out {folder} is a file: name a folder")
    present = [name for name in names if (folder / name).exists()]
    if present and not resume:
        raise InputError(f"{folder} holds a run already ({present[0]}): go on with --resume, or choose another --out")
    if resume and not (folder / RUN_NAME).is_file():
        raise InputError(f"{folder} holds no run to resume ({RUN_NAME} is missing): leave --resume out to start one")
    if resume:
        _refuse_other_stage(folder, stage)


def _refuse_other_stage(folder: Path, stage: str) -> None:
    """Refuse to go on with `stage` where the folder's run is one of another kind; both of a network are one kind."""
    try:
        data = json.loads((folder / RUN_NAME).read_text(encoding="utf-8"))
        found = KINDS.get(data["format"]) or str(data["settings"]["stage"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # damaged or foreign: what reads it next says so
    if found != stage and {found, stage} & set(KINDS.values()):
        raise InputError(
            f"cannot resume {folder}: it was made with --stage {found}, now {stage}: use the same, or another --out"
        )
