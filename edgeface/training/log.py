"""What a run tells: `log.jsonl`, one JSON object a line, and a progress bar with the time left on stderr."""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edgeface_runtime.files import write_bytes

__all__ = ["Monitor", "RunLog"]


class RunLog:
    """Appends lines to `log.jsonl`. Every line has an `event`: start, step, epoch, stop or done."""

    def __init__(self, path: Path, active: bool = True) -> None:
        self.path, self.active = path, active

    def rewind(self, epochs: int) -> None:
        """Drop the lines of unfinished epochs and a line cut short, so that a resumed log reads as one run."""
        if not self.active or not self.path.exists():
            return
        kept = [line for line in self.path.read_text(errors="replace").splitlines() if _belongs(line, epochs)]
        write_bytes(self.path, "".join(f"{line}\n" for line in kept).encode())

    def write(self, event: str, **values: Any) -> None:
        """Append one line."""
        if self.active:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as stream:
                stream.write(
                    json.dumps({"event": event, **{key: _short(value) for key, value in values.items()}}) + "\n"
                )


def _short(value: Any) -> Any:
    """Six digits are enough to read a loss by."""
    return float(f"{value:.6g}") if isinstance(value, float) else value


def _belongs(line: str, epochs: int) -> bool:
    try:
        entry = json.loads(line)
    except ValueError:
        return False
    return (
        isinstance(entry, dict)
        and entry.get("event") in ("start", "epoch", "step")
        and entry.get("epoch", 0) <= epochs
    )


class Monitor:
    """The progress bar; silent when `quiet`."""

    def __init__(self, quiet: bool) -> None:
        self.console = Console(stderr=True, quiet=quiet, highlight=False)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            disable=quiet or not self.console.is_terminal,
        )
        self._task = self._progress.add_task("", total=None, note="")

    def __enter__(self) -> Monitor:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def begin(self, words: str, total: int, done: int = 0) -> None:
        """Start counting something else."""
        self._progress.reset(self._task, description=words, total=total, completed=done, note="")

    def update(self, done: int, words: str | None = None, note: str | None = None) -> None:
        """Where it is."""
        changes: dict[str, Any] = {"completed": done}
        if words is not None:
            changes["description"] = words
        if note is not None:
            changes["note"] = note
        self._progress.update(self._task, **changes)

    def epoch(self, line: str) -> None:
        """One finished epoch: a line of its own where there is no bar to show it."""
        if not self.console.is_terminal:
            self.say(line)

    def say(self, line: str) -> None:
        """One line above the bar."""
        self.console.print(line, markup=False, soft_wrap=True)
