"""A bundle in another place, whole or not at all; on the way it may get more precisions."""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from edgeface_export.bundle_place import bundle_folder, check_place
from edgeface_runtime.bundle import Bundle, Manifest, read_manifest
from edgeface_runtime.errors import InputError
from edgeface_runtime.manifest import MANIFEST_NAME, SIGNATURE_NAME
from edgeface_runtime.shipped import PAPERS

if TYPE_CHECKING:
    from edgeface_export.int8_export import Int8Settings
    from edgeface_export.judge import Judging

__all__ = ["copy_bundle"]


def copy_bundle(
    source: Bundle,
    out: Path,
    precisions: Collection[str] = (),
    judging: Judging | None = None,
    int8: Int8Settings | None = None,
    *,
    overwrite: bool = False,
) -> Manifest:
    """Copy an open bundle to `out`, a folder or a `.tar`, with its signature where nothing changes.

    Licence and card that lie beside a folder go with a copy that is one; a `.tar` holds what the manifest names.

    Args:
        precisions: to make besides; needs `judging`, and `int8` where one of them is.

    Raises:
        InputError: `out` is taken or cannot be written, or as `add_precisions`.
        GateError: a precision misses its gate; nothing is written.
    """
    check_place(out, overwrite)
    if out.resolve() == source.source.resolve():
        raise InputError(f"{out} is the bundle itself: choose another place for the copy")
    more = [precision for precision in precisions if precision != "fp32"]
    with bundle_folder(out) as folder:
        whole = folder if not more else folder / "copy"
        signed = () if more else (SIGNATURE_NAME,)
        for name in (MANIFEST_NAME, *source.manifest.files, *signed):
            if name == SIGNATURE_NAME and not (source.folder / name).is_file():
                continue
            (whole / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source.folder / name, whole / name)
        for name in PAPERS:
            if (source.folder / name).is_file():
                shutil.copyfile(source.folder / name, folder / name)
        if more and judging is not None:
            from edgeface_export.add_precisions import add_precisions

            add_precisions(whole, more, judging, int8)
            for path in whole.iterdir():
                path.rename(folder / path.name)
            whole.rmdir()
        return read_manifest(folder)
