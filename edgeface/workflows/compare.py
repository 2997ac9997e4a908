"""Bundles, precisions and backends side by side: size, speed measured in turn, and how far the outputs are apart.

Needs no torch, so that it runs on the device. Every side is compared with the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgeface.workflows.compare_faces import FaceSet, gather_faces
from edgeface.workflows.compare_outputs import Agreement, agreement
from edgeface.workflows.compare_sides import Side, choose_sides, open_side
from edgeface.workflows.machine import describe_machine
from edgeface_runtime.embedding import embed, to_batch
from edgeface_runtime.errors import InputError

if TYPE_CHECKING:
    from edgeface_calibration.latency import Latency
    from edgeface_runtime.backends import Backend
    from edgeface_runtime.engine_open import EngineBuilder

__all__ = ["CompareSettings", "Comparison", "Measured", "compare"]

MAX_BATCH = 1024
"""Faces in one call."""
Note = Callable[[str], None]


@dataclass(frozen=True)
class CompareSettings:
    """What to compare, and how."""

    precisions: tuple[str, ...] = ()
    """fp32, fp16, int8; none: all of a single bundle, else what its backend takes by default."""
    backends: tuple[str, ...] = ("onnxruntime",)
    """onnxruntime, tensorrt, tensorrt-rtx."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: int = 1
    """CPU threads of the backend."""
    batches: tuple[int, ...] = (1, 8)
    """Batch sizes that are timed."""
    faces: Path | None = None
    """Folder of crops; None: drawn faces."""
    count: int = 64
    """Faces the outputs are compared on."""
    rounds: int = 40
    """Timed rounds at batch 1; a batch of n gets rounds / n of them, at least 5."""
    warmup: int = 5
    """Untimed rounds before."""
    signed_by: Path | None = None
    """Public key that must have signed bundles and engines."""

    def __post_init__(self) -> None:
        if not self.batches or min(self.batches) < 1 or max(self.batches) > MAX_BATCH:
            raise InputError(f"--batch takes sizes from 1 to {MAX_BATCH} such as 1,8, got {self.batches}")
        if self.rounds < 1:
            raise InputError(f"--rounds must be at least 1, got {self.rounds}")
        if self.threads < 0:
            raise InputError(f"--threads must be at least 0, got {self.threads}")
        if self.count < 2:
            raise InputError(f"--count must be at least 2, got {self.count}")


@dataclass(frozen=True)
class Measured:
    """One side."""

    label: str
    bundle: str
    model_id: str
    model: str
    """What ran of the bundle, such as int8-cpu."""
    ran_on: dict[str, Any]
    """What the backend said it really ran on."""
    size_bytes: int
    """Of the ONNX files that run; an engine built from them has another."""
    parameters: int
    macs: int
    ratio: float
    latency_ms: dict[str, dict[str, float]]
    """Batch size -> p50, p90, p99, spread."""
    times_as_fast: dict[str, float]
    """Batch size -> median of the first side over this one's."""
    agreement: Agreement | None
    """With the first side; None for the first, and where the inputs differ."""
    apart: str = ""
    """Why the outputs were not compared."""


@dataclass(frozen=True)
class Comparison:
    """Everything measured and how."""

    sides: tuple[Measured, ...]
    faces: str
    settings: CompareSettings
    machine: dict[str, str | int]

    @property
    def lowest_mean_cosine(self) -> float | None:
        """The worst side's mean cosine to the first; None where a side cannot be compared by cosine."""
        means = [None if side.agreement is None else side.agreement.cosine_mean for side in self.sides[1:]]
        known = [mean for mean in means if mean is not None]
        return min(known) if len(known) == len(means) else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        data = asdict(self)
        for name in ("faces", "signed_by"):
            data["settings"][name] = None if data["settings"][name] is None else str(data["settings"][name])
        return data


