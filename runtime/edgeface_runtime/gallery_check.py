"""`gallery check`: whether every byte of a gallery is what was written, and what to do where it is not.

SQLite's own check looks at the structure, the rows' checksums at the content, the rest at what edgeface promises of
it. Nothing is changed. It also reads what is too damaged to be opened.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from edgeface_runtime import gallery_changes as changes
from edgeface_runtime import gallery_store as store
from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.gallery_check_beside import check_crops, check_index, check_log
from edgeface_runtime.gallery_check_rows import bad_row, check_templates, count_by_pages, rows_of, text
from edgeface_runtime.gallery_check_schema import check_schema
from edgeface_runtime.gallery_files import beside, copies_left, is_sqlite, read_only
from edgeface_runtime.gallery_layout import ENCRYPTED_BY, NOT_SPARED, SEALED, digest
from edgeface_runtime.gallery_manifest import content_of, read_manifest
from edgeface_runtime.gallery_report import Report
from edgeface_runtime.gallery_salvage import is_ours
from edgeface_runtime.gallery_wal import read_log

__all__ = ["check"]

MOST = 20
"""Findings of SQLite's, and rows, that are listed."""


def check(path: Path) -> Report:
    """Look at everything in a gallery, or in a backup of one.

    Raises:
        InputError: missing, not readable, or in use.
        ArtefactError: it is no gallery at all, or too new.
    """
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a gallery")
    if not path.exists():
        raise InputError(f"gallery not found: {path}")
    report = Report(str(path))
    try:
        sqlite = is_sqlite(path)
    except OSError as exc:
        raise InputError(f"cannot read gallery {path}: {exc.strerror or exc}") from exc
    try:
        if not sqlite:
            raise sqlite3.DatabaseError("file is not a database")
        with closing(read_only(path)) as connection:
            _look(connection, path, report)
    except sqlite3.OperationalError as exc:
        if "locked" in str(exc) or "unable to open" in str(exc):
            with store.guarded(path):
                raise
        report.add("file", "damaged", f"SQLite cannot read it: {' '.join(str(exc).split())}")
        count_by_pages(report, path)
    except store.UNREADABLE as exc:
        if not is_ours(path):
            raise ArtefactError(f"{path} is not a gallery: give the file edgeface enroll made") from exc
        report.add("file", "damaged", f"SQLite cannot read it: {' '.join(str(exc).split())}")
        count_by_pages(report, path)
    return report


def _look(connection: sqlite3.Connection, path: Path, report: Report) -> None:
    connection.text_factory = text
    tables = {str(row[0]) for row in connection.execute("SELECT name FROM sqlite_master")}
    if not {"meta", "templates"} <= tables:
        raise sqlite3.DatabaseError("its tables are missing")
    with store.reading(connection):
        _check_structure(connection, report)
        try:
            meta = store.read_meta(connection, path)
            features = store.feature_shape(meta, path)
        except ArtefactError as exc:
            if "upgrade edgeface" in str(exc) or not is_ours(path):
                raise
            report.add("header", "damaged", str(exc))
            count_by_pages(report, path)
            return
        old = meta["version"] == "1"
        report.add("header", "ok", f"version {meta['version']}, model {meta['model_id'][:12]}")
        check_templates(connection, report, path, meta, features)
        if old:
            report.add("checksums", "note", "none, it is of version 1: edgeface gallery list adds them")
        else:
            check_schema(connection, report, meta, features)
            _check_sealed(connection, report, meta, tables)
            if ENCRYPTED_BY in meta:
                _check_people(connection, report, tables)
            _check_manifest(connection, report)
        check_log(connection, report.add, tables)
        if not report.sound:
            return
        check_index(connection, report.add, path, int(meta["embedding_size"]))
        if not old:
            check_crops(connection, report.add, path)
        log = read_log(beside(path, "-wal"))  # before the last reader that goes removes it
    if log.damaged:
        report.add("write-ahead log", "damaged", f"SQLite will lose what follows its frame {log.frames}")
    else:
        report.add("write-ahead log", "ok", f"{log.frames} frames to write back")
    if "erasure_pending" in meta:
        report.add("erasure", "note", f"pending since {meta['erasure_pending']}: run edgeface gallery list")
    left = copies_left(path)
    if left is not None:
        report.add("copies", "note", left)


def _check_structure(connection: sqlite3.Connection, report: Report) -> None:
    """SQLite's integrity check: pages, order of rows, the index by name."""
    try:
        found = [str(row[0]) for row in connection.execute(f"PRAGMA integrity_check({MOST})")]
        found += [str(tuple(row)) for row in connection.execute("PRAGMA foreign_key_check")]
    except store.UNREADABLE as exc:
        found = [str(exc)]
    if found == ["ok"]:
        report.add("structure", "ok", "SQLite's integrity check")
        return
    for line in found:
        report.add("structure", "damaged", " ".join(line.split()))


def _check_sealed(connection: sqlite3.Connection, report: Report, meta: dict[str, str], tables: set[str]) -> None:
    """The other tables with checksums, and the second copy of the header."""
    spare: Sequence[object] = ()
    for table in SEALED:
        if table == "templates" or table not in tables:
            continue
        try:
            for row_id, *values in (row for page in rows_of(connection, table) for row in page):
                if values[-1] != digest(table, int(str(row_id)), *values[:-1]):
                    report.bad.append(bad_row(table, row_id, None, "it has changed"))
                    report.add(table, "damaged", f"row {row_id} has changed")
                elif table == "spare" and row_id == 1:
                    spare = values
        except (sqlite3.DatabaseError, ValueError) as exc:
            report.add(table, "damaged", f"not all can be read: {exc}")
    header = {key: value for key, value in meta.items() if key not in NOT_SPARED}
    if not spare or json.loads(str(spare[0])) != header:
        report.add("header", "damaged", "its two copies differ")
    if any(isinstance(value, bytes) for row in connection.execute("SELECT key, value FROM meta") for value in row):
        report.add("header", "damaged", "it holds what is no text")


def _check_people(connection: sqlite3.Connection, report: Report, tables: set[str]) -> None:
    """Of an encrypted gallery: whether every template has a person, whose key opens it."""
    if "people" not in tables:
        report.add("people", "damaged", "their keys are missing: no template can be read")
        return
    nobodys = [
        str(row[0])
        for row in connection.execute(
            f"SELECT id FROM templates WHERE name NOT IN (SELECT person FROM people) ORDER BY id LIMIT {MOST}"
        )
    ]
    if nobodys:
        report.add("people", "damaged", f"templates that are nobody's: {', '.join(nobodys)}")
    empty = connection.execute(
        "SELECT COUNT(*) FROM people WHERE person NOT IN (SELECT name FROM templates)"
    ).fetchone()[0]
    if empty:
        report.add("people", "note", f"{empty} have no template")


def _check_manifest(connection: sqlite3.Connection, report: Report) -> None:
    """A backup holds what it held when it was made."""
    if not report.sound:
        return
    manifest = read_manifest(connection)
    if manifest is None:
        return
    if changes.state(connection).seq != manifest.seq:
        report.add("backup", "note", f"of {manifest.created}, used as a gallery since")
    elif (manifest.templates, manifest.people, manifest.content) == content_of(connection):
        report.add("backup", "ok", f"of {manifest.created}")
    else:
        report.add("backup", "damaged", f"it does not hold the {manifest.templates} templates of {manifest.created}")
