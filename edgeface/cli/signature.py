"""What a command says when it has written into a signed bundle."""

from __future__ import annotations

from pathlib import Path

from edgeface.cli.output import Output

__all__ = ["signature_gone"]


def signature_gone(output: Output, bundle: Path) -> None:
    """Say that the bundle is not signed any more."""
    output.note(f"signature removed from {bundle}: sign it again with edgeface bundle sign")
