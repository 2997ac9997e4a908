"""The manifest of a bundle: what a device must know about a model, in one JSON file.

`manifest.json` carries `format` and `version`. Within one version fields may be added: those this runtime
does not know are kept and written back, never interpreted. A change in the meaning of a field raises the
version, and a version other than ours is refused. `manifest_sha256` is the checksum of all other fields.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path, PurePosixPath
from typing import Any

from edgeface_runtime.decision import Decision
from edgeface_runtime.dictionary_entry import DICTIONARY_KINDS, DictionaryEntry
from edgeface_runtime.errors import ArtefactError
from edgeface_runtime.files import cannot_write, sha256_file, write_json
from edgeface_runtime.manifest_reader import Reader
from edgeface_runtime.sealed import is_intact, seal

__all__ = [
    "FORMAT",
    "MANIFEST_NAME",
    "MASKING_KINDS",
    "SIGNATURE_NAME",
    "VERSION",
    "FileEntry",
    "InputSpec",
    "Manifest",
    "Ratio",
    "read_manifest",
    "write_manifest",
]

FORMAT = "edgeface-bundle"
VERSION = 1
MANIFEST_NAME = "manifest.json"
SIGNATURE_NAME = "manifest.sig"
"""Beside the manifest, where it is signed: see signature.py."""
SEAL = "manifest_sha256"
CROPS = ("aligned", "box")
MASKING_KINDS = ("none", "decoder", "spatial", "vector", *DICTIONARY_KINDS)


@dataclass(frozen=True)
class FileEntry:
    """One file of a bundle, as it was when the bundle was written."""

    sha256: str
    """Hex SHA-256 of its content."""
    size_bytes: int
    """Its size."""


@dataclass(frozen=True)
class InputSpec:
    """What the network eats: (pixel - mean) / std, in this layout and colour order."""

    height: int = 112
    """Rows, pixels."""
    width: int = 96
    """Columns, pixels."""
    layout: str = "NCHW"
    """Order of the axes."""
    color: str = "RGB"
    """Order of the channels: RGB or BGR."""
    mean: float = 127.5
    """Subtracted from every channel, in pixel values 0..255."""
    std: float = 127.5
    """Divided by after the subtraction."""


@dataclass(frozen=True)
class Ratio:
    """Share of convolution filters removed, in [0, 1)."""

    requested: float = 0.0
    """What was asked for."""
    achieved: float = 0.0
    """What was really removed, after rounding."""


@dataclass(frozen=True)
class Manifest:
    """All that a bundle says about itself. `files` is filled in by `write_manifest`."""

    name: str
    """Name of the model, for people."""
    created: str
    """Time of writing, ISO 8601, UTC."""
    models: Mapping[str, str]
    """Precision -> file name inside the bundle; always has `fp32`."""
    template: tuple[tuple[float, float], ...]
    """Five alignment points (x, y), pixels of the network's input."""
    outputs: tuple[str, ...] = ("embedding",)
    """Names of the network's outputs."""
    embedding_size: int = 512
    """Length of an embedding."""
    masking: str = "none"
    """How covered parts are masked: one of MASKING_KINDS."""
    input: InputSpec = field(default_factory=InputSpec)
    """The network's input."""
    crop: str = "aligned"
    """How a face is cut out: aligned, by five points onto the template, or box, the detector's box resized."""
    ratio: Ratio = field(default_factory=Ratio)
    """Prune ratio."""
    arch: Mapping[str, Any] = field(default_factory=dict)
    """The architecture, with the width of every convolution."""
    macs: int = 0
    """Multiply-adds for one face."""
    parameters: int = 0
    """Parameters of the exported network."""
    peak_memory_bytes: int | None = None
    """What a process grows by to load the fp32 model and embed one face, ONNX Runtime, CPU; None: not measured."""
    parity: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Precision -> cosine_min, cosine_mean, faces: the exported model against the trained one."""
    accuracy: tuple[Mapping[str, Any], ...] = ()
    """Measured accuracies, each with its protocol."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """False match rate (written as text, such as 1e-3) -> cosine threshold."""
    training: Mapping[str, Any] = field(default_factory=dict)
    """Stage, loss, seed, data."""
    weights: Mapping[str, Any] = field(default_factory=dict)
    """Licence and data of the weights."""
    files: Mapping[str, FileEntry] = field(default_factory=dict)
    """Path inside the bundle (forward slashes) -> hash and size."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the same version that this runtime does not know: kept and written back."""

    @property
    def deciding_rate(self) -> str | None:
        """The smallest false match rate there is a threshold for, whose threshold decides; None without any."""
        return min(self.thresholds, key=float, default=None)

    @property
    def dictionary(self) -> DictionaryEntry | None:
        """The parts of a dictionary model, None for any other.

        Raises:
            ArtefactError: they are missing or damaged.
        """
        if self.masking not in DICTIONARY_KINDS:
            return None
        return DictionaryEntry.from_dict(self.extra.get("dictionary"), MANIFEST_NAME)

    @property
    def decision(self) -> Decision:
        """Thresholds by condition and by size of gallery; an empty one where none were measured.

        Raises:
            ArtefactError: they are damaged.
        """
        return Decision.of(self.extra, MANIFEST_NAME)

    def to_dict(self) -> dict[str, Any]:
        """The manifest as JSON data, format and version first."""
        data: dict[str, Any] = {"format": FORMAT, "version": VERSION}
        data.update({f.name: getattr(self, f.name) for f in fields(self) if f.name != "extra"})
        data["input"] = vars(self.input).copy()
        data["ratio"] = vars(self.ratio).copy()
        data["files"] = {name: vars(entry).copy() for name, entry in self.files.items()}
        data["template"] = [list(point) for point in self.template]
        data["outputs"] = list(self.outputs)
        data["accuracy"] = [dict(row) for row in self.accuracy]
        for name in ("models", "arch", "parity", "thresholds", "training", "weights"):
            data[name] = dict(data[name])
        return {**data, **self.extra}

    @classmethod
    def from_dict(cls, data: Any, where: str = MANIFEST_NAME) -> Manifest:
        """Read JSON data back. `where` names the file in messages.

        Raises:
            ArtefactError: not a bundle's manifest, of another version, or a field is missing or of the wrong kind.
        """
        reader = Reader(data, where)
        reader.check_header(FORMAT, VERSION)
        known = {f.name for f in fields(cls)} | {"format", "version", SEAL}
        manifest = cls(
            name=reader.get("name", str),
            created=reader.get("created", str),
            models=reader.table("models", str),
            template=reader.points("template"),
            outputs=tuple(reader.rows("outputs", str)),
            embedding_size=reader.get("embedding_size", int),
            masking=reader.get("masking", str),
            input=reader.record("input", InputSpec()),
            crop=reader.get("crop", str) if "crop" in data else "aligned",
            ratio=reader.record("ratio", Ratio()),
            arch=reader.get("arch", dict),
            macs=reader.get("macs", int),
            parameters=reader.get("parameters", int),
            peak_memory_bytes=None if data.get("peak_memory_bytes") is None else reader.get("peak_memory_bytes", int),
            parity=reader.table("parity", dict),
            accuracy=tuple(reader.rows("accuracy", dict)),
            thresholds=reader.table("thresholds", float),
            training=reader.get("training", dict),
            weights=reader.get("weights", dict),
            files={name: _entry(row, where) for name, row in reader.table("files", dict).items()},
            extra={key: value for key, value in data.items() if key not in known},
        )
        _check(manifest, where)
        if not is_intact(data, SEAL, known):
            raise ArtefactError(f"{where} is damaged: its checksum differs: copy or export the bundle again")
        return manifest


