"""One HTML page of a report, readable without a network: no script, and a policy that lets nothing be fetched."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from edgeface.workflows.report.accuracy import measured_accuracy, pareto_fronts, recorded_accuracy, roc_curves
from edgeface.workflows.report.costs import cost_table, figures, speed_table
from edgeface.workflows.report.markup import Markup, join, tag
from edgeface.workflows.report.overview import at_a_glance, what_ran
from edgeface.workflows.report.result import Report
from edgeface.workflows.report.saliency_view import saliency_view
from edgeface_runtime.files import write_bytes, write_json

__all__ = ["render", "write_page"]

POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
ICON = (
    "data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 32 32'%3E%3Crect width='32' "
    "height='32' rx='7' fill='%230b6f66'/%3E%3Cpath d='M7 24V8M7 24h18M11 19l5-6 4 3 5-7' fill='none' "
    "stroke='%23fff' stroke-width='2.6' stroke-linecap='round' stroke-linejoin='round'/%3E%3C/svg%3E"
)


def write_page(report: Report, folder: Path) -> list[Path]:
    """Write benchmark.html and benchmark.json, each atomically; returns what was written.

    Raises:
        InputError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "benchmark.json", folder / "benchmark.html"]
    write_json(written[0], report.to_dict())
    write_bytes(written[1], render(report).encode())
    return written


def render(report: Report) -> str:
    """The page."""
    sections = _sections(report)
    own = report.benchmark
    random = own.weights == "random"
    number = len(own.rows)
    lead = (
        f"{number} network{'s' * (number != 1)}, timed in turn on {own.machine['processor']}, "
        f"{own.ran_on.get('backend', own.settings.backend)}, {report.made[:10]}."
    )
    style = files("edgeface.workflows.report").joinpath("page.css").read_text(encoding="utf-8")
    links = [tag("li", tag("a", short, href=f"#{key}")) for key, short, _, _ in sections]
    body = tag(
        "div",
        tag(
            "header",
            tag("span", "random weights: costs only" if random else "trained weights", class_=_badge(random)),
            tag("h1", "Benchmark by compression ratio"),
            tag("p", lead),
        ),
        tag("nav", tag("ul", *links), aria_label="Sections"),
        tag(
            "main",
            at_a_glance(report),
            *(
                tag("section", tag("h2", title, id=f"{key}-title"), content, id=key, aria_labelledby=f"{key}-title")
                for key, _, title, content in sections
            ),
        ),
        tag("footer", f"Made by edgeface {report.versions['edgeface']}. The same numbers as data: benchmark.json."),
        class_="page",
    )
    head = join(
        [
            tag("meta", charset="utf-8"),
            tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
            tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name_="color-scheme", content="light dark"),
            tag("title", f"edgeface benchmark, {report.made[:10]}"),
            Markup(f'<link rel="icon" href="{ICON}">'),
            tag("style", Markup(style)),
        ]
    )
    return f'<!doctype html>\n<html lang="en">\n<head>{head}</head>\n<body>{body}</body>\n</html>\n'


def _badge(random: bool) -> str:
    return "badge warn" if random else "badge"


def _sections(report: Report) -> Sequence[tuple[str, str, str, Markup]]:
    """Those there is something for: (anchor, short title, title, content)."""
    found = [
        ("ran", "What ran", "What ran where", what_ran(report)),
        ("costs", "Cost and speed", "Cost and speed by ratio", Markup(cost_table(report) + speed_table(report))),
        ("figures", "Figures", "Figures", figures(report)),
    ]
    recorded = recorded_accuracy(report)
    if report.judged:
        found.append(("accuracy", "Accuracy", "Accuracy, measured in this run", measured_accuracy(report)))
        found.append(("roc", "ROC", "ROC by condition", roc_curves(report)))
    if recorded is not None:
        found.append(("recorded", "Recorded", "Accuracy, recorded earlier", recorded))
    if report.pareto:
        found.append(("pareto", "Pareto front", "Accuracy against latency: the Pareto front", pareto_fronts(report)))
    if report.saliency:
        found.append(("saliency", "Saliency", "Where a masked network looks", saliency_view(report)))
    return found
