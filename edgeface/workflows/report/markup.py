"""HTML and SVG from Python in which everything is escaped, unless this module made it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["Markup", "join", "scrolled_table", "tag"]


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """An element; children and attribute values are escaped, Markup is taken as it is.

    Args:
        attributes: `class_` and `stroke_width` stand for class and stroke-width; one that is None is left out.
    """
    words = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    if name in ("img", "meta", "br"):
        return Markup(f"<{name}{words}>")
    return Markup(f"<{name}{words}>{join(children)}</{name}>")


def join(children: Iterable[object]) -> Markup:
    """Parts one after another, escaped as `tag` does; None is nothing."""
    return Markup(
        "".join(
            child if isinstance(child, Markup) else escape(str(child), quote=False)
            for child in children
            if child is not None
        )
    )


def scrolled_table(
    caption: str, columns: Sequence[object], rows: Iterable[Sequence[object]], text: int = 1
) -> Markup:
    """A table that scrolls in itself where the page is narrow.

    Args:
        text: so many columns are words, the first of them each row's header; the others are numbers.
    """
    head = tag("tr", *(tag("th", column, scope="col", class_=_side(at, text)) for at, column in enumerate(columns)))
    body = [
        tag(
            "tr",
            *(
                tag("th", cell, scope="row") if at == 0 else tag("td", cell, class_=_side(at, text))
                for at, cell in enumerate(row)
            ),
        )
        for row in rows
    ]
    table = tag("table", tag("caption", caption), tag("thead", head), tag("tbody", *body))
    return tag("div", table, class_="scroll", tabindex=0, role="region", aria_label=caption)


def _side(at: int, text: int) -> str | None:
    return None if at < text else "number"
