"""TensorRT's timing cache: kernels measured in one build need not be measured in the next.

What was measured holds for one GPU and one version of TensorRT, so the file begins with a line that names them and
the checksum of the rest; TensorRT never sees a cache that is damaged or another's. One that does not fit is replaced,
and that is said; a file that is no timing cache is left alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeface_runtime.errors import InputError
from edgeface_runtime.files import write_bytes

__all__ = ["attach_cache", "save_cache"]

MAGIC = b"edgeface-timing-cache "
DAMAGED = "damaged"


def attach_cache(config: Any, path: Path, owner: Mapping[str, str]) -> tuple[Any, str]:
    """Give a build the cache of the file `path`, or a new one.

    Returns:
        The cache, which must live until the engine is built; and in words, whether it was read, or why not.

    Args:
        owner: what a cache belongs to: TensorRT with its version, GPU, compute capability.

    Raises:
        InputError: the file cannot be read, or is something else.
    """
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return _new(config), "new"
    except OSError as exc:
        raise InputError(f"cannot read --timing-cache {path}: {exc.strerror or exc}") from exc
    if content and not content.startswith(MAGIC[: len(content)]):
        raise InputError(f"{path} exists and is no timing cache of edgeface: choose another --timing-cache")
    measured, reason = _open(content, owner)
    if reason is None:
        cache = config.create_timing_cache(measured)
        if cache is not None and config.set_timing_cache(cache, False):
            return cache, "read"
        reason = "TensorRT refuses it"
    return _new(config), f"replaced, {path.name} could not be used: {reason}"


def save_cache(config: Any, path: Path, owner: Mapping[str, str]) -> str | None:
    """Write what a build has measured, atomically; why that was not possible, or None. The engine is worth more."""
    cache = config.get_timing_cache()
    if cache is None:
        return "TensorRT gave none back"
    measured = bytes(cache.serialize())
    header = json.dumps({**owner, "sha256": hashlib.sha256(measured).hexdigest()}).encode()
    try:
        write_bytes(path, MAGIC + header + b"\n" + measured)
    except InputError as exc:
        return str(exc)
    return None


def _new(config: Any) -> Any:
    cache = config.create_timing_cache(b"")
    config.set_timing_cache(cache, False)
    return cache


def _open(content: bytes, owner: Mapping[str, str]) -> tuple[bytes, str | None]:
    """What was measured; or why it does not hold here."""
    line, _, measured = content[len(MAGIC) :].partition(b"\n")
    try:
        header = json.loads(line)
    except ValueError:
        return b"", DAMAGED
    if not isinstance(header, dict) or header.get("sha256") != hashlib.sha256(measured).hexdigest():
        return b"", DAMAGED
    for name, here in owner.items():
        if header.get(name) != here:
            return b"", f"it is of {name} {header.get(name)}, here is {here}"
    return measured, None