def compare(
    bundles: Sequence[Path],
    settings: CompareSettings,
    *,
    cosine_needed: bool = False,
    builder: EngineBuilder | None = None,
    note: Note = lambda _: None,
) -> Comparison:
    """Open all sides in this process, embed the same faces with each, and time them in turn.

    Args:
        bundles: one or more; of one alone its precisions or backends are compared.
        cosine_needed: refuse, before the work, sides whose embeddings cannot be compared by cosine.
        builder: builds an engine where none fits this machine; None refuses then.
        note: told what is going on.

    Raises:
        InputError: nothing to compare, or a bundle, precision, backend or folder of faces that is not there.
        ArtefactError, EngineError: a model that is damaged or does not run.
        DeviceError: the device is not there.
        MissingExtraError: the backend's package is not installed.
    """
    sides = choose_sides(bundles, settings.precisions, settings.backends, settings.device, settings.signed_by)
    if cosine_needed:
        for side in sides[1:]:
            if why := sides[0].apart(side) or sides[0].other_network(side):
                raise InputError(f"--gate is on the cosine of embeddings, and {why}: leave it out")
    spec = sides[0].bundle.manifest.input
    faces = gather_faces(settings.faces, settings.count, (spec.height, spec.width))
    with ExitStack() as stack:
        opened = []
        for side in sides:
            note(f"loading {side.label}")
            opened.append(
                stack.enter_context(open_side(side, settings.device, settings.threads, builder, settings.signed_by))
            )
        outputs = [
            None if sides[0].apart(side) else embed(backend, side.bundle.manifest, faces.crops, side.label).vectors
            for side, backend in zip(sides, opened, strict=True)
        ]
        timings = {}
        for batch in settings.batches:
            note(f"timing batch {batch}")
            timings[batch] = _time(sides, opened, faces, batch, settings)
        measured = tuple(
            _measured(index, sides, opened[index], outputs, timings, faces.people) for index in range(len(sides))
        )
    return Comparison(measured, faces.source, settings, describe_machine())


def _time(
    sides: Sequence[Side], opened: Sequence[Backend], faces: FaceSet, batch: int, settings: CompareSettings
) -> list[Latency]:
    from edgeface_calibration.latency import time_alternating

    calls = {}
    for index, (side, backend) in enumerate(zip(sides, opened, strict=True)):
        spec = side.bundle.manifest.input
        crops = faces.crops
        if crops.shape[1:3] != (spec.height, spec.width):  # only its speed is measured
            crops = gather_faces(None, 2, (spec.height, spec.width)).crops
        chosen = crops[np.arange(batch) % len(crops)]
        calls[str(index)] = _call(backend, to_batch(chosen, spec))
    runs = max(5, settings.rounds // batch) if settings.rounds >= 5 else settings.rounds
    measured = time_alternating(calls, warmup=settings.warmup if batch == 1 else min(settings.warmup, 2), runs=runs)
    return [measured[str(index)] for index in range(len(sides))]


def _call(backend: Backend, batch: Any) -> Callable[[], object]:
    return lambda: backend.run(batch)


def _measured(
    index: int,
    sides: Sequence[Side],
    backend: Backend,
    outputs: Sequence[NDArray[np.float32] | None],
    timings: dict[int, list[Latency]],
    people: NDArray[np.int64] | None,
) -> Measured:
    side, first = sides[index], sides[0]
    manifest = side.bundle.manifest
    own, theirs = outputs[index], outputs[0]
    found = None
    if index and own is not None and theirs is not None:
        found = agreement(theirs, own, people, by_cosine=not first.other_network(side))
    latency = {
        str(batch): {name: round(getattr(all_[index], f"{name}_ms"), 4) for name in ("p50", "p90", "p99")}
        | {"spread": round(all_[index].spread, 4)}
        for batch, all_ in timings.items()
    }
    return Measured(
        side.label,
        str(side.bundle.source),
        side.bundle.model_id,
        side.model,
        backend.describe(),
        side.size_bytes,
        manifest.parameters,
        manifest.macs,
        manifest.ratio.requested,
        latency,
        {str(batch): round(all_[0].p50_ms / all_[index].p50_ms, 3) for batch, all_ in timings.items()},
        found,
        first.apart(side) if index else "",
    )
