"""A bundle for benchmarks where none is given: full width, mask decoder, random weights."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from edgeface_runtime.align import TEMPLATE
from edgeface_runtime.manifest import Manifest, Ratio, write_manifest

RATIO = 0.5


def random_bundle(folder: Path, ratio: float = RATIO) -> Path:
    """Make it in `folder`, which is there and empty; needs the train extra."""
    from edgeface.workflows.benchmark import random_subjects

    (made,) = random_subjects((ratio,), folder)
    made.model.rename(folder / "recognizer.onnx")
    manifest = Manifest(
        name=f"random weights, ratio {ratio:g}",
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        models={"fp32": "recognizer.onnx"},
        template=tuple((float(x), float(y)) for x, y in TEMPLATE),
        outputs=("embedding", "covered_share"),
        masking="decoder",
        ratio=Ratio(ratio, made.achieved),
    )
    write_manifest(folder, manifest)
    return folder
