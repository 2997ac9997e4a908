"""What stands side by side in a comparison: bundles x backends x precisions, named by what differs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from edgeface_runtime.backends import backend_kind
from edgeface_runtime.bundle import EXPORTED, Bundle, open_bundle
from edgeface_runtime.errors import InputError
from edgeface_runtime.signature import check_bundle_signature

if TYPE_CHECKING:
    from edgeface_runtime.backends import Backend
    from edgeface_runtime.engine_open import EngineBuilder

__all__ = ["Side", "choose_sides", "open_side"]


@dataclass(frozen=True)
class Side:
    """One model of a bundle on one backend."""

    label: str
    bundle: Bundle
    precision: str
    """As asked for: fp32, fp16 or int8."""
    backend: str
    model: str
    """Key among the bundle's models of what runs, such as int8-cpu."""

    @property
    def size_bytes(self) -> int:
        """Size of the ONNX files that run."""
        manifest = self.bundle.manifest
        entry = manifest.dictionary
        if entry is None:
            return manifest.files[manifest.models[self.model]].size_bytes
        names = (entry.trunk[self.model], entry.head[self.model], entry.segmenter, entry.masks)
        return sum(manifest.files[name].size_bytes for name in names)

    def apart(self, other: Side) -> str:
        """Why the outputs of two sides cannot be compared on the same faces; empty words where they can."""
        ours, theirs = self.bundle.manifest, other.bundle.manifest
        for what, a, b in (
            ("input", (ours.input.height, ours.input.width), (theirs.input.height, theirs.input.width)),
            ("crop", ours.crop, theirs.crop),
            ("alignment template", ours.template, theirs.template),
        ):
            if a != b:
                return f"{self.label} and {other.label} take faces of another {what}"
        return ""

    def other_network(self, other: Side) -> str:
        """Why the embeddings of two sides lie in different spaces; empty words where they may be one."""
        ours, theirs = self.bundle.manifest, other.bundle.manifest
        if self.bundle.model_id == other.bundle.model_id:
            return ""
        if ours.embedding_size != theirs.embedding_size or ours.arch != theirs.arch or not ours.arch:
            return f"{self.label} and {other.label} are different networks"
        return ""


def choose_sides(
    bundles: Sequence[Path],
    precisions: Sequence[str],
    backends: Sequence[str],
    device: str,
    signed_by: Path | None = None,
) -> list[Side]:
    """All combinations, the first of which is what the others are compared with.

    Raises:
        InputError: an unknown backend or precision, one that a bundle lacks, or fewer than two sides.
        ArtefactError: a bundle is damaged, or not signed by the key `signed_by`.
    """
    for backend in backends:
        backend_kind(backend)
    for precision in precisions:
        if precision not in EXPORTED:
            raise InputError(f"unknown --precision {precision!r}: choose one of {', '.join(EXPORTED)}")
    opened = [open_bundle(path, full=signed_by is not None) for path in bundles]
    if signed_by is not None:
        for bundle in opened:
            check_bundle_signature(bundle, signed_by)
    names = [bundle.manifest.name for bundle in opened]
    named = [
        bundle.manifest.name if names.count(bundle.manifest.name) == 1 else str(bundle.source) for bundle in opened
    ]
    chosen: list[tuple[int, str, str]] = []
    for index, bundle in enumerate(opened):
        for backend in backends:
            wanted = precisions or _default(bundle, backend, alone=len(opened) == 1 and len(backends) == 1)
            chosen += [(index, backend, precision) for precision in wanted]
    if len(chosen) < 2:
        raise InputError(
            f"{opened[0].source} alone, in {chosen[0][2]} on {chosen[0][1]}, is one thing: "
            "name a second bundle, or two of --precision or --backend"
        )
    several = [len({entry[part] for entry in chosen}) > 1 for part in range(3)]
    sides = []
    for index, backend, precision in chosen:
        words = [word for word, shown in zip((named[index], backend, precision), several, strict=True) if shown]
        bundle = opened[index]
        model = bundle.variant(precision, backend, device)
        bundle.model_path(model)
        sides.append(Side(" ".join(words) or named[index], bundle, precision, backend, model))
    return sides


def _default(bundle: Bundle, backend: str, alone: bool) -> list[str]:
    """Precisions where none was asked for."""
    if alone:
        return [name for name in EXPORTED if name in bundle.manifest.models]
    return [backend_kind(backend).precision]


@contextmanager
def open_side(
    side: Side, device: str, threads: int, builder: EngineBuilder | None = None, signed_by: Path | None = None
) -> Iterator[Backend]:
    """The side's recogniser, loaded; closed at the end. Raises as `Recognizer.from_bundle` does."""
    from edgeface_runtime.open_model import open_model

    backend, masking = open_model(
        side.bundle, side.backend, side.precision, device, threads, None, builder, signed_by
    )
    try:
        yield backend
    finally:
        backend.close()
        if masking is not None:
            masking.close()
