"""edgeface gallery check, repair, backup, restore, export, import, migrate, through the real entry point."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeface_runtime.gallery import Gallery

Cli = Callable[..., Any]
MODEL = "a" * 64


@pytest.fixture
def gallery(tmp_path: Path) -> Path:
    """Ten people, on pages of their own."""
    path = tmp_path / "people.db"
    rows = np.random.default_rng(0).standard_normal((10, 512)).astype(np.float32)
    with Gallery(path, MODEL, 512, create=True) as people:
        people.enroll_batch([f"person {k}" for k in range(10)], rows)
    return path


def harm(path: Path) -> bytes:
    """Damage person 3's template; the file before."""
    with Gallery(path) as people:
        names, rows = people.templates()
    data = bytearray(path.read_bytes())
    data[data.index(rows[names.index("person 3")].tobytes()) + 5] ^= 8
    path.write_bytes(data)
    return bytes(data)


def people(cli: Cli, path: Path) -> list[str]:
    return [person["name"] for person in cli("gallery", "list", "--gallery", path, "--json", "--quiet").data]


def test_check_and_repair(cli: Cli, gallery: Path) -> None:
    done = cli("gallery", "check", "--gallery", gallery)
    assert (done.code, done.err) == (0, "") and "sound: nothing to do" in done.out
    damaged = harm(gallery)
    done = cli("gallery", "check", "--gallery", gallery)
    assert done.code == 1 and "(person 3)" in done.out and "edgeface gallery repair --gallery" in done.out
    found = cli("gallery", "check", "--gallery", gallery, "--json", "--quiet")
    assert found.code == 1 and not found.data["sound"] and found.data["bad"][0]["name"] == "person 3"
    done = cli("gallery", "repair", "--gallery", gallery)
    assert done.code == 1 and "9 templates of 9 people saved, 1 lost" in done.out
    assert "lost: row 4, person 3" in done.out and f"wrote {gallery}.repaired" in done.err
    assert gallery.read_bytes() == damaged
    assert len(people(cli, Path(f"{gallery}.repaired"))) == 9
    done = cli("gallery", "repair", "--gallery", gallery, "--in-place", "--json", "--quiet")
    assert done.code == 1 and done.data["kept"] == f"{gallery}.damaged-1" and done.err == ""
    assert Path(done.data["kept"]).read_bytes() == damaged
    assert cli("gallery", "check", "--gallery", gallery).code == 0
    assert cli("gallery", "repair", "--gallery", gallery, "--in-place").code == 0


def test_backup_and_restore(cli: Cli, gallery: Path) -> None:
    backup = gallery.with_name("backup.db")
    done = cli("gallery", "backup", backup, "--gallery", gallery, "--json")
    assert done.code == 0 and done.data["people"] == 10 and f"wrote {backup}" in done.err
    assert cli("gallery", "delete", "person 7", "--gallery", gallery).code == 0
    done = cli("gallery", "restore", backup, "--gallery", gallery)
    assert done.code == 0 and done.out == "9 templates of 9 people restored, 1 deleted again\n"
    assert f"the gallery that was there is {gallery}.before-restore-1" in done.err and "warning" not in done.err
    assert "person 7" not in people(cli, gallery)
    done = cli("gallery", "delete", "person 8", "--gallery", gallery)
    assert done.code == 1 and "before-restore-1 beside the gallery may still hold the templates" in done.out
    new = gallery.with_name("new.db")
    done = cli("gallery", "restore", backup, "--gallery", new)
    assert done.code == 0 and "warning: no gallery was there: delete again whom you have deleted" in done.err


def test_export_and_import(cli: Cli, gallery: Path) -> None:
    out, new = gallery.with_name("people.json"), gallery.with_name("new.db")
    done = cli("gallery", "export", "--out", out, "--gallery", gallery)
    assert done.code == 0 and done.out == "10 templates of 10 people exported\n" and "not encrypted" in done.err
    assert len(json.loads(out.read_text())["people"]) == 10
    done = cli("gallery", "import", out, "--gallery", new, "--json", "--quiet")
    assert done.data == {"file": str(out), "gallery": str(new), "people": 10, "templates": 10}
    assert people(cli, new) == people(cli, gallery)


