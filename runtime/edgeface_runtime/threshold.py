"""The threshold that matches are decided by: the caller's, or one that the bundle was calibrated to."""

from __future__ import annotations

from edgeface_runtime.bundle import Bundle
from edgeface_runtime.decision import Chosen, Decision, choose
from edgeface_runtime.errors import InputError
from edgeface_runtime.results import Threshold

__all__ = ["choose_threshold"]


def choose_threshold(
    bundle: Bundle,
    value: float | None = None,
    fmr: str | None = None,
    *,
    covered: bool | None = None,
    templates: int | None = None,
) -> Threshold:
    """The caller's threshold, else the bundle's.

    Args:
        value: the caller's own, a cosine.
        fmr: a false match rate the bundle has a threshold for; None takes the smallest it has.
        covered: whether the face, or one of two, is covered; None where nothing tells (see `decision.choose`).
        templates: of the gallery, for identification: where the bundle has a threshold for a false positive
            identification rate (the smallest it has decides) that is taken instead. Measured with fewer templates
            than that, it says so, and is not lower than that for the false match rate.

    Raises:
        InputError: none is known, or not for that rate.
    """
    if value is not None:
        if not -1.0 <= value <= 1.0:
            raise InputError(f"--threshold is {value}: give a cosine between -1 and 1")
        return Threshold(float(value), "given")
    decision = bundle.manifest.decision
    if templates is not None and fmr is None and decision.fpir:
        return _by_gallery(bundle, decision, covered, templates)
    known = bundle.manifest.thresholds
    rate = fmr if fmr is not None else bundle.manifest.deciding_rate
    if not known or rate is None:
        raise InputError(
            f"{bundle.source} carries no threshold: measure one with edgeface calibrate threshold, "
            "or give --threshold"
        )
    if rate not in known:
        raise InputError(
            f"{bundle.source} has no threshold for a false match rate of {rate}, it has "
            f"{', '.join(sorted(known, key=float))}: measure one with edgeface calibrate threshold"
        )
    if rate in decision.fmr:
        chosen = choose(decision.fmr[rate], covered)
    else:
        chosen = Chosen(float(known[rate]), _covered(bundle, rate))
    return Threshold(chosen.value, ", ".join(filter(None, (f"bundle, false match rate {rate}", chosen.why))))


def _by_gallery(bundle: Bundle, decision: Decision, covered: bool | None, templates: int) -> Threshold:
    """That for a false positive identification rate, which holds for a gallery of a size."""
    rate = min(decision.fpir, key=float)
    entry = decision.fpir[rate]
    chosen = choose(entry.thresholds, covered)
    words = f"bundle, false positive identification rate {rate} with {entry.templates} templates"
    if templates <= entry.templates:
        return Threshold(chosen.value, ", ".join(filter(None, (words, chosen.why))))
    words += f" (this gallery has {templates}: false alarms are likelier)"
    if bundle.manifest.thresholds:
        other = choose_threshold(bundle, covered=covered)
        if other.value > chosen.value:
            return Threshold(other.value, f"{other.source}, which is stricter than {words}")
    return Threshold(chosen.value, ", ".join(filter(None, (words, chosen.why))))


def _covered(bundle: Bundle, rate: str) -> str:
    """What covered the faces that the threshold of `rate` was measured on, in words; empty if nothing."""
    calibration = bundle.manifest.extra.get("calibration")
    entry = calibration.get(rate) if isinstance(calibration, dict) else None
    kind = entry.get("occlusion", "none") if isinstance(entry, dict) else "none"
    return "" if kind == "none" else f"measured with {kind}"
