"""Export and import: what numpy and json read is what is in the gallery, and nothing doubtful comes in."""

from __future__ import annotations

import io
import json
import pickle  # noqa: TID251 (what must never be read is made here)
import sqlite3
import zipfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.gallery import Gallery
from edgeface_runtime.gallery_exchange import export_people, import_people

MODEL = "a" * 64
SIZE = 128


def exported(path: Path, out: Path) -> Path:
    with Gallery(path) as gallery:
        export_people(gallery, out)
    return out


def content(path: Path) -> dict[str, list[bytes]]:
    """Name -> templates, by plain sqlite3."""
    connection = sqlite3.connect(path)
    found: dict[str, list[bytes]] = {}
    for name, template in connection.execute("SELECT name, template FROM templates ORDER BY id"):
        found.setdefault(name, []).append(template)
    connection.close()
    return found


@pytest.mark.parametrize("ending", ["npz", "json"])
def test_there_and_back(tmp_path: Path, damage: Any, ending: str) -> None:
    path, out, new = tmp_path / "g.db", tmp_path / f"people.{ending}", tmp_path / "new.db"
    damage.make(path)
    path.chmod(0o600)
    exported(path, out)
    assert out.stat().st_mode & 0o777 == 0o600
    if ending == "npz":
        with np.load(out, allow_pickle=False) as arrays:
            names, templates = arrays["names"].tolist(), arrays["templates"]
            assert (str(arrays["format"]), int(arrays["version"]), str(arrays["model_id"])) == (
                "edgeface-people",
                1,
                MODEL,
            )
            assert templates.dtype == np.float32
    else:
        data = json.loads(out.read_text())
        names = [person["name"] for person in data["people"] for _ in person["templates"]]
        templates = np.array([row for person in data["people"] for row in person["templates"]], np.float32)
        assert data["model_id"] == MODEL
    found: dict[str, list[bytes]] = {}
    for name, row in zip(names, templates, strict=True):
        found.setdefault(name, []).append(row.tobytes())
    assert found == content(path)
    done = import_people(new, out)
    assert (done.people, done.templates) == (len(found), len(names))
    for name, blobs in content(new).items():  # normalised once more: the last bit may differ
        for blob, wanted in zip(blobs, found[name], strict=True):
            np.testing.assert_allclose(np.frombuffer(blob, "<f4"), np.frombuffer(wanted, "<f4"), atol=1e-7)
    assert set(content(new)) == set(found)


def test_ten_thousand_into_one_that_is_there(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    with Gallery(tmp_path / "a.db", MODEL, 512, create=True) as gallery:
        gallery.enroll_batch([f"p{k:05d}" for k in range(10_000)], rng.standard_normal((10_000, 512)))
    exported(tmp_path / "a.db", tmp_path / "people.npz")
    with Gallery(tmp_path / "b.db", MODEL, 512, create=True) as gallery:
        gallery.enroll("ann", rng.standard_normal(512))
    assert import_people(tmp_path / "b.db", tmp_path / "people.npz").templates == 10_000
    with Gallery(tmp_path / "b.db") as gallery:
        assert gallery.count() == 10_001


def people(**changes: Any) -> dict[str, Any]:
    """The arrays of a good file of three people."""
    rows = np.eye(SIZE, dtype=np.float32)[:3]
    good = {"format": "edgeface-people", "version": 1, "model_id": MODEL, "names": np.array(["ann", "bob", "cyd"])}
    return {**good, "templates": rows, **changes}


ONES = np.ones((3, SIZE), np.float32)
NAN = np.full((3, SIZE), np.nan, np.float32)
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "not unit": (people(templates=ONES), "a template of 'ann' is no unit vector"),
    "not finite": (people(templates=NAN), "is no unit vector"),
    "float64": (people(templates=np.eye(SIZE)[:3]), "damaged or foreign"),
    "one dimension": (people(templates=np.ones(3, np.float32)), "is damaged"),
    "fewer names": (people(names=np.array(["ann", "bob"])), "2 names"),
    "nobody": (people(names=np.array([], np.str_), templates=ONES[:0]), "is damaged"),
    "numbers for names": (people(names=np.arange(3)), "damaged or foreign"),
    "foreign": (people(format="songs"), "its format is 'songs'"),
    "newer": (people(version=2), "upgrade edgeface"),
    "no model": (people(model_id=""), "is damaged"),
    "spelt twice": (people(names=np.array(["Zo\u00eb", "Zoe\u0308", "cyd"])), "twice, in different spellings"),
    "unusable name": (people(names=np.array(["ann", "b\nb", "cyd"])), "cannot enrol the name"),
    "empty name": (people(names=np.array(["ann", " ", "cyd"])), "cannot enrol the name"),
    "an array is missing": ({"names": np.array(["ann"])}, "damaged or foreign"),
    "pickled": (people(names=np.array(["ann", "bob", None], dtype=object)), "damaged or foreign"),
}


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("there", [False, True])
def test_what_is_doubtful_stays_out(tmp_path: Path, kind: str, there: bool) -> None:
    arrays, words = BAD[kind]
    path, file = tmp_path / "g.db", tmp_path / "people.npz"
    np.savez(file, **arrays)
    if there:
        Gallery(path, MODEL, SIZE, create=True).close()
    with pytest.raises(InputError, match=words) as info:
        import_people(path, file)
    assert "\n" not in str(info.value)
    assert path.exists() == there
    if there:
        assert content(path) == {}
    assert {entry.name for entry in tmp_path.iterdir()} == {"people.npz", *(["g.db"] if there else [])}


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": "edgeface-people"}', "[" * 100_000, "\ud800"])
def test_bad_json(tmp_path: Path, text: str) -> None:
    file = tmp_path / "people.json"
    file.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ArtefactError, match="damaged or foreign"):
        import_people(tmp_path / "g.db", file)


