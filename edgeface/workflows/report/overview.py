"""The page's top: the best rows at a glance, what ran where, and what was left out."""

from __future__ import annotations

from edgeface.workflows.benchmark_report import headline
from edgeface.workflows.report.markup import Markup, tag
from edgeface.workflows.report.result import Report
from edgeface.workflows.report.words import names_of, number, percent

__all__ = ["at_a_glance", "what_ran"]


def at_a_glance(report: Report) -> Markup:
    """The fastest, the smallest and the most accurate row."""
    rows, names = report.benchmark.rows, names_of(report.benchmark)
    tiles = []
    timed = [at for at, row in enumerate(rows) if row.latency_ms]
    if timed:
        at = min(timed, key=lambda at: rows[at].latency_ms["p50"])
        faster = f"{number(rows[at].speedup, 2)} times as fast as {names[0]}" if at else "p50 at batch 1"
        tiles.append(("Fastest", f"{number(rows[at].latency_ms['p50'], 1)} ms", names[at], faster))
    at = min(range(len(rows)), key=lambda at: rows[at].size_bytes)
    size = f"{number(rows[at].size_bytes / 1e6, 1)} MB"
    tiles.append(("Smallest", size, names[at], f"{number(rows[at].parameters / 1e6, 2)} M parameters"))
    for protocol in list(dict.fromkeys(point.protocol for point in report.pareto))[:2]:
        own = [point for point in report.pareto if point.protocol == protocol]
        best = max(own, key=lambda point: point.accuracy)
        said = f"{protocol}, {'measured now' if best.interval else 'recorded'}"
        tiles.append(("Most accurate", f"{percent(best.accuracy)} %", names[best.row], said))
    return tag(
        "ul",
        *(
            tag("li", tag("span", title), tag("b", value), tag("strong", name), tag("small", more))
            for title, value, name, more in tiles
        ),
        class_="tiles",
    )


def what_ran(report: Report) -> Markup:
    """Machine, versions, backend, how it was timed; then the notes."""
    own, settings, machine = report.benchmark, report.benchmark.settings, report.benchmark.machine
    ran = {key: value for key, value in own.ran_on.items() if isinstance(value, str | int | float) and value != ""}
    shown: dict[str, object] = {
        "Processor": f"{machine['processor']}, {machine['cores']} cores",
        "System": machine["system"],
        "Backend": f"{ran.get('backend', settings.backend)} {ran.get('version', '')}",
        "Runs on": ", ".join(str(ran[key]) for key in ("provider", "device") if key in ran),
        "Threads": settings.threads or "left to the backend",
        "Precision": ", ".join(settings.precisions),
        "Weights": "random: costs only" if own.weights == "random" else own.weights,
        "Timed": f"{settings.warmup} warm-up and {settings.runs} timed rounds at batch 1, all rows in turn",
        "Versions": ", ".join(f"{name} {found}" for name, found in report.versions.items()),
        "Made": report.made.replace("T", " ").replace("+00:00", " UTC"),
    }
    usual = {"backend", "version", "provider", "device", "threads", "precision", "fallback"}
    shown |= {key.replace("_", " ").capitalize(): value for key, value in ran.items() if key not in usual}
    facts = tag("dl", *(tag("div", tag("dt", key), tag("dd", value)) for key, value in shown.items()), class_="facts")
    doubts = [line for line in headline(own)[1:] if line.startswith("noisy")]
    notes = [*([own.caveat] if own.caveat else []), *report.notes, *doubts]
    slow = [name for name, row in zip(names_of(own), own.rows, strict=True) if row.not_faster]
    if slow:
        notes.append(f"not faster than the ratio before, though smaller: {', '.join(slow)}")
    words = (
        tag("ul", *(tag("li", note) for note in notes))
        if notes
        else tag("p", "Nothing: everything asked for was measured, and where it was asked for.")
    )
    return Markup(facts + tag("div", tag("h3", "Left out, fell back, in doubt"), words, class_="notes", id="notes"))
