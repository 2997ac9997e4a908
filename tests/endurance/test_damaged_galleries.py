"""Damage in every table and column of an encrypted gallery: told in one line, never a traceback or somebody else.

A sound report means that everything is as it was; where the report says damage, each use is right or refused.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from faultkit.gallery_story import KEYS, MODEL, SIZE, drawn

from edgeface_runtime.errors import EdgefaceError
from edgeface_runtime.gallery import Gallery
from edgeface_runtime.gallery_check import check
from edgeface_runtime.gallery_crops import Crop

PEOPLE = 5
EACH = 2
SHAPE = (1, 2, 2)
UNTOLD = {
    "crops": "a crop is found by its checksum: changed or missing ones are a note",
    "changes": "an index in memory is made anew at every opening",
}
"""Tables whose damage need not be told."""
UNTOLD_MISSING = {"changes", "templates_deleted", "templates_replaced"}
"""A note: the next opening makes them."""
UNUSED = {"sqlite_sequence": "of templates only; other tables' ids are never given out"}


@pytest.fixture
def sound(quick_disk: Path) -> Path:
    """An encrypted gallery with a row in every table."""
    path = quick_disk / "g.db"
    (quick_disk / "crops").mkdir()
    with Gallery(path, MODEL, SIZE, create=True, features=SHAPE, key=KEYS[0]) as gallery:
        for person in range(PEOPLE + 1):
            seeds = [person * EACH + k for k in range(EACH)]
            crops = [Crop("crops", f"{seed:032x}.png", "0" * 64, "none") for seed in seeds]
            gallery.enroll_many(
                f"person {person}",
                [drawn(seed) for seed in seeds],
                [f"{seed}.jpg" for seed in seeds],
                [np.full(SHAPE, 0.5)] * EACH,
                crops,
            )
        gallery.delete(f"person {PEOPLE}")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    return path


def tables(path: Path) -> dict[str, list[str]]:
    """Every table and its columns."""
    with closing(sqlite3.connect(path)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            name: [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
            for name in names
            if name != "sqlite_stat1"
        }


def said(use: Callable[[], Any]) -> tuple[Any, str | None]:
    """What a use gave, or its one line."""
    try:
        return use(), None
    except EdgefaceError as exc:
        text = str(exc)
        assert text and "\n" not in text and "Traceback" not in text, text
        return None, text


def used(path: Path, whole: bool) -> list[str]:
    """Every use of a gallery gives what it must, if less where it is not whole, or one line; the lines."""
    lines = []

    def may(use: Callable[[], Any], right: Callable[[Any], bool]) -> None:
        found, line = said(use)
        assert line is not None or right(found), found
        lines.extend([] if line is None else [line])

    gallery, line = said(lambda: Gallery(path, MODEL, SIZE, features=SHAPE, key=KEYS[0]))
    if gallery is None:
        assert line is not None
        return [line]
    listed = [f"person {seed // EACH}" for seed in range(PEOPLE * EACH)]
    with gallery:
        may(
            lambda: [person.name for person in gallery.people()],
            lambda found: found == list(dict.fromkeys(listed)) or (not whole and set(found) < set(listed)),
        )
        may(
            lambda: gallery.templates()[0],
            lambda found: found == listed or (not whole and set(found) <= set(listed)),
        )
        for seed in range(PEOPLE * EACH):
            name = f"person {seed // EACH}"
            may(
                lambda seed=seed: gallery.search(drawn(seed), 1),
                lambda best, name=name: (
                    (best and best[0].name == name) or (not whole and (not best or best[0].score < 0.9))
                ),
            )
        features = np.zeros((PEOPLE * EACH, SIZE), np.float32) + SIZE**-0.5
        may(lambda: gallery.masked(b"k", lambda halves: features[: len(halves)], 0), lambda found: True)
        may(gallery.kept_crops, lambda found: len(found) == PEOPLE * EACH or not whole)
        may(lambda: gallery.enroll_many("new", [drawn(99)], [""], [np.full(SHAPE, 0.5)]), bool)
        may(lambda: gallery.delete("person 0"), lambda erasure: erasure.removed > 0)
        may(lambda: gallery.rekey(KEYS[1]), lambda changed: changed.encrypted)
    return lines


def held(path: Path, what: str, quiet: bool = False) -> bool:
    """Whether `check` told of the damage; what it did not tell of has changed nothing, but for what is `quiet`."""
    report, _ = said(lambda: check(path))
    told = report is None or not report.sound
    lines = used(path, not told and not quiet)
    assert told or quiet or not lines, f"{what}: {lines}, but {report}"
    return told


def cells(path: Path) -> Iterator[tuple[str, str, int, Any]]:
    """Table, column, row and value: the last row of each, of the header all."""
    for table, columns in tables(path).items():
        with closing(sqlite3.connect(path)) as connection:
            rows = [row[0] for row in connection.execute(f"SELECT rowid FROM {table} ORDER BY rowid")]
            wanted = rows if table in ("meta", "sqlite_sequence") else rows[-1:]
            for column in columns:
                for row in wanted:
                    value = connection.execute(f"SELECT {column} FROM {table} WHERE rowid = ?", (row,)).fetchone()[0]
                    yield table, column, row, value


@pytest.mark.usefixtures("small_is_large")
def test_a_changed_bit_of_every_column(sound: Path) -> None:
    """Where the value lies, in tables and in SQLite's own indexes."""
    data, draw, missed, seen = sound.read_bytes(), random.Random(1), set(), 0
    for table, column, row, value in list(cells(sound)):
        raw = value.encode() if isinstance(value, str) else value
        if not isinstance(raw, bytes) or len(raw) < 4:
            continue
        at = data.find(raw)
        assert at >= 0, (table, column)
        while at >= 0:
            changed = bytearray(data)
            changed[at + draw.randrange(len(raw))] ^= 1 << draw.randrange(8)
            for end in ("-wal", "-shm"):
                sound.with_name(sound.name + end).unlink(missing_ok=True)
            sound.write_bytes(changed)
            if not held(sound, f"{table}.{column} of row {row}", table in UNTOLD):
                missed.add(table)
            seen += 1
            at = data.find(raw, at + len(raw))
    assert seen > 40
    assert missed <= {*UNTOLD, *UNUSED}


