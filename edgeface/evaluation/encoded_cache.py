"""Codes of uncovered pictures kept in a folder, so that many tests of one network on one set embed them once.

One `.npz` holds what one `encode` gave. Its name is a hash over all that the codes come from: the network, what runs
it and with how many threads, how pictures are read, and every picture's path, size and times. The codes taken are so
bit for bit those put there. The features of a trunk are the same for all dictionaries on it, which share them. An
engine built again from the same model counts as the same. Probes and covered pictures are not kept.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeface.data.cache_folder import DAMAGED
from edgeface.evaluation.matching import Encoded, Floats, Matcher, Progress, no_progress
from edgeface.evaluation.occlusion import Occlusion
from edgeface.evaluation.pictures import Pictures
from edgeface_runtime import __version__
from edgeface_runtime.bundle import open_bundle
from edgeface_runtime.errors import InputError
from edgeface_runtime.files import atomic_path, sha256_file

__all__ = ["CachedMatcher", "network_facts"]

FORMAT, VERSION = "edgeface-encoded", 1
"""The version is raised when pictures are read or embedded otherwise than before."""

TOLD = ("model", "model_id", "masking", "ratio")
"""What a bundle tells of itself besides; its network is known by its hashes, whatever dictionary lies beside it."""


def network_facts(path: Path) -> dict[str, Any]:
    """What tells the network of a checkpoint or a bundle, which was opened before, from every other one.

    A bundle's dictionary, segmenter and head have no part in the codes.
    """
    if path.suffix == ".safetensors":
        import torch

        return {"checkpoint": sha256_file(path), "threads": torch.get_num_threads()}
    manifest = open_bundle(path).manifest
    models = manifest.models if manifest.dictionary is None else manifest.dictionary.trunk
    hashes = {precision: manifest.files[name].sha256 for precision, name in models.items()}
    return {"models": hashes, "input": asdict(manifest.input)}


class CachedMatcher:
    """A matcher whose codes of uncovered gallery pictures are taken from a folder, or put there.

    Args:
        matcher: the one that computes.
        folder: made when the first codes are put there.
        network: see `network_facts`.
    """

    def __init__(self, matcher: Matcher, folder: Path, network: Mapping[str, Any]) -> None:
        self.size, self.template, self.label = matcher.size, matcher.template, matcher.label
        coded = {name: value for name, value in matcher.coded.items() if name not in TOLD}
        self.coded = {**coded, "network": dict(network)}
        self.taken = self.put = 0
        """Pictures whose codes came from the folder, and that were put there."""
        self.notes: list[str] = []
        """What went wrong in the folder, a line each."""
        self._matcher, self._folder = matcher, folder

    def encode(
        self,
        pictures: Pictures,
        paths: Sequence[Path],
        occlusion: Occlusion | None = None,
        *,
        probe: bool = False,
        progress: Progress = no_progress,
    ) -> Encoded:
        if probe or occlusion is not None:
            return self._matcher.encode(pictures, paths, occlusion, probe=probe, progress=progress)
        key = _key(self.coded, pictures, paths)
        file = self._folder / f"{key}.npz"
        if os.path.lexists(file):
            try:
                found = _read(file, key, paths)
            except DAMAGED:
                self.notes.append(f"{file} is damaged or no file of codes: made anew")
            else:
                self.taken += len(found.paths)
                progress(len(paths), len(paths))
                return found
        found = self._matcher.encode(pictures, paths, progress=progress)
        try:
            _write(file, key, paths, found)
            self.put += len(found.paths)
        except InputError as exc:  # what was measured is not lost for it
            self.notes.append(f"codes are not kept: {exc}")
        return found

    def pair_scores(self, first: Encoded, second: Encoded, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        return self._matcher.pair_scores(first, second, rows)

    def probe_scores(self, gallery: Encoded, probes: Encoded) -> Iterator[tuple[NDArray[np.int64], Floats]]:
        return self._matcher.probe_scores(gallery, probes)

    def describe(self) -> dict[str, Any]:
        return self._matcher.describe()


def _key(coded: Mapping[str, Any], pictures: Pictures, paths: Sequence[Path]) -> str:
    facts = {
        "format": [FORMAT, VERSION, __version__, cv2.__version__],
        "coded": coded,
        "read": pictures.how,
        "root": str(pictures.root.absolute()),
        "pictures": [_state(path) for path in paths],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _state(path: Path) -> list[str | int]:
    """A picture's path as it was given, as the reason of a failure names it, and what changes with the picture."""
    try:
        found = path.stat()
    except OSError:
        return [str(path)]
    return [str(path), found.st_size, found.st_mtime_ns, found.st_ctime_ns]  # the last: its rights as well


def _write(file: Path, key: str, paths: Sequence[Path], encoded: Encoded) -> None:
    place = {path: at for at, path in enumerate(paths)}
    failed = [[place[path], reason] for path, reason in encoded.failed.items()]
    head = json.dumps({"format": FORMAT, "key": key, "failed": failed})
    with atomic_path(file) as temporary, temporary.open("wb") as stream:
        np.savez(stream, allow_pickle=False, head=np.array(head), codes=encoded.codes)


def _read(file: Path, key: str, paths: Sequence[Path]) -> Encoded:
    with np.load(file, allow_pickle=False) as data:
        head, codes = json.loads(str(data["head"])), data["codes"]
    if (head["format"], head["key"]) != (FORMAT, key):
        raise ValueError("of something else")
    failed = {paths[at]: str(reason) for at, reason in head["failed"]}
    done = tuple(path for path in paths if path not in failed)
    if len(codes) != len(done):
        raise ValueError("lengths")
    return Encoded(done, codes, (), failed)
