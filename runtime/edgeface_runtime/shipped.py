"""The model that comes with the package: `default` names it wherever a bundle is asked for. It stays as it is."""

from __future__ import annotations

from pathlib import Path

from edgeface_runtime.errors import InputError

__all__ = ["NAME", "PAPERS", "SHIPPED", "is_shipped", "refuse_shipped", "shipped_model"]

NAME = "default"
SHIPPED = Path(__file__).resolve().with_name("default_model")
PAPERS = ("LICENSE.md", "MODEL_CARD.md")
"""What lies beside it for people to read; its manifest refers to the licence."""


def is_shipped(bundle: Path) -> bool:
    """Whether a bundle is the shipped model, by its name or its place."""
    return str(bundle) == NAME or bundle.resolve() == SHIPPED


def shipped_model() -> Path:
    """Its folder.

    Raises:
        InputError: something here is called `default` too, or the package was made without the model.
    """
    if Path(NAME).exists():
        raise InputError(
            f"{NAME} is the shipped model and also {Path(NAME).resolve()}: give that one's whole path, or rename it"
        )
    if not (SHIPPED / "manifest.json").is_file():
        raise InputError("this edgeface was packaged without its default model: give the path of a bundle")
    return SHIPPED


def refuse_shipped(bundle: Path, what: str) -> None:
    """Raise InputError if `bundle` is the shipped model: `what` would change it."""
    if is_shipped(bundle):
        raise InputError(f"the shipped model takes no {what}: edgeface bundle copy {NAME} DIR makes one that does")
