"""Where the engines of a bundle are kept, and which of them may be loaded here.

A name tells what the engine is of and for (model, TensorRT, GPU), so one folder serves several devices and an upgrade
overwrites nothing. The folder is `engines` in EDGEFACE_CACHE where that is set, else `BUNDLE.engines` beside the
bundle, else, where that cannot be written, `engines` in `~/.cache/edgeface`. Engines are looked for in both folders
there are.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from edgeface_runtime.cache import cache_dir
from edgeface_runtime.engine import read_sidecar
from edgeface_runtime.engine_check import CheckedEngine, Here, checked_engine
from edgeface_runtime.errors import ArtefactError, EdgefaceError, EngineError, InputError
from edgeface_runtime.files import cannot_write, make_parent
from edgeface_runtime.shipped import is_shipped

__all__ = ["engine_folders", "engine_lock", "engine_path", "find_engine"]

DIGITS = 16
"""Of the model's hash, in an engine's name."""


def engine_folders(bundle: Path) -> list[Path]:
    """Where engines of a bundle (folder or `.tar`) may lie; new ones are written to the first."""
    beside = _beside(bundle)
    cache = cache_dir()
    if cache is None:
        return [beside]
    kept = cache / "engines"
    if is_shipped(bundle):
        return [kept]
    first = bool(os.environ.get("EDGEFACE_CACHE")) or not _writable(beside)
    return [kept, beside] if first else [beside, kept]


def engine_path(bundle: Path, onnx_sha256: str, here: Here) -> Path:
    """Where the engine of one of a bundle's models is built to, for this machine."""
    return engine_folders(bundle)[0] / _name(onnx_sha256, here)


def find_engine(
    bundle: Path, onnx_sha256: str, precision: str, here: Here, again: str, key: Path | None = None
) -> CheckedEngine:
    """The engine of one of a bundle's models that may be loaded here, whole and checked.

    Args:
        bundle: folder or `.tar`.
        onnx_sha256: of the model.
        precision: of the model, for messages and to tell what an older model's engine was.
        again: what mends a refusal, for its end.
        key: public key that must have signed it.

    Raises:
        EngineError, ArtefactError: there is none, or the nearest is refused: see `checked_engine`.
    """
    refused: list[EdgefaceError] = []
    for path in _candidates(bundle, onnx_sha256, precision, here):
        try:
            return checked_engine(path, here, onnx_sha256, again, key)
        except (ArtefactError, EngineError) as exc:
            refused.append(exc)
        except InputError as exc:
            if path.exists():
                raise
            refused.append(exc)  # removed since it was listed
    if refused:
        raise refused[0]
    gpu = f" for {here.gpu.name}" if here.gpu else ""
    raise EngineError(f"no {here.flavour} engine of the {precision} model of {bundle}{gpu} yet: {again}")


@contextlib.contextmanager
def engine_lock(engine: Path, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the right to build `engine` at its place; while another process has it, call `waiting` once and wait.

    Raises:
        InputError: the folder cannot be written to, which is so known before the build.
    """
    path = engine.with_name(f".{engine.name}.lock")
    handle = _lock(path, engine, waiting)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)
        with contextlib.suppress(OSError):
            engine.parent.rmdir()  # nothing was built, and nothing else is there


def _lock(path: Path, engine: Path, waiting: Callable[[], None]) -> int:
    """Open and lock the file; once more where who had it removed it in the meantime."""
    while True:
        make_parent(engine)
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue  # the folder was removed in between
        except OSError as exc:
            raise cannot_write(engine, exc) from exc
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                waiting()
                waiting = _said
                fcntl.flock(handle, fcntl.LOCK_EX)
            if os.path.samestat(os.fstat(handle), path.stat()):
                return handle
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _said() -> None:
    """Once is enough."""


def _beside(bundle: Path) -> Path:
    real = bundle.resolve()
    return real.with_name(real.name + ".engines")


def _name(onnx_sha256: str, here: Here) -> str:
    gpu = "any-gpu" if here.gpu is None else f"{_words(here.gpu.name)}-{here.gpu.compute_capability}"
    return f"{onnx_sha256[:DIGITS]}-{here.flavour}-{_words(here.tensorrt_version, '.')}-{gpu}.engine"


def _words(text: str, also: str = "") -> str:
    return re.sub(rf"[^A-Za-z0-9{re.escape(also)}]+", "-", text).strip("-")


def _candidates(bundle: Path, onnx_sha256: str, precision: str, here: Here) -> Iterator[Path]:
    """Engines of this model, the one named for here first, then the newest; beside the bundle also an older one's."""
    folders, beside = engine_folders(bundle), _beside(bundle)
    exact = [folder / _name(onnx_sha256, here) for folder in folders]
    exact = [path for path in exact if path.is_file()]
    yield from exact
    others = [path for folder in folders for path in folder.glob(f"*-{here.flavour}-[0-9]*.engine")]
    others = sorted((path for path in others if path not in exact), key=_age)
    own = [path for path in others if path.name.startswith(onnx_sha256[:DIGITS])]
    yield from own
    for path in others:
        if path not in own and path.parent == beside:
            with contextlib.suppress(ArtefactError):
                if read_sidecar(path).precision == precision:
                    yield path


def _age(path: Path) -> float:
    try:
        return -path.stat().st_mtime
    except OSError:
        return 0.0


def _writable(folder: Path) -> bool:
    """Whether the folder can be written to, or made."""
    return os.access(folder if folder.exists() else folder.parent, os.W_OK | os.X_OK)
