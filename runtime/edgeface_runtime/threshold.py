"""The threshold that matches are decided by: the caller's, or one that the bundle was calibrated to."""

from __future__ import annotations

from edgeface_runtime.bundle import Bundle
from edgeface_runtime.errors import InputError
from edgeface_runtime.results import Threshold

__all__ = ["choose_threshold"]


def choose_threshold(bundle: Bundle, value: float | None = None, fmr: str | None = None) -> Threshold:
    """The caller's threshold, else the bundle's.

    Args:
        value: the caller's own, a cosine.
        fmr: a false match rate the bundle has a threshold for; None takes the smallest it has.

    Raises:
        InputError: none is known, or not for that rate.
    """
    if value is not None:
        if not -1.0 <= value <= 1.0:
            raise InputError(f"--threshold is {value}: give a cosine between -1 and 1")
        return Threshold(float(value), "given")
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
    return Threshold(float(known[rate]), f"bundle, false match rate {rate}{_covered(bundle, rate)}")


def _covered(bundle: Bundle, rate: str) -> str:
    """What covered the faces that the threshold of `rate` was measured on, in words; empty if nothing."""
    calibration = bundle.manifest.extra.get("calibration")
    entry = calibration.get(rate) if isinstance(calibration, dict) else None
    kind = entry.get("occlusion", "none") if isinstance(entry, dict) else "none"
    return "" if kind == "none" else f", measured with {kind}"
