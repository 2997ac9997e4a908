"""What `edgeface calibrate threshold` is asked for and shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeface.cli.parse import words

if TYPE_CHECKING:
    from edgeface.cli.output import Output
    from edgeface.evaluation.occlusion import Occlusion
    from edgeface.evaluation.threshold_result import ThresholdResult
    from edgeface_calibration.metrics import Interval

__all__ = ["conditions_of", "show_thresholds"]


def conditions_of(conditions: str | None, occlusion: str, seed: int) -> list[Occlusion | None]:
    """The covers of --conditions, else the one of --occlusion; None is clean.

    Raises:
        InputError: both are given, or a cover is unknown.
    """
    from edgeface.evaluation.occlusion import Occlusion
    from edgeface_calibration.occluders import KINDS
    from edgeface_runtime.decision import CLEAN
    from edgeface_runtime.errors import InputError

    if conditions is not None and not words(conditions):
        raise InputError("--conditions is empty: name some, as clean,mask, or leave it out")
    if conditions and occlusion != "none":
        raise InputError("--conditions and --occlusion say the same: give one of them")
    names = words(conditions or "") or (CLEAN if occlusion == "none" else occlusion,)
    for name in names if conditions else ():
        if name not in (CLEAN, *KINDS):
            raise InputError(
                f"unknown condition {name!r} in --conditions: choose {CLEAN} or one of {', '.join(KINDS)}"
            )
    return [None if name in (CLEAN, "none") else Occlusion(name, seed=seed) for name in names]


def show_thresholds(output: Output, result: ThresholdResult) -> None:
    """One table for pairs, one for galleries."""
    shown = f"{result.faces} faces of {result.people} people"
    output.table(
        f"{shown}, {result.impostor_pairs} impostor pairs, {result.genuine_pairs} genuine pairs",
        ("condition", "FMR", "threshold", "FMR 95 %", "FNMR", "FNMR 95 %"),
        [
            (found.name, rate, f"{at.threshold:.4f}", _bounds(at.fmr), _value(at.fnmr), _bounds(at.fnmr))
            for found in result.conditions
            for rate, at in found.fmr.items()
        ],
    )
    if result.gallery_size is not None and any(found.fpir for found in result.conditions):
        output.table(
            f"open set: {result.gallery_size} people enrolled, a template each; {result.stranger_probes} probes of "
            f"strangers, {result.mate_probes} of enrolled people (at least; {result.draws} draws)",
            ("condition", "FPIR", "threshold", "FPIR 95 %", "FNIR", "FNIR 95 %"),
            [
                (found.name, rate, f"{many.threshold:.4f}", _bounds(many.fpir), _value(many.fnir), _bounds(many.fnir))
                for found in result.conditions
                for rate, many in found.fpir.items()
            ],
        )
    if len(result.conditions) > 1:
        output.line(_told_apart(result))


def _told_apart(result: ThresholdResult) -> str:
    """How a device knows the condition of a face, in words."""
    seen = ", ".join(
        f"{found.seen_covered:.1%} of {found.name}" for found in result.conditions if found.seen_covered is not None
    )
    if result.covered_above is not None:
        return f"a face counts as covered above a covered share of {result.covered_above:.3f}: {seen} faces do"
    if not seen:
        return "nothing tells a device what covers a face: the strictest threshold decides"
    if result.by_regions:
        return f"a face counts as covered where the segmenter sees a covered region: {seen} faces do"
    return (
        f"the covered share does not tell covered faces ({seen} faces lie above it): the strictest threshold decides"
    )


def _value(interval: Interval | None) -> str:
    return "" if interval is None else _percent(interval.value)


def _bounds(interval: Interval | None) -> str:
    return "" if interval is None else f"{_percent(interval.low)} to {_percent(interval.high)}"


def _percent(share: float) -> str:
    """Two figures below one per cent."""
    return f"{100 * share:.2g} %" if share < 0.01 else f"{100 * share:.1f} %"
