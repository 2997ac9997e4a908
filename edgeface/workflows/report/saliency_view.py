"""The pictures of the saliency, with what they show in words and numbers."""

from __future__ import annotations

from edgeface.workflows.report.faces import FaceLook, SaliencyResult
from edgeface.workflows.report.markup import Markup, scrolled_table, tag
from edgeface.workflows.report.result import Report
from edgeface.workflows.report.saliency import PATCH, STRIDE
from edgeface.workflows.report.words import names_of, number, percent

__all__ = ["saliency_view"]


def saliency_view(report: Report) -> Markup:
    """Every masked bundle that was looked at."""
    names = names_of(report.benchmark)
    how = (
        "How far the embedding of a covered face moves (1 − cosine) when a grey square of "
        f"{PATCH} pixels hides a part of it, every {STRIDE} pixels: the brighter, the farther, on one scale for all "
        "pictures of a face. White line: the cover; where it is dark inside, the network does not look at the cover. "
        "With the feature mask off, the same network multiplies its features by 1. FP32, ONNX Runtime on the CPU."
    )
    return Markup(
        tag("p", how, class_="said") + "".join(_one(result, names[result.row]) for result in report.saliency)
    )


def _one(result: SaliencyResult, name: str) -> Markup:
    faces = [_face(face, number + 1, name) for number, face in enumerate(result.faces)]
    networks = [view.network for view in result.faces[0].views]
    columns = [
        "face",
        "covered, %",
        *(f"on the cover, %: {network}" for network in networks),
        *(f"cosine: {network}" for network in networks),
    ]
    rows = [
        (
            f"{at}: {face.cover}",
            percent(face.cover_area, 1),
            *(percent(view.on_cover, 1) for view in face.views),
            *(number(view.to_clean, 3) for view in face.views),
        )
        for at, face in enumerate(result.faces, 1)
    ]
    return tag(
        "div",
        tag("h3", f"{name}, on {result.source}"),
        tag("div", *faces, class_="looks"),
        scrolled_table(f"What the pictures of {name} show", columns, rows),
        tag(
            "p",
            "On the cover: the share of the sensitivity that lies there. Cosine: of the covered face with the same "
            "face uncovered; higher is better.",
            class_="said",
        ),
    )


def _face(face: FaceLook, at: int, name: str) -> Markup:
    covered = tag(
        "figure",
        _picture(face.picture, f"Face {at}, covered by {face.cover}."),
        tag("figcaption", f"covered: {face.cover}"),
    )
    views = [
        tag(
            "figure",
            _picture(
                view.picture,
                f"Face {at} under the sensitivity of {name}, {view.network}: {100 * view.on_cover:.0f} % of it lies "
                f"on the cover, which takes {100 * face.cover_area:.0f} % of the picture.",
            ),
            tag("figcaption", view.network, tag("small", f"{percent(view.on_cover, 0)} % on the cover")),
        )
        for view in face.views
    ]
    return tag("div", covered, *views, class_="look")


def _picture(source: str, words: str) -> Markup:
    return tag("img", src=source, alt=words, width=192, height=224)
