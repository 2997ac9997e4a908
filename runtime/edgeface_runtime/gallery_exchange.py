"""`gallery export` and `import`: names and templates as plain data, .npz or .json, for other programs and back.

.npz: `format`, `version`, `model_id`, `names` (T,) text, `templates` (T, E) float32, one row a template. .json: the
same fields with `people`, a list of {"name", "templates"}. No pickle. The file is never encrypted, and holds neither
the pictures' names nor a dictionary model's features.
"""

from __future__ import annotations

import json
import zipfile
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.files import atomic_path, require_file
from edgeface_runtime.gallery import Gallery, person_name
from edgeface_runtime.gallery_files import clear_beside

__all__ = ["Exchanged", "export_people", "import_people", "read_people"]

FORMAT = "edgeface-people"
VERSION = 1
UNIT = 1e-3
"""How far from 1 the length of a template may be."""
MAX_BYTES = 1 << 33
"""Larger files are refused before they are read."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Exchanged:
    """What went out or came in."""

    file: str
    gallery: str
    people: int
    templates: int

    def to_dict(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


@dataclass(frozen=True)
class _People:
    """What a file holds."""

    model_id: str
    names: list[str]
    templates: Floats


def export_people(gallery: Gallery, out: Path) -> Exchanged:
    """Write all names and templates of an open gallery into `out`, .npz or .json.

    Raises:
        InputError: another ending, or the file cannot be written.
        ArtefactError: the gallery is damaged.
    """
    write = _of_ending(out, {".npz": _write_npz, ".json": _write_json})
    names, templates = gallery.templates()
    with atomic_path(out, gallery.path.stat().st_mode & 0o777) as temporary:
        write(temporary, _People(gallery.model_id, names, templates))
    return Exchanged(str(out), str(gallery.path), len(set(names)), len(names))


def import_people(path: Path, file: Path, opened: Callable[..., Gallery] = Gallery) -> Exchanged:
    """Enrol everybody of a file, all or nobody, durable on return; a gallery that is missing is made.

    Args:
        path: the gallery.
        file: what `export_people` wrote.
        opened: opens a gallery, called as Gallery is.

    Raises:
        InputError: no such file, or somebody of it is enrolled already.
        ArtefactError: the file is damaged or foreign, or of another model than the gallery.
    """
    people = read_people(file)
    fresh = not path.exists()
    try:
        with opened(path, None if not fresh else people.model_id, people.templates.shape[1], create=fresh) as gallery:
            _check_new(gallery, file, people)
            gallery.enroll_batch(people.names, people.templates)
    except BaseException:
        if fresh and path.exists():
            path.unlink()
            clear_beside(path)
        raise
    return Exchanged(str(file), str(path), len(set(people.names)), len(people.names))


def _check_new(gallery: Gallery, file: Path, people: _People) -> None:
    if gallery.model_id != people.model_id:
        raise ArtefactError(
            f"{file} is of model {people.model_id[:12]}, gallery {gallery.path} of {gallery.model_id[:12]}: "
            "import it into a new gallery"
        )
    gallery.check_features(None)
    there = sorted({person_name(person.name) for person in gallery.people()} & set(people.names))
    if there:
        who = repr(there[0]) + (f" and {len(there) - 1} more" if there[1:] else "")
        raise InputError(f"{who} of {file}: enrolled already: delete them first, or import into a new gallery")


def read_people(file: Path) -> _People:
    """Read and check a file of `export_people`.

    Raises:
        InputError: missing, or another ending.
        ArtefactError: damaged, foreign, too new; a template that is no unit vector; a name that stands twice.
    """
    require_file(file, "file")
    read = _of_ending(file, {".npz": _read_npz, ".json": _read_json})
    if file.stat().st_size > MAX_BYTES:
        raise InputError(f"{file} is too large: more than {MAX_BYTES >> 30} GB")
    try:
        people = read(file)
    except ArtefactError:
        raise
    except Exception as exc:  # zip, zlib, numpy and json each have errors of their own for a damaged file
        raise ArtefactError(f"{file} is no file of edgeface gallery export: damaged or foreign ({exc})") from exc
    templates = people.templates
    if templates.ndim != 2 or not len(templates) or len(people.names) != len(templates) or not people.model_id:
        raise ArtefactError(f"{file} is damaged: {len(people.names)} names, templates {templates.shape}")
    with np.errstate(over="ignore", invalid="ignore"):
        lengths = np.linalg.norm(templates, axis=1)
    wrong = np.flatnonzero(~(np.abs(lengths - 1) < UNIT))
    if len(wrong):
        raise ArtefactError(f"{file} is damaged: a template of {people.names[wrong[0]]!r} is no unit vector")
    spelt = {name: person_name(name) for name in dict.fromkeys(people.names)}
    twice = [name for name, count in Counter(spelt.values()).items() if count > 1]
    if twice:
        raise ArtefactError(f"{file} has {twice[0]!r} twice, in different spellings: give one name a person")
    return _People(people.model_id, [spelt[name] for name in people.names], templates)


def _of_ending(file: Path, ways: dict[str, Callable[..., Any]]) -> Callable[..., Any]:
    if file.suffix.lower() not in ways:
        raise InputError(f"{file} has an unknown ending: give one of {', '.join(ways)}")
    return ways[file.suffix.lower()]


def _write_npz(out: Path, people: _People) -> None:
    arrays: dict[str, Any] = {"format": FORMAT, "version": VERSION, "model_id": people.model_id}
    arrays |= {"names": np.array(people.names, np.str_), "templates": people.templates}
    with out.open("wb") as stream:
        np.savez(stream, **arrays)


def _read_npz(file: Path) -> _People:
    with zipfile.ZipFile(file) as archive:
        if sum(entry.file_size for entry in archive.infolist()) > MAX_BYTES:
            raise ArtefactError(f"{file} is too large")
        if archive.testzip() is not None:
            raise ValueError("a checksum is wrong")
    with np.load(file, allow_pickle=False) as arrays:
        _check_format(file, str(arrays["format"]), int(arrays["version"]))
        names, templates = arrays["names"], arrays["templates"]
        if names.ndim != 1 or names.dtype.kind != "U" or templates.dtype != np.float32:
            raise ValueError(f"names {names.dtype}, templates {templates.dtype}")
        return _People(str(arrays["model_id"]), [str(name) for name in names], templates)


def _write_json(out: Path, people: _People) -> None:
    rows: dict[str, list[list[float]]] = {}
    for name, template in zip(people.names, people.templates, strict=True):
        rows.setdefault(name, []).append(template.tolist())
    listed = [{"name": name, "templates": templates} for name, templates in rows.items()]
    data = {"format": FORMAT, "version": VERSION, "model_id": people.model_id, "people": listed}
    out.write_text(json.dumps(data, ensure_ascii=False), encoding="utf-8")


def _read_json(file: Path) -> _People:
    data = json.loads(file.read_text(encoding="utf-8"))
    _check_format(file, data["format"], data["version"])
    listed = [(str(person["name"]), person["templates"]) for person in data["people"]]
    if len({name for name, _ in listed}) != len(listed):
        twice = Counter(name for name, _ in listed).most_common(1)[0][0]
        raise ArtefactError(f"{file} has {twice!r} twice: give one entry a person")
    names = [name for name, templates in listed for _ in templates]
    rows = [row for _, templates in listed for row in templates]
    return _People(str(data["model_id"]), names, np.asarray(rows, np.float32))


def _check_format(file: Path, name: object, version: object) -> None:
    if name != FORMAT:
        raise ArtefactError(f"{file} is no file of edgeface gallery export: its format is {str(name)[:40]!r}")
    if version != VERSION:
        raise ArtefactError(f"{file} has version {version}, this edgeface reads version {VERSION}: upgrade edgeface")
