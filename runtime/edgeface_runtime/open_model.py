"""Loading what a bundle needs to run: its recogniser on a backend, and the parts of a dictionary model.

Engines and dictionaries are imported where a bundle needs them: a command that needs neither starts sooner.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from edgeface_runtime.backends import BACKENDS, Backend, open_backend
from edgeface_runtime.bundle import Bundle
from edgeface_runtime.dictionary_entry import DictionaryEntry
from edgeface_runtime.errors import ArtefactError, InputError

if TYPE_CHECKING:
    from edgeface_runtime.dictionary_model import DictionaryModel
    from edgeface_runtime.engine_open import EngineBuilder
    from edgeface_runtime.split_backend import SplitBackend

__all__ = ["open_model"]


def open_model(
    bundle: Bundle,
    backend: str,
    precision: str,
    device: str,
    threads: int,
    engine: str | Path | None,
    builder: EngineBuilder | None = None,
    signed_by: Path | None = None,
) -> tuple[Backend, DictionaryModel | None]:
    """The bundle's recogniser, and what matches covered faces where it has a mask dictionary.

    Args are those of `Recognizer.from_bundle`, with a precision that is settled; `signed_by` is the public key that
    must have signed an engine. Raises as that does.
    """
    entry = bundle.manifest.dictionary
    by_engine = BACKENDS[backend].file == "engine"
    if entry is not None and by_engine:
        raise InputError(
            f"{bundle.source} masks by a dictionary, which runs on onnxruntime only for now: "
            f"leave --backend {backend} out"
        )
    key = bundle.variant(precision, backend, device)
    model = bundle.model_path(key)
    if entry is not None:
        return _open_parts(bundle, entry, backend, key, device, threads)
    if by_engine:
        from edgeface_runtime.engine_open import open_bundle_engine

        return open_bundle_engine(bundle, backend, precision, device, engine, builder, signed_by), None
    return open_backend(backend, model, device, threads), None


def _open_parts(
    bundle: Bundle, entry: DictionaryEntry, backend: str, key: str, device: str, threads: int
) -> tuple[SplitBackend, DictionaryModel]:
    """Load trunk, head, segmenter and dictionary; on an error what was loaded is closed."""
    from edgeface_runtime.dictionary import load_dictionary
    from edgeface_runtime.dictionary_model import DictionaryModel
    from edgeface_runtime.split_backend import SplitBackend

    if key not in entry.trunk:
        raise ArtefactError(f"{bundle.source} is damaged: its trunk has no {key} model: export it again")
    dictionary = load_dictionary(bundle.folder / entry.masks)
    spec = bundle.manifest.input
    if dictionary.masks.shape[1:] != entry.features or dictionary.input_size != (spec.height, spec.width):
        raise ArtefactError(f"{bundle.source} is damaged: its dictionary is of another network: export it again")
    with ExitStack() as opened:
        parts = [
            opened.enter_context(open_backend(backend, bundle.folder / name, device, threads))
            for name in (entry.trunk[key], entry.head[key], entry.segmenter)
        ]
        opened.pop_all()
    split = SplitBackend(parts[0], parts[1], entry.features)
    return split, DictionaryModel(dictionary, parts[2], parts[1], spec, key)
