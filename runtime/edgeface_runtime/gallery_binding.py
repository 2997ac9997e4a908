"""What binds a gallery to the model that made its templates, and to the features that model gives."""

from __future__ import annotations

from pathlib import Path

from edgeface_runtime.errors import ArtefactError

__all__ = ["check_features", "check_model"]


def check_model(path: Path, own: str, own_size: int, model_id: str | None, embedding_size: int | None = None) -> None:
    """Raise ArtefactError, naming both, unless a gallery of model `own` is of that model; None asks for nothing."""
    if model_id is not None and model_id != own:
        raise ArtefactError(
            f"gallery {path} was made with model {own[:12]}, this bundle is {model_id[:12]}: "
            "use the bundle it was made with, or enrol into a new gallery"
        )
    if embedding_size is not None and embedding_size != own_size:
        raise ArtefactError(
            f"gallery {path} holds embeddings of {own_size} numbers, not {embedding_size}: "
            "use the bundle it was made with, or enrol into a new gallery"
        )


def check_features(path: Path, own: tuple[int, int, int] | None, features: tuple[int, int, int] | None) -> None:
    """Raise ArtefactError unless a gallery that keeps features of shape `own` keeps `features`; None: none."""
    if features == own:
        return
    if features is None:
        raise ArtefactError(
            f"gallery {path} keeps features for masking, which this bundle does not give: "
            "use the bundle it was made with, or enrol into a new gallery"
        )
    kept = "no features" if own is None else f"features of {own}, not {features},"
    raise ArtefactError(f"gallery {path} keeps {kept} for masking by a dictionary: enrol into a new gallery")
