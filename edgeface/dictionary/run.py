"""Training a mask dictionary: one generator per region on a frozen network, then the binary dictionary (`cell` needs
no generators: only the clean faces' mean features are measured).

The trunk sees every clean face once and every covered face once; all else works on features in memory. A run's folder
holds run.json, log.jsonl, generators.safetensors (with the mean masks), dictionary.npz and, where matplotlib is
installed, dictionary.png.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edgeface.data.folders import FaceFolder, Skipped, scan
from edgeface.dictionary.blocks import cover, pair_rng
from edgeface.dictionary.build import binary_mask, mean_mask
from edgeface.dictionary.fit import Epoch, fit_generator
from edgeface.dictionary.landmarks import Landmarks, LandmarkStats, aligned_stats, read_landmarks, spread
from edgeface.dictionary.layouts import WITHOUT_LANDMARKS, cell_masks, layout
from edgeface.dictionary.pairs import Chosen, read_faces, trunk_features
from edgeface.dictionary.plot import plot_dictionary
from edgeface.dictionary.settings import DictionarySettings
from edgeface.dictionary.store import (
    DICTIONARY_NAME,
    PLOT_NAME,
    Finished,
    Identity,
    claim,
    load_finished,
    save_finished,
)
from edgeface.models import FaceNet, load_checkpoint
from edgeface.models.digest import DIGEST, weights_digest
from edgeface.training.device import choose_device, choose_precision, prepare_cpu
from edgeface.training.log import Monitor, RunLog
from edgeface.training.margin import MARGINS, MarginSoftmax
from edgeface.training.run_folder import LOG_NAME, STATE_NAME
from edgeface.training.state import read_class_weights
from edgeface_calibration.landmarks import LANDMARKS_NAME
from edgeface_runtime.dictionary import MaskDictionary
from edgeface_runtime.errors import InputError, MissingExtraError
from edgeface_runtime.regions import Region, face_regions

__all__ = ["DictionaryResult", "train_dictionary"]

SPREAD_FACES = 64
"""Aligned crops a spread of landmarks is measured on."""


@dataclass(frozen=True)
class DictionaryResult:
    """How a run ended."""

    path: Path
    """dictionary.npz; missing if not done."""
    done: bool
    """False: stopped by Ctrl-C; `resume=True` goes on with the next region."""
    dictionary: MaskDictionary | None
    plot: Path | None
    """The picture, None without matplotlib."""
    pairs: dict[str, int]
    """Pairs per region trained in this call."""
    skipped: tuple[Skipped, ...]
    """Pictures that would have been taken but cannot be."""
    outside: int
    """Pictures with a landmark outside the crop."""


@dataclass
class _Job:
    settings: DictionarySettings
    model: FaceNet
    margin: MarginSoftmax
    faces: Chosen
    classes: Tensor
    """(N,) int64, rows of the margin's weights."""
    clean: Tensor
    regions: tuple[Region, ...]
    per_face: list[tuple[Region, ...]] | None
    precision: str
    monitor: Monitor
    log: RunLog

    def pairs(self, number: int) -> tuple[Tensor, Tensor]:
        """Indices of the faces on which the region lies, and the features of those faces with it covered."""
        region, settings = self.regions[number], self.settings
        used, crops = [], []
        for index, (name, crop) in enumerate(zip(self.faces.names, self.faces.crops, strict=True)):
            place = region if self.per_face is None else self.per_face[index][number]
            covered = cover(crop, place, pair_rng(settings.seed, name, region.name), settings.fill)
            if covered is not None:
                used.append(index)
                crops.append(covered)
        if len(used) < 2:
            raise InputError(f"region {region.name} lies outside nearly every crop: use another --mask")
        features = _features(
            self.model, np.stack(crops), self.precision, self.monitor, f"{region.name}: covered faces"
        )
        return torch.tensor(used), features

    def fit(self, number: int) -> tuple[Finished, int]:
        """One region's generator and mean mask, and how many pairs there were."""
        region = self.regions[number]
        begun = time.perf_counter()
        used, covered = self.pairs(number)
        clean = self.clean[used]
        self.monitor.begin(f"{region.name} ({number + 1}/{len(self.regions)})", self.settings.epochs)

        def report(epoch: Epoch) -> None:
            held = "" if epoch.validation is None else f", validation {epoch.validation:.3f}"
            self.monitor.update(epoch.epoch, note=f"loss {epoch.loss:.3f}{held}")
            self.log.write("epoch", region=region.name, **epoch.__dict__)

        generator = fit_generator(
            region.name,
            self.model.head,
            self.margin,
            clean,
            covered,
            self.classes[used],
            self.settings,
            self.precision,
            report,
        )
        mean = mean_mask(generator, clean, covered)
        seconds = time.perf_counter() - begun
        self.log.write("region", region=region.name, box=list(region.box), pairs=len(used), seconds=round(seconds, 1))
        self.monitor.epoch(f"region {region.name}: {len(used)} pairs, {seconds:.0f} s")
        return Finished(
            {k: v.detach().cpu() for k, v in generator.state_dict().items()}, torch.from_numpy(mean)
        ), len(used)