def test_bad_files(tmp_path: Path, damage: Any) -> None:
    damage.make(tmp_path / "g.db")
    out = exported(tmp_path / "g.db", tmp_path / "people.npz")
    data = out.read_bytes()
    mark = tmp_path / "unpickled"

    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (mark,)

    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        head = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 512), }"
        archive.writestr("templates.npy", head.ljust(128))
    for bad in (data[:-9], bytes(flipped), pickle.dumps(Payload()), b"", bomb.getvalue()):
        out.write_bytes(bad)
        with pytest.raises(ArtefactError, match="damaged or foreign"):
            import_people(tmp_path / "new.db", out)
    assert not mark.exists() and not (tmp_path / "new.db").exists()
    for name, words in (("people.csv", "unknown ending"), ("missing.npz", "file not found")):
        with pytest.raises(InputError, match=words):
            import_people(tmp_path / "new.db", tmp_path / name if name[0] == "m" else out.rename(tmp_path / name))
    with Gallery(tmp_path / "g.db") as gallery, pytest.raises(InputError, match="unknown ending"):
        export_people(gallery, tmp_path / "people.txt")


def test_who_is_there_already_and_other_models(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "g.db"
    damage.make(path)
    before = content(path)
    out = exported(path, tmp_path / "people.npz")
    with pytest.raises(InputError, match=r"'last' and 58 more of .*: enrolled already"):
        import_people(path, out)
    with Gallery(tmp_path / "other.db", "b" * 64, SIZE, create=True) as gallery:
        gallery.enroll("zed", np.ones(SIZE))
    with pytest.raises(ArtefactError, match=r"is of model aaaaaaaaaaaa, gallery .* of bbbbbbbbbbbb"):
        import_people(tmp_path / "other.db", out)
    with Gallery(tmp_path / "masked.db", MODEL, SIZE, create=True, features=(2, 1, 1)) as gallery:
        pass
    with pytest.raises(ArtefactError, match="keeps features for masking"):
        import_people(tmp_path / "masked.db", out)
    assert content(path) == before
    assert list(content(tmp_path / "other.db")) == ["zed"] and content(tmp_path / "masked.db") == {}


def test_a_full_disk(tmp_path: Path, small_files: Callable[[int], AbstractContextManager[None]], damage: Any) -> None:
    path, out = tmp_path / "g.db", tmp_path / "people.npz"
    damage.make(path)
    for ending in ("npz", "json"):
        with pytest.raises(InputError, match=r"^cannot write"), small_files(40_000):
            exported(path, tmp_path / f"people.{ending}")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["g.db"]
    exported(path, out)
    for room in (1000, 60_000):
        with pytest.raises(InputError, match=r"^cannot (write|use)"), small_files(room):
            import_people(tmp_path / "new.db", out)
        assert sorted(entry.name for entry in tmp_path.iterdir()) == ["g.db", "people.npz"]