REFUSED = [
    ("check --gallery {missing}", "gallery not found"),
    ("check --gallery {text}", "is not a gallery"),
    ("repair --gallery {missing}", "gallery not found"),
    ("repair --gallery {text}", "nothing in it says which model"),
    ("repair --gallery {gallery} --in-place --out {missing}", "give one of them"),
    ("repair --gallery {gallery} --out {text}", "exists"),
    ("backup {missing} --gallery {text}", "is not a gallery"),
    ("backup {text} --gallery {gallery}", "exists and is not a backup"),
    ("backup {text}/x --gallery {gallery}", "is a file, not a folder"),
    ("restore {missing} --gallery {gallery}", "gallery not found"),
    ("restore {text} --gallery {gallery}", "is not a gallery"),
    ("restore {gallery} --gallery {text}", "is not a gallery: move it away first"),
    ("restore {gallery} --gallery {gallery}", "is the gallery itself"),
    ("export --out {missing}.csv --gallery {gallery}", "unknown ending"),
    ("export --out {missing}.npz --gallery {missing}", "gallery not found"),
    ("import {text} --gallery {missing}", "unknown ending"),
    ("import {missing}.npz --gallery {missing}", "file not found"),
    ("migrate {missing} --gallery {gallery} --out {missing}", "bundle"),
    ("migrate {missing} --gallery {text} --out {missing}", "is not a gallery"),
]


@pytest.mark.parametrize(("command", "words"), REFUSED)
def test_refusals_are_one_line_and_leave_nothing(cli: Cli, gallery: Path, command: str, words: str) -> None:
    text = gallery.with_name("notes.txt")
    text.write_text("notes\n" * 2000)
    places = {"gallery": gallery, "text": text, "missing": gallery.with_name("missing")}
    before = gallery.read_bytes()
    done = cli("gallery", *(part.format(**places) for part in command.split()))
    assert done.code == 2, done
    assert done.err.startswith("edgeface: ") and done.err.count("\n") == 1 and words in done.err
    assert done.out == "" and gallery.read_bytes() == before and text.read_text() == "notes\n" * 2000
    assert sorted(entry.name for entry in gallery.parent.iterdir()) == ["notes.txt", "people.db"]


def test_crops_are_kept_and_migrated(cli: Cli, chain: Any, tmp_path: Path) -> None:
    path, out, crops = tmp_path / "g.db", tmp_path / "new.db", tmp_path / "crops"
    options = ("--gallery", path, "--threads", 1)
    assert cli("enroll", chain.bundle, "Ann", chain.photo, "--keep-crops", crops, *options).code == 0
    assert cli("enroll", chain.bundle, "Bob", chain.photo, *options).code == 0
    assert len(list(crops.iterdir())) == 1
    done = cli("gallery", "migrate", chain.other, "--out", out, *options, "--json", "--quiet")
    assert done.code == 1 and done.err == ""
    assert (done.data["people"], done.data["missing"]) == (1, ["Bob"])
    assert done.data["left_out"] == [{"name": "Bob", "why": "no crop was kept"}]
    found = cli(
        "identify", chain.other, chain.photo, "--gallery", out, "--threshold", 0.999, "--threads", 1, "--json"
    )
    assert found.code == 0 and found.data[0]["faces"][0]["match"] == "Ann"
    done = cli("gallery", "migrate", chain.other, "--out", out, *options)
    assert done.code == 2 and "exists: give another name" in done.err
    shutil.rmtree(crops)
    done = cli("gallery", "migrate", chain.other, "--out", tmp_path / "third.db", *options)
    assert done.code == 2 and done.err.count("\n") == 1 and "no crop of gallery" in done.err
    assert not (tmp_path / "third.db").exists()


def test_crops_that_cannot_be_kept_make_no_gallery(cli: Cli, chain: Any, tmp_path: Path) -> None:
    path, text = tmp_path / "g.db", tmp_path / "notes.txt"
    text.write_text("notes")
    done = cli("enroll", chain.bundle, "Ann", chain.photo, "--keep-crops", text, "--gallery", path, "--threads", 1)
    assert done.code == 2 and done.err.count("\n") == 1 and "notes.txt" in done.err and not path.exists()