def train_dictionary(
    settings: DictionarySettings,
    data: Path | FaceFolder,
    checkpoint: Path,
    out: Path,
    *,
    resume: bool = False,
    quiet: bool = False,
) -> DictionaryResult:
    """Train the dictionary of one kind of regions for the network of a checkpoint.

    Args:
        data: identity folder of crops of the network's size, with `landmarks.json` where they are not aligned.
        checkpoint: a network without a mask of its own; it is not changed.
        out: the run's folder; must hold no run unless `resume`.
        resume: go on after the last finished region; all but the percentile and the device must be the same.

    Raises:
        InputError: bad data, a network with a mask, or a folder that holds another run.
        ArtefactError: a damaged checkpoint or run.
        DeviceError: CUDA was asked for and there is none.
        GateError: a generator's loss is not a number any more; finished regions are kept.
    """
    prepare_cpu(settings.threads)
    model = load_checkpoint(checkpoint).model.eval().requires_grad_(False)
    if model.spec.mask is not None:
        raise InputError(f"{checkpoint} has a mask of its own: a dictionary is made for a network without one")
    device = choose_device(settings.device)
    folder = data if isinstance(data, FaceFolder) else scan(data)
    identity = Identity(settings.identity, folder.name, folder.digest, checkpoint.name, weights_digest(model))
    precision = choose_precision(settings.precision, device)
    with Monitor(quiet) as monitor:
        size = model.spec.input_size
        names = [path.relative_to(folder.root).as_posix() for path, _ in folder.samples]
        landmarks = read_landmarks(folder.root, names, size) if settings.kind not in WITHOUT_LANDMARKS else None
        need = settings.kind == "lmface" and landmarks is not None
        faces = read_faces(folder, settings.pairs, settings.seed, size, landmarks, need)
        stats = _stats(settings, landmarks, faces, size)
        cell = (size[0] / model.spec.top_size[0], size[1] / model.spec.top_size[1])
        regions = layout(settings.kind, size, cell, stats, settings.grid)
        skipped = (*folder.skipped, *faces.skipped)
        extra = _facts(settings, folder, identity, faces, landmarks, stats)
        claim(out, identity, resume)  # not before it is known that there is something to train
        finished, mean = load_finished(out, identity)
        log = RunLog(out / LOG_NAME)
        _tell(monitor, skipped, landmarks, stats)
        job = None
        counted: dict[str, int] = {}
        try:
            learned = settings.kind != "cell"
            left = [number for number, region in enumerate(regions) if learned and region.name not in finished]
            if left or mean is None:
                log.write("start", **extra, skipped=[f"{entry.path}: {entry.reason}" for entry in skipped])
                job = _prepare(
                    settings, model.to(device), folder, checkpoint, faces, regions, cell, precision, monitor, log
                )
                mean = job.clean.float().mean(0).half().cpu()
            for number in left:
                assert job is not None and mean is not None
                part, count = job.fit(number)
                finished[regions[number].name] = part
                counted[regions[number].name] = count
                save_finished(out, identity, finished, mean)
        except KeyboardInterrupt:
            monitor.say(f"stopped after {len(finished)} of {len(regions)} regions; go on with --resume")
            log.write("stop", reason="interrupted", regions=len(finished))
            return DictionaryResult(out / DICTIONARY_NAME, False, None, None, counted, skipped, _outside(landmarks))
        assert mean is not None
        tau = settings.percentile
        if tau is None:
            masks = cell_masks(mean.shape)
        else:
            masks = np.stack([binary_mask(finished[region.name].mean_array, tau) for region in regions])
        found = MaskDictionary(
            kind=settings.kind,
            regions=regions,
            masks=masks,
            input_size=size,
            per_face=settings.kind == "lmface",
            mean=mean.numpy(),
            discarded=settings.discarded,
            extra=extra,
        )
        found.save(out / DICTIONARY_NAME)
        plot: Path | None = out / PLOT_NAME
        try:
            plot_dictionary(found, faces.crops, out / PLOT_NAME)
        except MissingExtraError as exc:
            plot = None
            monitor.say(f"no picture of the dictionary: {exc}")
        log.write("done", regions=len(regions), tau=tau)
    return DictionaryResult(out / DICTIONARY_NAME, True, found, plot, counted, skipped, _outside(landmarks))


