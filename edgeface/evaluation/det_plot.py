"""A detection error trade-off: FNMR against FMR, a curve for each condition, both on the normal deviate scale."""

from __future__ import annotations

from pathlib import Path
from statistics import NormalDist

from edgeface.evaluation.threshold_result import ThresholdResult
from edgeface_runtime.errors import InputError, MissingExtraError
from edgeface_runtime.files import atomic_path

__all__ = ["check_plot", "plot_det"]

TICKS = (1e-5, 1e-4, 1e-3, 1e-2, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 0.9)


def check_plot(path: Path) -> None:
    """Say before the work whether it can be drawn.

    Raises:
        MissingExtraError: matplotlib is not installed.
        InputError: `path` is no .png.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as exc:
        raise MissingExtraError("matplotlib", "plot") from exc
    if path.suffix.lower() != ".png":
        raise InputError(f"--plot writes a PNG: give a name that ends in .png, not {path}")
    if path.is_dir() or not path.parent.is_dir():
        raise InputError(f"--plot cannot be written to {path}: give a file in a folder that exists")


def plot_det(result: ThresholdResult, path: Path) -> None:
    """Write a PNG: curves as far as the pairs carry them, and the chosen thresholds with their 95 % intervals.

    Raises:
        MissingExtraError: matplotlib is not installed.
        InputError: no condition has genuine pairs, or the picture cannot be written.
    """
    check_plot(path)
    from matplotlib.figure import Figure

    curves = [found for found in result.conditions if found.det]
    if not curves:
        raise InputError("--plot needs people with two pictures, and more pairs: there is no FNMR to draw")
    figure = Figure(figsize=(7.0, 5.2), layout="constrained")
    axis = figure.subplots()
    shown: list[float] = []
    for number, found in enumerate(curves):
        rates = [(fmr, fnmr) for fmr, fnmr in found.det if 0 < fmr < 1 and 0 < fnmr < 1]
        axis.plot(
            *zip(*((_deviate(x), _deviate(y)) for x, y in rates), strict=True), color=f"C{number}", label=found.name
        )
        shown += [fnmr for _, fnmr in rates]
        for at in found.fmr.values():
            if at.fnmr is None or not 0 < at.fnmr.value < 1 or at.fmr.value == 0:
                continue
            x, y = _deviate(at.fmr.value), _deviate(at.fnmr.value)
            across = [[x - _deviate(at.fmr.low)], [_deviate(at.fmr.high) - x]]
            down = [[y - _deviate(at.fnmr.low)], [_deviate(at.fnmr.high) - y]]
            axis.errorbar(x, y, down, across, fmt="o", color=f"C{number}", capsize=3)
    smallest = min(fmr for found in curves for fmr, _ in found.det)
    for set_ticks, set_limits, low, high in (
        (axis.set_xticks, axis.set_xlim, smallest, 0.1),
        (axis.set_yticks, axis.set_ylim, min(shown, default=0.001), max(shown, default=0.5)),
    ):
        set_ticks([_deviate(tick) for tick in TICKS], [f"{100 * tick:g} %" for tick in TICKS])
        set_limits(_deviate(low / 1.5), _deviate(min(0.95, high * 1.3)))
    axis.set_xlabel("false match rate")
    axis.set_ylabel("false non-match rate")
    axis.set_title(f"{result.data}: {result.faces} faces of {result.people} people; bars: 95 %", fontsize=10)
    axis.grid(alpha=0.3)
    axis.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150, format="png")


def _deviate(rate: float) -> float:
    return NormalDist().inv_cdf(min(max(rate, 1e-7), 1 - 1e-7))