@pytest.mark.parametrize("new", [None, 7, b"", "\udcff"], ids=["null", "number", "empty", "no text"])
def test_another_kind_of_value_in_every_column(sound: Path, new: object) -> None:
    data, missed, seen = sound.read_bytes(), set(), 0
    for table, column, row, _ in list(cells(sound)):
        sound.write_bytes(data)
        try:
            put(sound, table, column, row, new)
        except sqlite3.IntegrityError:
            continue
        seen += 1
        if not held(sound, f"{table}.{column} of row {row}: {new!r}", table in UNTOLD):
            missed.add(table)
    assert seen > 10
    assert missed <= {*UNTOLD, *UNUSED}


def put(path: Path, table: str, column: str, row: int, new: object) -> None:
    """Write a value past the gallery's own triggers."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        triggers = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        value = "CAST(x'ff' AS TEXT)" if new == "\udcff" else "?"
        connection.execute(
            f"UPDATE {table} SET {column} = {value} WHERE rowid = ?", (row,) if value != "?" else (new, row)
        )
        for _, statement in triggers:
            connection.execute(statement)


def test_everything_that_can_be_missing(sound: Path) -> None:
    data = sound.read_bytes()
    with closing(sqlite3.connect(sound)) as connection:
        parts = connection.execute("SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall()
    assert len(parts) > 10
    for kind, name in parts:
        sound.write_bytes(data)
        with closing(sqlite3.connect(sound, isolation_level=None)) as connection:
            connection.execute(f"DROP {kind} {name}")
        assert held(sound, f"no {kind} {name}", True) or kind == "index" or name in UNTOLD_MISSING, name
    for table in tables(sound):
        sound.write_bytes(data)
        with closing(sqlite3.connect(sound, isolation_level=None)) as connection:
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
                connection.execute(f"DROP TRIGGER {name}")
            connection.execute(f"DELETE FROM {table}")
        held(sound, f"{table} emptied", True)


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("count", [60, pytest.param(5000, marks=pytest.mark.soak)])
def test_damage_anywhere(sound: Path, count: int) -> None:
    data, told = sound.read_bytes(), 0
    for number in range(count):
        draw = random.Random(number)
        changed = bytearray(data)
        for _ in range(draw.choice((1, 1, 3))):
            size = draw.choice((1, 1, 1, 16, 512))
            at = draw.randrange(len(changed))
            changed[at : at + size] = draw.choice((bytes(size), draw.randbytes(size)))
        if draw.random() < 0.1:
            del changed[draw.randrange(len(changed)) :]
        for end in ("-wal", "-shm", "-journal"):
            sound.with_name(sound.name + end).unlink(missing_ok=True)
        sound.write_bytes(changed)
        told += held(sound, f"number {number}", False)
    assert told > count / 4, told
    if count > 1000:
        print(f"{told} of {count} told")