def _entry(row: dict[str, Any], where: str) -> FileEntry:
    reader = Reader(row, where)
    return FileEntry(reader.get("sha256", str).lower(), reader.get("size_bytes", int))


def _check(manifest: Manifest, where: str) -> None:
    """What types alone do not say."""
    for name in manifest.files:
        path = PurePosixPath(name)
        if (
            path.is_absolute()
            or ".." in path.parts
            or "\\" in name
            or name in ("", ".", MANIFEST_NAME, SIGNATURE_NAME)
        ):
            raise ArtefactError(f"{where} names a file outside the bundle: {name!r}: do not use this bundle")
    if "fp32" not in manifest.models:
        raise ArtefactError(f"{where} is damaged: it lists no fp32 model: export the bundle again")
    for precision, name in manifest.models.items():
        if name not in manifest.files:
            raise ArtefactError(
                f"{where} is damaged: the {precision} model {name!r} is not among its files: export the bundle again"
            )
    for rate, threshold in manifest.thresholds.items():
        if not _is_rate(rate):
            raise ArtefactError(f"{where} is damaged: {rate!r} is no false match rate: export the bundle again")
        if abs(threshold) > 1.001:  # a hair above 1 refuses everybody, as a measured one may
            raise ArtefactError(f"{where} is damaged: threshold {threshold:g} is no cosine: calibrate it again")
    Decision.of(manifest.extra, where)
    if manifest.masking not in MASKING_KINDS:
        raise ArtefactError(
            f"{where} asks for masking {manifest.masking!r}, known are {', '.join(MASKING_KINDS)}: upgrade edgeface"
        )
    if manifest.crop not in CROPS:
        raise ArtefactError(
            f"{where} asks for crop {manifest.crop!r}, known are {', '.join(CROPS)}: upgrade edgeface"
        )
    if manifest.crop == "aligned" and not _is_template(manifest.template):
        raise ArtefactError(f"{where} is damaged: its template is no five different points: export the bundle again")
    if manifest.masking in DICTIONARY_KINDS:
        entry = DictionaryEntry.from_dict(manifest.extra.get("dictionary"), where)
        for name in entry.names():
            if name not in manifest.files:
                raise ArtefactError(
                    f"{where} is damaged: the dictionary's part {name!r} is not among its files: "
                    "export the bundle again"
                )
    if manifest.input.layout != "NCHW" or manifest.input.color not in ("RGB", "BGR") or not manifest.input.std > 0:
        raise ArtefactError(
            f"{where} describes an input this runtime cannot make: {manifest.input}: upgrade edgeface"
        )
    if manifest.embedding_size < 1 or "embedding" not in manifest.outputs:
        raise ArtefactError(f"{where} is damaged: it names no embedding: export the bundle again")


