"""A bundle: what it recognises, in which precisions, how well, and whose weights it holds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeface.workflows.benchmark_report import Sheet
from edgeface.workflows.inspect.description import Description, Line, entries, megabytes, millions, region_lines
from edgeface_runtime.bundle import Bundle, open_bundle, short_id
from edgeface_runtime.manifest import InputSpec, Manifest

__all__ = ["change", "describe_bundle"]

PRECISIONS = ("precision", "file", "MB", "cosine min", "p1", "mean", "accuracy", "TAR", "faces", "gate", "kept FP32")
COUNTED = ("people", "pairs", "probes", "faces", "impostor_pairs", "missing", "seed")
"""Fields of an accuracy that are no measures."""


def describe_bundle(path: Path) -> Description:
    """Open a bundle, hashing every file again. Raises as `open_bundle` does."""
    bundle = open_bundle(path, full=True)
    manifest = bundle.manifest
    data = {"kind": "bundle", "model_id": bundle.model_id, **manifest.to_dict()}
    sheets = [_precisions(bundle)]
    if manifest.accuracy:
        sheets.append(_accuracy(manifest))
    return Description(data, _lines(bundle), sheets)


def _lines(bundle: Bundle) -> list[Line]:
    manifest = bundle.manifest
    size_bytes = sum(entry.size_bytes for entry in manifest.files.values())
    ratio = manifest.ratio
    cut = (
        f"ratio {ratio.requested:g} ({ratio.achieved:.1%} of the filters removed)" if ratio.requested else "unpruned"
    )
    memory = manifest.peak_memory_bytes
    cost = f"{millions(manifest.parameters)} parameters, {millions(manifest.macs)} MACs a face"
    gives = [name for name in manifest.outputs if name != "embedding"]
    return [
        ("bundle", f"{manifest.name}, written {manifest.created[:16].replace('T', ' ')}"),
        ("model", f"{short_id(bundle.model_id)}: galleries are bound to it"),
        ("files", f"{len(manifest.files)}, {megabytes(size_bytes)}, all as their hashes say"),
        ("input", f"{manifest.crop} faces, {input_words(manifest.input)}"),
        ("output", f"embedding of {manifest.embedding_size}{''.join(f', {name}' for name in gives)}"),
        ("masking", manifest.masking),
        *_dictionary(manifest),
        ("network", f"{manifest.arch.get('name', 'of unknown kind')}, {cut}"),
        ("cost", cost if memory is None else f"{cost}, {megabytes(memory)} of memory"),
        *_thresholds(manifest),
        *(("gate missed", f"{key}: {why}") for key, row in manifest.parity.items() for why in row.get("missed", ())),
        ("licence", str(manifest.weights.get("licence") or "not stated")),
        ("data", str(manifest.weights.get("data") or "not stated")),
        *(("history", str(step)) for step in manifest.training.get("history") or ()),
        *_unknown(manifest),
    ]


def input_words(spec: InputSpec) -> str:
    """The network's input in words."""
    return (
        f"{spec.height} high, {spec.width} wide, {spec.color}, (pixel - {spec.mean:g}) / {spec.std:g}, {spec.layout}"
    )


def _by_condition(thresholds: Mapping[str, float]) -> str:
    """Thresholds by what covers the face."""
    return ", ".join(f"{name} {value:.4f}" for name, value in thresholds.items())


def _thresholds(manifest: Manifest) -> list[Line]:
    measured: Any = manifest.extra.get("calibration")
    lines = []
    for rate, threshold in manifest.thresholds.items():
        how = measured.get(rate) if isinstance(measured, dict) else None
        words = ""
        if isinstance(how, dict):
            words = f" ({how.get('data', 'faces')}, {how.get('people', '?')} people"
            genuine = how.get("genuine_accepted")
            words += f", {genuine:.1%} of genuine pairs pass)" if isinstance(genuine, float) else ")"
        lines.append(("threshold", f"{threshold:.4f} at a false match rate of {rate}{words}"))
        by_condition = manifest.decision.fmr.get(rate, {})
        if len(by_condition) > 1:
            lines.append(("", _by_condition(by_condition)))
    for rate, entry in manifest.decision.fpir.items():
        lines.append(
            ("threshold", f"at a false positive identification rate of {rate} with {entry.templates} templates:")
        )
        lines.append(("", _by_condition(entry.thresholds)))
    return lines or [("threshold", "none: measure one with edgeface calibrate threshold")]


def _dictionary(manifest: Manifest) -> list[Line]:
    told: Any = manifest.extra.get("dictionary")
    if not isinstance(told, dict):
        return []
    plain = {key: told[key] for key in ("features", "tau", "discarded") if key in told}
    return [
        ("dictionary", ", ".join(f"{key} {value}" for key, value in plain.items())),
        *region_lines("dictionary", told.get("regions"), "region "),
    ]


def _unknown(manifest: Manifest) -> list[Line]:
    """Fields of other versions, as they are."""
    shown = ("calibration", "dictionary", "export")
    return [line for key, value in manifest.extra.items() if key not in shown for line in entries(key, value)]


def _precisions(bundle: Bundle) -> Sheet:
    manifest = bundle.manifest
    export: Any = manifest.extra.get("export")
    rows = []
    for precision, name in manifest.models.items():
        parity = manifest.parity.get(precision, {})
        told = export.get("int8" if precision.startswith("int8") else precision) if isinstance(export, dict) else None
        kept = _kept(told, precision)
        rows.append(
            [
                precision,
                name,
                f"{manifest.files[name].size_bytes / 1e6:.1f}",
                *(
                    f"{parity[key]:.6f}" if key in parity else ""
                    for key in ("cosine_min", "cosine_p1", "cosine_mean")
                ),
                *(change(parity, key) for key in ("accuracy", "tar")),
                str(parity.get("faces", "")),
                "" if "gate" not in parity else "missed" if parity.get("missed") else "passed",
                "" if kept is None else str(kept),
            ]
        )
    used = [at for at in range(len(PRECISIONS)) if any(row[at] for row in rows)]
    columns, rows = [PRECISIONS[at] for at in used], [[row[at] for at in used] for row in rows]
    return Sheet("precisions: fp32 against the original network, the others against fp32", columns, rows)


def change(parity: Mapping[str, Any], name: str) -> str:
    """Of a rate against FP32, in points of a hundred, with its sign."""
    own, before = parity.get(name), parity.get(f"{name}_fp32")
    return "" if own is None or before is None else f"{100 * (own - before):+.2f}"


def _kept(told: Any, precision: str) -> int | None:
    """How many nodes or layers of a precision stay FP32, where the manifest says."""
    if not isinstance(told, dict):
        return None
    kept = told.get("layers_kept_fp32", told.get("nodes_kept_fp32"))
    if isinstance(kept, dict):
        kept = kept.get(precision)
    return len(kept) if isinstance(kept, list | tuple) else None


def _accuracy(manifest: Manifest) -> Sheet:
    measures = list(
        dict.fromkeys(
            key
            for row in manifest.accuracy
            for key, value in row.items()
            if isinstance(value, int | float) and not isinstance(value, bool) and key not in COUNTED
        )
    )
    rows = []
    for row in manifest.accuracy:
        sizes = [f"{row[key]} {key}" for key in ("pairs", "probes", "people") if key in row]
        values = [f"{row[key]:.4f}" if isinstance(row.get(key), int | float) else "" for key in measures]
        rows.append([str(row.get("protocol", "")), *values, ", ".join(sizes)])
    return Sheet("accuracy", ["protocol", *measures, "on"], rows)
