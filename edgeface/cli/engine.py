"""Building an engine because a command needs one: what the runtime asks for, with a word why and progress."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from edgeface.cli.output import Output

__all__ = ["Builder", "NoBuild", "Signed", "builder"]

NoBuild = Annotated[
    bool, typer.Option("--no-build", help="Refuse where no engine fits this machine, instead of building one.")
]
Signed = Annotated[
    Path | None,
    typer.Option(
        "--require-signature",
        metavar="PUB",
        help="Public key that must have signed bundle and engine; default: EDGEFACE_REQUIRE_SIGNATURE.",
    ),
]


@dataclass(frozen=True)
class Builder:
    """An `EngineBuilder` of the runtime that speaks through a command's output."""

    output: Output

    def note(self, message: str) -> None:
        """One line on stderr, unless quiet."""
        self.output.note(message)

    def build(self, onnx: Path, out: Path, backend: str, precision: str) -> None:
        """Build as `edgeface build` does by default. Raises as `build_engine`."""
        from edgeface.cli.progress import phases
        from edgeface_export.build import BuildSettings, build_engine

        with phases(self.output.quiet) as progress:
            build_engine(onnx, out, backend, BuildSettings(precision=precision), progress=progress)
        self.output.wrote(out)


def builder(output: Output, no_build: bool) -> Builder | None:
    """What builds engines for a command; None where that is forbidden."""
    return None if no_build else Builder(output)