def _prepare(
    settings: DictionarySettings,
    model: FaceNet,
    folder: FaceFolder,
    checkpoint: Path,
    faces: Chosen,
    regions: tuple[Region, ...],
    cell: tuple[float, float],
    precision: str,
    monitor: Monitor,
    log: RunLog,
) -> _Job:
    """Features of the clean faces, and class weights."""
    clean = _features(model, faces.crops, precision, monitor, "clean faces")
    weights = read_class_weights(checkpoint.parent / STATE_NAME, folder.identities, model.spec.embedding)
    if weights is not None:
        classes, words = torch.from_numpy(faces.labels), f"from {STATE_NAME} beside the checkpoint"
    else:
        present, inverse = np.unique(faces.labels, return_inverse=True)
        classes, words = torch.from_numpy(inverse.astype(np.int64)), "mean embeddings"
        weights = _imprint(model, clean, classes, len(present))
    margin = MarginSoftmax(model.spec.embedding, len(weights), *MARGINS[settings.loss])
    with torch.no_grad():
        margin.weight.copy_(weights)
    log.write("classes", weights=words, people=len(weights), precision=precision)
    placed = None
    if settings.kind == "lmface" and faces.points is not None:
        placed = [face_regions(points, cell) for points in faces.points]
    return _Job(settings, model, margin, faces, classes, clean, regions, placed, precision, monitor, log)


def _features(model: FaceNet, crops: NDArray[np.uint8], precision: str, monitor: Monitor, words: str) -> Tensor:
    monitor.begin(words, len(crops))
    done = 0

    def progress(count: int) -> None:
        nonlocal done
        done += count
        monitor.update(done)

    return trunk_features(model, crops, precision, progress)


@torch.no_grad()
def _imprint(model: FaceNet, clean: Tensor, classes: Tensor, people: int) -> Tensor:
    """(people, embedding): the mean direction of each person's faces."""
    device = next(model.parameters()).device
    sums = torch.zeros(people, model.spec.embedding)
    for start in range(0, len(clean), 64):
        vectors = model.head(clean[start : start + 64].to(device).float())
        sums.index_add_(0, classes[start : start + 64], torch.nn.functional.normalize(vectors).cpu())
    return torch.nn.functional.normalize(sums)


def _stats(
    settings: DictionarySettings, landmarks: Landmarks | None, faces: Chosen, size: tuple[int, int]
) -> LandmarkStats | None:
    if settings.kind in WITHOUT_LANDMARKS:
        return None
    if landmarks is None:
        return aligned_stats(list(faces.crops[:SPREAD_FACES]), size)
    return spread(np.stack(list(landmarks.points.values())), f"{LANDMARKS_NAME}, {len(landmarks.points)} faces")


def _facts(
    settings: DictionarySettings,
    folder: FaceFolder,
    identity: Identity,
    faces: Chosen,
    landmarks: Landmarks | None,
    stats: LandmarkStats | None,
) -> dict[str, Any]:
    """What the dictionary says of itself."""
    return {
        "settings": settings.to_dict(),
        "tau": settings.percentile,
        "data": folder.name,
        "network": identity.network,
        DIGEST: identity.network_digest,
        "faces": len(faces.names),
        "landmarks": None if stats is None else stats.to_dict(),
        "landmarks_missing": len(landmarks.missing) if landmarks else 0,
        "landmarks_unusable": len(landmarks.unusable) if landmarks else 0,
        "landmarks_outside": _outside(landmarks),
        "per_face_points": settings.kind == "lmface" and faces.points is not None,
    }


def _outside(landmarks: Landmarks | None) -> int:
    return len(landmarks.outside) if landmarks else 0


def _tell(
    monitor: Monitor, skipped: Sequence[Skipped], landmarks: Landmarks | None, stats: LandmarkStats | None
) -> None:
    """What was left out or assumed."""
    for entry in skipped[:5]:
        monitor.say(f"left out {entry.path}: {entry.reason}")
    if len(skipped) > 5:
        monitor.say(f"left out {len(skipped)} pictures in all, listed in {LOG_NAME}")
    if landmarks is not None:
        for words, names in (
            ("without landmarks", landmarks.missing),
            ("with unusable landmarks", landmarks.unusable),
            ("with a landmark outside the crop (counted with the others)", landmarks.outside),
        ):
            if names:
                monitor.say(f"{len(names)} pictures {words}, first {names[0]}")
    if stats is not None:
        monitor.say(f"landmarks: {stats.source}")
