"""A bundle: a folder, or one `.tar`, that is all a device needs to recognise faces.

Opening one reads its manifest and checks every file against it. Hashes once checked are remembered (see cache.py);
`verify(full=True)` reads everything again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgeface_runtime.backends import runs_on_cpu
from edgeface_runtime.cache import file_stamp, remembered_sha256
from edgeface_runtime.errors import ArtefactError, InputError
from edgeface_runtime.manifest import (
    MANIFEST_NAME,
    FileEntry,
    InputSpec,
    Manifest,
    Ratio,
    read_manifest,
    write_manifest,
)
from edgeface_runtime.shipped import NAME, is_shipped, shipped_model

if TYPE_CHECKING:
    from edgeface_runtime.archive import Unpacked

__all__ = [
    "EXPORTED",
    "Bundle",
    "FileEntry",
    "InputSpec",
    "Manifest",
    "Ratio",
    "open_bundle",
    "pack_bundle",
    "read_manifest",
    "short_id",
    "write_manifest",
]


EXPORTED = ("fp32", "fp16", "int8", "int8+fp16")
"""Precisions that `edgeface export` offers."""


def short_id(model_id: str) -> str:
    """The first twelve digits of a model's id, for people."""
    return model_id[:12]


@dataclass(frozen=True)
class Bundle:
    """An open bundle whose files were checked."""

    source: Path
    """What was opened: a folder or a `.tar`."""
    folder: Path
    """Where the files lie."""
    manifest: Manifest
    """What the bundle says about itself."""
    unpacked: Unpacked | None = field(default=None, repr=False, compare=False)
    """Keeps a temporary folder alive, where the bundle is a `.tar` and the cache could not be written."""
    stamps: dict[str, dict[str, int]] = field(default_factory=dict, repr=False, compare=False)
    """Which files were checked: name -> its `file_stamp` before it was read."""

    @property
    def model_id(self) -> str:
        """Hex SHA-256 of the FP32 recogniser: galleries are bound to it, whatever precision runs."""
        return self.manifest.files[self.manifest.models["fp32"]].sha256

    def variant(self, precision: str, backend: str, device: str = "auto") -> str:
        """Key among the models of what runs: INT8 on a CPU has a graph of its own."""
        own = f"{precision}-cpu"
        return own if own in self.manifest.models and runs_on_cpu(backend, device) else precision

    def model_path(self, precision: str = "fp32") -> Path:
        """The ONNX file of a precision.

        Raises:
            InputError: the bundle has no such precision; the known ones are listed.
        """
        return self.folder / self._model_name(precision)

    def model_sha256(self, precision: str = "fp32") -> str:
        """Hex SHA-256 of the ONNX file of a precision. Raises as `model_path` does."""
        return self.manifest.files[self._model_name(precision)].sha256

    def _model_name(self, precision: str) -> str:
        try:
            return self.manifest.models[precision]
        except KeyError as exc:
            known = ", ".join(key for key in EXPORTED if key in self.manifest.models)
            mend = self._adding(precision)
            raise InputError(f"{self.source} has no {precision} model, it has {known}: {mend}") from exc

    def _adding(self, precision: str) -> str:
        """How to come by a precision that is missing."""
        if precision not in EXPORTED:
            return "choose one of them"
        if is_shipped(self.source):
            return f"edgeface bundle copy default DIR --precision {precision} --faces FACES makes a copy that has it"
        if precision.startswith("int8") and self.manifest.dictionary is None:
            return f"add it with edgeface calibrate int8 {self.source} --data FACES --precision {precision}"
        if "imported" in self.manifest.arch:
            return f"import it again with --precision {precision}"
        return f"export it with --precision {precision}"

    def verify(self, full: bool = False) -> None:
        """Check the size and SHA-256 of every file the manifest lists; `full` reads all, whatever is remembered.

        Raises:
            ArtefactError: a file is missing, truncated or altered.
        """
        for name, entry in self.manifest.files.items():
            path = self.folder / name
            try:
                self.stamps[name] = file_stamp(path.stat())
                size_bytes = self.stamps[name]["size_bytes"]
                if size_bytes != entry.size_bytes:
                    raise ArtefactError(
                        f"{self.source} is damaged: {name} has {size_bytes} bytes, not {entry.size_bytes}: "
                        "copy or export the bundle again"
                    )
                digest = remembered_sha256(path, full)
            except FileNotFoundError as exc:
                raise ArtefactError(
                    f"{self.source} is damaged: {name} is missing: copy or export the bundle again"
                ) from exc
            except OSError as exc:
                raise ArtefactError(f"cannot read {path}: {exc.strerror or exc}") from exc
            if digest != entry.sha256:
                raise ArtefactError(
                    f"{self.source} is damaged: {name} is not the file that was exported (SHA-256 differs): "
                    "copy or export the bundle again"
                )

    def check_unchanged(self) -> None:
        """Whether the files are still those that were checked: asked after they have been loaded.

        Raises:
            ArtefactError: one was replaced meanwhile.
        """
        for name, stamp in self.stamps.items():
            try:
                same = file_stamp((self.folder / name).stat()) == stamp
            except OSError:
                same = False
            if not same:
                raise ArtefactError(f"{self.source} was replaced while it was being opened ({name}): try again")


def open_bundle(path: str | Path, full: bool = False) -> Bundle:
    """Open a bundle and check it; `full` re-reads what is remembered.

    Args:
        path: a folder, its manifest, a `.tar`, or `default`, the model that comes with the package.

    Raises:
        InputError: there is nothing at `path`, or something here is called `default` too.
        ArtefactError: it is damaged, foreign or too new.
    """
    path = Path(path)
    if str(path) == NAME:
        path = shipped_model()
    if not path.exists():
        raise InputError(f"bundle not found: {path}")
    if path.name == MANIFEST_NAME:
        path = path.parent
    if path.is_dir():
        return _checked(Bundle(path, path, read_manifest(path)), full)
    if path.suffix.lower() != ".tar":
        how = "edgeface bundle import" if path.suffix.lower() == ".onnx" else "edgeface export"
        raise ArtefactError(f"{path} is neither a bundle's folder nor a .tar: make a bundle with {how}")
    try:
        return _open_tar(path, full)
    except ArtefactError:
        # Perhaps only the unpacked copy is damaged: once more from the archive, which has the last word.
        from edgeface_runtime.archive import forget_unpacked

        forget_unpacked(path)
        return _open_tar(path, full)


def pack_bundle(folder: Path, path: Path, signature: bytes | None = None) -> Path:
    """See `archive.pack_bundle`."""
    from edgeface_runtime import archive  # tarfile takes its time to import

    return archive.pack_bundle(folder, path, signature)


def _open_tar(path: Path, full: bool) -> Bundle:
    from edgeface_runtime.archive import unpack_bundle

    unpacked = unpack_bundle(path)
    return _checked(
        Bundle(path, unpacked.folder, read_manifest(unpacked.folder, f"{path} ({MANIFEST_NAME})"), unpacked), full
    )


def _checked(bundle: Bundle, full: bool) -> Bundle:
    bundle.verify(full)
    return bundle
