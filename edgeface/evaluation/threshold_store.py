"""Keeping measured thresholds in a bundle."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeface.evaluation.threshold_result import ThresholdResult
from edgeface_runtime.bundle import open_bundle, write_manifest
from edgeface_runtime.decision import Decision
from edgeface_runtime.errors import InputError
from edgeface_runtime.shipped import refuse_shipped

__all__ = ["check_storable", "store_thresholds"]


def check_storable(bundle: Path) -> None:
    """Say before the work whether thresholds can be kept.

    Raises:
        InputError: the bundle is a .tar, which is not written to, or a checkpoint.
    """
    refuse_shipped(bundle, "thresholds")
    if bundle.suffix in (".tar", ".safetensors"):
        raise InputError(f"{bundle}: only a bundle folder can take thresholds: make one with edgeface export")


def store_thresholds(bundle: Path, result: ThresholdResult) -> dict[str, float]:
    """Write the thresholds into the bundle's manifest, beside those of other rates; returns those they replace.

    Raises:
        InputError: the bundle is a .tar, which is not written to.
    """
    check_storable(bundle)
    manifest = open_bundle(bundle).manifest
    kept, new = manifest.decision, result.decision
    decision = Decision(
        {**kept.fmr, **new.fmr},
        {**kept.fpir, **new.fpir},
        kept.covered_above if new.covered_above is None and not _looked(result) else new.covered_above,
    )
    extra: dict[str, Any] = {**manifest.extra, "decision": decision.to_dict()}
    for name, rates, told in (
        ("calibration", result.thresholds, result.provenance),
        ("open_set_calibration", new.fpir, result.open_provenance),
    ):
        before = manifest.extra.get(name)
        rows = {**(before if isinstance(before, dict) else {}), **{rate: told(rate) for rate in rates}}
        if rows:
            extra[name] = rows
    write_manifest(bundle, replace(manifest, thresholds={**manifest.thresholds, **result.thresholds}, extra=extra))
    return {rate: manifest.thresholds[rate] for rate in result.thresholds if rate in manifest.thresholds}


def _looked(result: ThresholdResult) -> bool:
    """Whether it was tried if the covered share tells covered faces from clean ones."""
    return any(found.seen_covered is not None for found in result.conditions)
