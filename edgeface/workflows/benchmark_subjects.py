"""What a benchmark measures: the models of bundles, or networks with random weights, pruned and exported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edgeface.workflows.bundle_facts import count_filters, precisions_there, pruning_method
from edgeface_runtime.align import CROP_SIZE
from edgeface_runtime.backends import runs_on_cpu
from edgeface_runtime.bundle import EXPORTED
from edgeface_runtime.errors import InputError

if TYPE_CHECKING:
    from edgeface.workflows.benchmark import BenchmarkSettings

__all__ = ["Subject", "bundle_subjects", "parameter_curves", "random_rows", "random_subjects"]

Note = Callable[[str], None]


@dataclass(frozen=True)
class Subject:
    """One network to measure."""

    label: str
    model: Path
    """The file the backend opens."""
    requested: float
    achieved: float
    parameters: int
    macs: int
    accuracy: tuple[dict[str, Any], ...] = ()
    bundle: Path | None = None
    """Where the model is from; None for one with random weights."""
    size: tuple[int, int] = CROP_SIZE
    """Height and width of its input."""
    name: str = ""
    """Of the bundle; empty for one with random weights."""
    precision: str = ""
    """Of the model; empty: the settings' one."""
    masking: str = "none"
    """How covered parts are masked."""
    method: str = ""
    """How it was pruned, in the words of its history; empty where that does not say."""
    filters: int | None = None
    """Convolution filters; None: not counted."""


def random_subjects(
    ratios: Sequence[float],
    folder: Path,
    *,
    mask: str = "decoder",
    width: float = 1.0,
    precision: str = "fp32",
    backend: str = "onnxruntime",
    device: str = "auto",
    note: Note = lambda _: None,
) -> list[Subject]:
    """Export a full-width network with random weights at every ratio (every group pruned alike) into `folder`.

    INT8 is of the form that `backend` runs on `device`, calibrated on a few procedural faces, since speed does not
    depend on ranges.
    """
    import torch

    from edgeface.models import FaceNet, build_spec
    from edgeface.pruning import prune
    from edgeface.pruning.allocate import MAX_RATIO
    from edgeface_export.onnx_export import export_onnx
    from edgeface_export.precision import to_fp16

    _check_known(precision)
    for ratio in ratios:
        if not 0 <= ratio <= MAX_RATIO:
            raise InputError(f"--ratios must lie between 0 and {MAX_RATIO}, got {ratio:g}")
    torch.manual_seed(0)
    dense = FaceNet(build_spec("iresnet50", width, mask=mask)).eval()
    subjects = []
    for ratio in ratios:
        pruned = prune(dense, ratio)
        path = folder / f"ratio_{ratio:g}.onnx"
        note(f"exporting ratio {ratio:g}")
        export_onnx(pruned.model, path)
        if precision.startswith("int8"):
            _to_int8(path, "cpu" if precision == "int8" and runs_on_cpu(backend, device) else "tensorrt")
        if precision.endswith("fp16"):
            to_fp16(path, path)
        report = pruned.report
        subjects.append(
            Subject(
                f"{ratio:g}",
                path,
                ratio,
                report.achieved,
                report.after.parameters,
                report.after.macs,
                precision=precision,
                masking=mask,
                method="l1, uniform" if ratio else "",
                filters=report.after.filters,
            )
        )
    return subjects


def random_rows(
    ratios: Sequence[float],
    folder: Path,
    settings: BenchmarkSettings,
    *,
    mask: str,
    width: float,
    note: Note = lambda _: None,
) -> list[Subject]:
    """`random_subjects` in every precision of `settings`, in the order of their ratios."""
    found = []
    for precision in settings.precisions:
        _check_known(precision)
    for precision in settings.precisions:
        own = folder / precision
        own.mkdir()
        found += [
            subject if len(settings.precisions) == 1 else replace(subject, label=f"{subject.label} {precision}")
            for subject in random_subjects(
                ratios,
                own,
                mask=mask,
                width=width,
                precision=precision,
                backend=settings.backend,
                device=settings.device,
                note=note,
            )
        ]
    return sorted(found, key=lambda subject: subject.requested)


def _check_known(precision: str) -> None:
    if precision not in EXPORTED:
        raise InputError(f"unknown --precision {precision!r}: choose one of {', '.join(EXPORTED)}")


def _to_int8(path: Path, form: Literal["cpu", "tensorrt"]) -> None:
    from edgeface.data.sample import sample_faces
    from edgeface_calibration.int8_ranges import measure_ranges
    from edgeface_export.int8 import to_int8
    from edgeface_export.parity import to_input

    ranges = measure_ranges(path, [to_input(sample_faces(None, 4).crops)], "minmax")
    to_int8(path, path, ranges, form)


def parameter_curves(ratios: Sequence[float], mask: str, width: float) -> dict[str, list[tuple[float, int]]]:
    """Parameters against ratio for both readings of the paper's head, counted; every group pruned alike."""
    from edgeface.models import build_spec, count
    from edgeface.pruning.allocate import allocate
    from edgeface.pruning.groups import groups, resized

    curves = {}
    for head, name in (("flatten", "head: flatten, BN, linear, BN"), ("pool", "head: average pool, linear")):
        spec = build_spec("iresnet50", width, head=head, mask=mask)
        sizes = [resized(spec, allocate(groups(spec), ratio, 8, None)) for ratio in ratios]
        curves[name] = [(ratio, count(size).parameters) for ratio, size in zip(ratios, sizes, strict=True)]
    return curves


def bundle_subjects(
    bundles: Sequence[Path],
    settings: BenchmarkSettings,
    skip: Note = lambda _: None,
    *,
    filters: bool = False,
) -> list[Subject]:
    """One subject a bundle and precision, in the order of their ratios.

    Args:
        skip: told of each precision that a bundle lacks, where several are asked for and it has another of them.
        filters: count each network's, which takes torch.

    Raises:
        InputError: a bundle has none of the precisions asked for.
    """
    from edgeface_runtime.bundle import open_bundle
    from edgeface_runtime.signature import check_bundle_signature, required_key

    key = required_key()
    opened = [open_bundle(path, full=key is not None) for path in bundles]
    if key is not None:
        for bundle in opened:
            check_bundle_signature(bundle, key)
    ratios = [bundle.manifest.ratio.requested for bundle in opened]
    names = [bundle.manifest.name for bundle in opened]
    subjects = []
    for path, bundle in zip(bundles, opened, strict=True):
        manifest = bundle.manifest
        alone = ratios.count(manifest.ratio.requested) == 1
        name = manifest.name if names.count(manifest.name) == 1 else str(path)
        label = f"{manifest.ratio.requested:g}" if alone else f"{manifest.ratio.requested:g} {name}"
        for precision in precisions_there(bundle, settings, skip):
            subjects.append(
                Subject(
                    label if len(settings.precisions) == 1 else f"{label} {precision}",
                    bundle.model_path(bundle.variant(precision, settings.backend, settings.device)),
                    manifest.ratio.requested,
                    manifest.ratio.achieved,
                    manifest.parameters,
                    manifest.macs,
                    tuple(dict(entry) for entry in manifest.accuracy),
                    bundle.source,
                    (manifest.input.height, manifest.input.width),
                    name,
                    precision,
                    manifest.masking,
                    pruning_method(manifest.training.get("history")),
                    count_filters(manifest.arch) if filters else None,
                )
            )
    return sorted(subjects, key=lambda subject: subject.requested)
