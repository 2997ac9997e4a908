"""What `gallery check` looks at in the templates: each row's checksum, and that it is a template at all."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from edgeface_runtime.errors import ArtefactError
from edgeface_runtime.gallery_features import unpack
from edgeface_runtime.gallery_layout import ENCRYPTED_BY, digest
from edgeface_runtime.gallery_report import Report
from edgeface_runtime.gallery_salvage import salvage
from edgeface_runtime.gallery_store import UNREADABLE
from edgeface_runtime.gallery_templates import stack

__all__ = ["bad_row", "check_templates", "count_by_pages", "rows_of", "text"]

MOST = 20
"""Rows listed in words."""
PAGE = 256
Row = tuple[Any, ...]
Shape = tuple[int, int, int]


class NoText(bytes):
    """What stands in a column as text and is none; not the same as those bytes, whose checksum it does not have."""


def text(raw: bytes) -> str | bytes:
    """Text, or what is left of it: to those who open the gallery a template that is called text cannot be read."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return NoText(raw)


def rows_of(connection: sqlite3.Connection, table: str) -> Iterator[list[Row]]:
    """All rows of a table by id, in pages; DatabaseError where they cannot be read on."""
    cursor = connection.execute(f"SELECT * FROM {table} ORDER BY id")
    while page := cursor.fetchmany(PAGE):
        yield page


def bad_row(table: str, row_id: object, name: object, why: str) -> dict[str, Any]:
    """An entry of `Report.bad`."""
    return {"table": table, "id": row_id, "name": name if isinstance(name, str) else None, "why": why}


def check_templates(
    connection: sqlite3.Connection, report: Report, path: Path, meta: dict[str, str], features: Shape | None
) -> None:
    """Look at every template; an encrypted one is only known by its checksum."""
    size, sealed = int(meta["embedding_size"]), meta["version"] != "1"
    people: set[object] = set()
    try:
        for page in rows_of(connection, "templates"):
            bad = {row[0]: "it has changed" for row in page if sealed and row[-1] != digest("templates", *row[:-1])}
            if ENCRYPTED_BY not in meta:
                bad |= _no_templates([row for row in page if row[0] not in bad], size, features, path)
            report.bad += [bad_row("templates", row[0], row[1], bad[row[0]]) for row in page if row[0] in bad]
            report.templates += len(page) - len(bad)
            people.update(row[1] for row in page if row[0] not in bad)
        report.people = len(people)
    except UNREADABLE:
        count_by_pages(report, path)
        return
    _tell(report)


def count_by_pages(report: Report, path: Path) -> None:
    """What `repair` would find of templates, where SQLite cannot read them."""
    try:
        found = salvage(path)
    except ArtefactError as exc:
        report.add("templates", "damaged", str(exc))
        return
    rows = found.rows["templates"]
    report.templates, report.people = len(rows), len({row[0] for row in rows.values()})
    report.bad = [bad_row("templates", at, found.doubtful[at], "it is lost") for at in sorted(found.doubtful)]
    _tell(report)


def _tell(report: Report) -> None:
    whole = f"{report.templates} of {report.people} people"
    if not report.bad:
        report.add("templates", "ok", whole)
        return
    rows = ", ".join(f"{bad['id']} ({bad['name'] or '?'})" for bad in report.bad[:MOST])
    more = f" and {len(report.bad) - MOST} more" if len(report.bad) > MOST else ""
    report.add("templates", "damaged", f"{len(report.bad)} are damaged, rows {rows}{more}; whole are {whole}")


def _no_templates(rows: Sequence[Row], size: int, features: Shape | None, path: Path) -> dict[int, str]:
    """Of rows whose checksum holds, those that are no unit vector or lack their features: id -> why."""
    try:
        stack([row[2] for row in rows], size, path)
        if features is not None:
            unpack([row[5] for row in rows], features, path)
    except ArtefactError as exc:
        if len(rows) == 1:
            return {rows[0][0]: str(exc).partition("(")[2].partition(")")[0]}
        return {at: why for row in rows for at, why in _no_templates([row], size, features, path).items()}
    return {}
