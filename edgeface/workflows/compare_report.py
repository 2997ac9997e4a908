"""A comparison as tables and words."""

from __future__ import annotations

from edgeface.workflows.benchmark_report import Sheet
from edgeface.workflows.compare import Comparison, Measured

__all__ = ["compare_lines", "compare_sheets"]

NOISY = 0.2
"""A spread of the times, as a share of their median, that makes them doubtful."""

OUTPUTS = ("", "cosine min", "p1", "mean", "scores: r", "largest change", "genuine", "impostor")


def compare_sheets(comparison: Comparison) -> list[Sheet]:
    """What ran and how fast, one table a batch size; then how far the outputs are apart."""
    sheets = []
    for number, batch in enumerate(comparison.settings.batches):
        columns = ["", "ran on", "model", "MB", "p50 ms", "p90", "p99", "faces/s", "times as fast"]
        rows = [_speed(side, str(batch), batch) for side in comparison.sides]
        if number:
            columns, rows = [columns[0], *columns[4:]], [[row[0], *row[4:]] for row in rows]
        sheets.append(Sheet(f"batch {batch}", columns, rows))
    compared = [side for side in comparison.sides if side.agreement is not None]
    if compared:
        title = f"outputs, against {comparison.sides[0].label}"
        rows = [_outputs(side) for side in compared]
        kept = [at for at in range(len(OUTPUTS)) if any(row[at] for row in rows)]
        sheets.append(Sheet(title, [OUTPUTS[at] for at in kept], [[row[at] for at in kept] for row in rows]))
    return sheets


def compare_lines(comparison: Comparison) -> list[str]:
    """How it was measured, and what a reader must know."""
    settings, machine = comparison.settings, comparison.machine
    threads = next((side.ran_on["threads"] for side in comparison.sides if side.ran_on.get("threads")), None)
    used = "" if threads is None else f"{threads} CPU thread{'s' * (threads != 1)} on "
    lines = [
        f"{comparison.faces}; all sides in turn in one process, {settings.rounds} rounds at batch 1; "
        f"{used}{machine['processor']}, {machine['cores']} cores"
    ]
    for side in comparison.sides[1:]:
        if side.apart:
            lines.append(f"{side.apart}: outputs not compared")
        elif side.agreement is not None and side.agreement.cosine_mean is None:
            lines.append(
                f"{side.label} is another network than {comparison.sides[0].label}: embeddings cannot be compared, "
                "so the scores of all pairs are"
            )
    if any(side.model.endswith("fp16") and side.ran_on.get("device") == "cpu" for side in comparison.sides):
        lines.append("fp16 on a CPU is stored so and computed in FP32: drift of FP16 arithmetic does not show here")
    noisy = [side.label for side in comparison.sides if any(t["spread"] > NOISY for t in side.latency_ms.values())]
    if noisy:
        who = ", ".join(noisy)
        lines.append(
            f"noisy: the times of {who} spread by more than {NOISY:.0%} of their median: is the machine busy?"
        )
    if settings.faces is None:
        lines.append("drawn faces show drift, not accuracy: give real ones with --faces")
    return lines


def _speed(side: Measured, key: str, batch: int) -> list[str]:
    times = side.latency_ms[key]
    provider = str(side.ran_on.get("provider", "")).removesuffix("ExecutionProvider")
    return [
        side.label,
        f"{side.ran_on.get('backend')} {provider} {side.ran_on.get('device')}".replace("CPU cpu", "cpu"),
        side.model,
        f"{side.size_bytes / 1e6:.1f}",
        *(f"{times[name]:.2f}" for name in ("p50", "p90", "p99")),
        f"{batch * 1000 / times['p50']:.0f}",
        f"{side.times_as_fast[key]:.2f}",
    ]


def _outputs(side: Measured) -> list[str]:
    found = side.agreement
    assert found is not None
    means = (found.genuine_mean, found.impostor_mean)
    cosines = [found.cosine_min, found.cosine_p1, found.cosine_mean]
    return [
        side.label,
        *("" if value is None else f"{value:.6f}" for value in cosines),
        "" if found.score_correlation is None else f"{found.score_correlation:.4f}",
        f"{found.score_change_max:.4f}",
        *("" if pair is None else f"{pair[0]:.3f} -> {pair[1]:.3f}" for pair in means),
    ]