def _is_template(points: tuple[tuple[float, float], ...]) -> bool:
    return all(math.isfinite(value) for point in points for value in point) and len(set(points)) == len(points)


def _is_rate(text: str) -> bool:
    try:
        return 0 < float(text) < 1
    except ValueError:
        return False


def read_manifest(path: Path, where: str = "") -> Manifest:
    """Read a manifest: `path` is `manifest.json` itself, or the folder it lies in; `where` names it in messages.

    Raises:
        ArtefactError: it is missing, damaged, foreign or too new.
    """
    file = path / MANIFEST_NAME if path.is_dir() else path
    try:
        data = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise ArtefactError(
            f"{path} is not a bundle: {MANIFEST_NAME} is missing: make one with edgeface export"
        ) from exc
    except OSError as exc:
        raise ArtefactError(f"cannot read {file}: {exc.strerror or exc}") from exc
    except (ValueError, RecursionError) as exc:
        raise ArtefactError(f"{where or file} is damaged: it is not JSON: export or copy the bundle again") from exc
    return Manifest.from_dict(data, where or str(file))


def write_manifest(folder: Path, manifest: Manifest) -> Manifest:
    """Hash every file of `folder`, write `manifest.json` there (atomically) and return what was written.

    Hidden files (names with a leading dot) are left out. A signature is removed: it was of another manifest.

    Raises:
        ArtefactError: the manifest names a model that is not in the folder, or cannot be what it says.
        InputError: the folder cannot be written to.
    """
    files = {}
    own = (MANIFEST_NAME, SIGNATURE_NAME)
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and str(relative) not in own and not any(p.startswith(".") for p in relative.parts):
            files[relative.as_posix()] = FileEntry(sha256_file(path), path.stat().st_size)
    complete = replace(manifest, files=files)
    data = seal(complete.to_dict(), SEAL)
    where = folder / MANIFEST_NAME
    Manifest.from_dict(data, str(where))
    try:
        write_json(where, data, allow_nan=False)
    except ValueError as exc:
        raise ArtefactError(f"{where} would hold a number that is not finite: measure or export it again") from exc
    try:
        (folder / SIGNATURE_NAME).unlink(missing_ok=True)
    except OSError as exc:
        raise cannot_write(folder / SIGNATURE_NAME, exc) from exc
    return complete
