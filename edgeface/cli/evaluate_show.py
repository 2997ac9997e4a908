"""Tables of `edgeface evaluate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeface.cli.output import Output
    from edgeface.evaluation import Comparison, IdentifyResult, VerifyResult
    from edgeface.evaluation.covered import CoveredResult
    from edgeface_calibration.metrics import Interval

__all__ = ["show_comparison", "show_covered", "show_result"]

NAMES = {"accuracy": "accuracy", "auc": "AUC", "rank1": "rank-1", "rank5": "rank-5"}


def show_result(output: Output, result: VerifyResult | IdentifyResult) -> None:
    """One system's table, and what was left out."""
    from edgeface.evaluation import VerifyResult

    if isinstance(result, VerifyResult):
        _show_verify(output, result)
    else:
        _show_identify(output, result)
    failures = list(result.failures.items())
    if failures:
        output.note(f"{len(failures)} pictures could not be used:")
    for name, reason in failures[:5]:
        output.note(f"  {name}: {reason}")
    if len(failures) > 5:
        output.note(f"  and {len(failures) - 5} more, all in --json and --out")


def _show_verify(output: Output, result: VerifyResult) -> None:
    rows = [
        ("accuracy", f"{100 * result.accuracy:.2f} ± {100 * result.std:.2f} %", _range(result.interval, 100)),
        ("AUC", f"{result.auc:.4f}", _range(result.auc_interval, 1)),
        ("EER", f"{100 * result.eer:.2f} %", ""),
    ]
    for entry, interval in zip(result.tar, result.tar_intervals, strict=True):
        value = "not supported by these pairs" if entry.tar is None else f"{100 * entry.tar:.2f} %"
        rows.append((f"TAR at FMR {entry.fmr:g}", value, _range(interval, 100)))
    counts = {"threshold": f"{result.threshold:.4f}", "pairs": result.pairs, "missing": result.missing}
    rows += [(name, str(value), "") for name, value in counts.items()]
    if result.left_out:
        rows.append(("left out", str(result.left_out), ""))
    output.table(result.protocol, ("measure", "value", "95 % over people"), rows)
    if result.missing:
        output.note(f"{result.missing} pairs left out, first missing: {', '.join(result.missing_first)}")
    for note in result.fold_notes:
        output.note(note)


def _show_identify(output: Output, result: IdentifyResult) -> None:
    rows = [
        ("rank-1", f"{100 * result.rank1:.2f} %", _range(result.rank1_interval, 100)),
        ("rank-5", f"{100 * result.rank5:.2f} %", _range(result.rank5_interval, 100)),
    ]
    counts = {"people": result.people, "gallery pictures": result.gallery_pictures, "probes": result.probes}
    left = {"strangers": result.strangers, "missing": len(result.missing), "left out": len(result.failures)}
    counts |= {name: number for name, number in left.items() if number}
    rows += [(name, str(number), "") for name, number in counts.items()]
    output.table(result.protocol, ("measure", "value", "95 % over people"), rows)
    if result.strangers:
        output.note(f"{result.strangers} probes left out: nobody of their name is in the gallery")
    if result.missing:
        output.note(f"{len(result.missing)} pictures of the split are not there, first {result.missing[0]}")


def show_comparison(output: Output, found: Comparison, a: str, b: str) -> None:
    """Differences, with the verdict in words."""
    rows = []
    for name, entry in found.differences.items():
        factor = 1 if name == "auc" else 100
        label = NAMES.get(name, name.replace("tar", "TAR").replace("at", "at FMR"))
        digits = 4 if factor == 1 else 2
        rows.append((label, f"{factor * entry.value:+.{digits}f}", _range(entry, factor), entry.verdict))
    output.table(f"{a} minus {b}, {found.compared} in common", ("measure", "difference", "95 %", ""), rows)
    if found.left_out:
        output.note(f"{found.left_out} that only one of the two has are left out")


def show_covered(output: Output, result: CoveredResult) -> None:
    """Detected share, and how the covered share is spread."""
    rows = [
        ("pictures", str(result.pictures)),
        ("faces found", f"{result.detected} ({100 * result.detected_share:.1f} %)"),
    ]
    for name, spread in result.covered.items():
        rows.append((f"covered by {name}, mean", f"{100 * spread.mean:.1f} %"))
        rows += [(f"  {level} of faces below", f"{100 * value:.1f} %") for level, value in spread.quantiles.items()]
    output.table(result.protocol, ("measure", "value"), rows)
    if not result.covered:
        output.note("this network has no mask that says how much is covered: give --segmenter, or one with a decoder")
    for name, reason in list(result.unreadable.items())[:5]:
        output.note(f"not read: {name}: {reason}")


def _range(interval: Interval | None, factor: float) -> str:
    if interval is None:
        return ""
    digits = 2 if factor == 100 else 4
    return f"{factor * interval.low:.{digits}f} to {factor * interval.high:.{digits}f}"
