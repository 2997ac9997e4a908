"""A bundle that is there gets more precisions: made from its own FP32 graph, judged, and put back whole."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from edgeface_export.bundle_place import bundle_folder
from edgeface_export.int8_export import Int8Settings
from edgeface_export.judge import Judge, Judging
from edgeface_export.variants import MODELS, check_precisions, models_of, write_variants
from edgeface_runtime.bundle import open_bundle, write_manifest
from edgeface_runtime.errors import InputError
from edgeface_runtime.manifest import Manifest

__all__ = ["add_precisions"]


def add_precisions(
    path: Path, precisions: Collection[str], judging: Judging, int8: Int8Settings | None = None
) -> Manifest:
    """Make `precisions` of the bundle at `path` (a folder or `.tar`) anew, or for the first time; the others stay.

    The bundle's FP32 graph, its id and thresholds are what they were; `judging` is by its input and its threshold.

    Raises:
        InputError: unknown precision, nothing to calibrate on, a dictionary model, no such bundle, or it cannot be
            written.
        ArtefactError: the bundle is damaged.
        GateError: a precision misses its gate; the bundle stays what it was.
    """
    wanted = [precision for precision in check_precisions(precisions) if precision != "fp32"]
    bundle = open_bundle(path)
    manifest = bundle.manifest
    if manifest.dictionary is not None:
        raise InputError(
            f"{path} masks by a dictionary, whose parts are made by export: export it again with --precision"
        )
    with bundle_folder(bundle.source) as folder:
        for name in manifest.files:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.folder / name, folder / name)
        own = folder / manifest.models["fp32"]
        if own.name != MODELS["fp32"]:
            own.rename(folder / MODELS["fp32"])
        rate = manifest.deciding_rate
        decided = None if rate is None else manifest.thresholds[rate]
        judging = replace(judging, spec=manifest.input, threshold=decided)
        parity, notes = write_variants(folder, wanted, Judge(folder / MODELS["fp32"], judging), int8)
        export = {**manifest.extra.get("export", {}), **notes}
        made = replace(
            manifest,
            models={**manifest.models, "fp32": MODELS["fp32"], **models_of(wanted)},
            parity={**manifest.parity, **parity},
            extra={**manifest.extra, "export": export},
        )
        return write_manifest(folder, made)
