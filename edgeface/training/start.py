"""Where a run starts: the network (new or from a checkpoint, with a mask if asked) and the class weights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edgeface.data.faces import Faces
from edgeface.data.folders import FaceFolder
from edgeface.models import ArchSpec, CheckpointMeta, FaceNet, load_checkpoint
from edgeface.models.extend import add_mask, with_patterns
from edgeface.models.spec import MASKS
from edgeface.training.margin import MARGINS, MarginSoftmax
from edgeface.training.run_folder import STATE_NAME
from edgeface.training.settings import STAGES, TrainSettings
from edgeface.training.state import read_class_weights
from edgeface.training.step import to_input
from edgeface_runtime.errors import InputError

__all__ = ["data_words", "finished_meta", "imprint", "is_trained", "start_margin", "start_network"]

IMPRINT_FACES = 8
"""Faces per person that class weights are imprinted from."""


def start_network(
    init: ArchSpec | Path, mask: str | None, seed: int, patterns: int = 0
) -> tuple[FaceNet, CheckpointMeta]:
    """A network in training mode, and what is known of it.

    Args:
        init: an architecture (fresh weights from `seed`) or a checkpoint (`--from`).
        mask: a kind of mask adds one where there is none; "none" refuses to drop one; None leaves things as they are.
        patterns: side of the grid of the pattern head; 0: none. A head for another grid is replaced.

    Raises:
        InputError, ArtefactError: as `load_checkpoint`, or `mask` cannot be had.
    """
    if mask not in (None, "none", *MASKS):
        raise InputError(f"unknown --mask {mask!r}: choose none, {', '.join(MASKS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if isinstance(init, ArchSpec):
            model, meta = FaceNet(init), CheckpointMeta(history=(f"new {init.name}, seed {seed}",))
        else:
            loaded = load_checkpoint(init)
            model, meta = loaded.model, loaded.meta
        if mask not in (None, "none") and model.spec.mask is None:
            model = add_mask(model, kind=mask or "")
            meta = replace(meta, history=(*meta.history, f"mask {mask} added"))
        found = model.spec.mask
        if found is not None and mask not in (None, found.kind):
            raise InputError(
                "the network has a mask decoder, which --mask none would drop: leave --mask out"
                if mask == "none"
                else f"the network has a {found.kind} mask, not one of --mask {mask}: leave --mask out"
            )
        if patterns != (found.patterns if found else 0):
            model = with_patterns(model, patterns)
    return model.train(), meta


def is_trained(meta: CheckpointMeta) -> bool:
    """Whether a network's embeddings mean anything; a converted one does not know how many faces it has seen."""
    return meta.faces_seen > 0 or meta.stage in STAGES


def start_margin(
    settings: TrainSettings, model: FaceNet, meta: CheckpointMeta, faces: Faces, init: ArchSpec | Path
) -> tuple[MarginSoftmax, str]:
    """The margin head, and in words where its class weights come from.

    A checkpoint does not hold class weights. If the run that wrote it lies beside it and had the same people, its
    weights go on; else, for a trained network, each person starts at their mean embedding; else at random.
    """
    people = faces.folder.identities
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed + 1)
        margin = MarginSoftmax(model.spec.embedding, len(people), *MARGINS[settings.loss])
    if isinstance(init, ArchSpec) or not is_trained(meta):
        return margin, "random"
    kept = read_class_weights(init.parent / STATE_NAME, people, model.spec.embedding)
    weights = imprint(model, faces) if kept is None else kept
    with torch.no_grad():
        margin.weight.copy_(weights)
    return margin, "mean embeddings" if kept is None else f"from {STATE_NAME} beside the checkpoint"


@torch.no_grad()
def imprint(model: FaceNet, faces: Faces, batch: int = 64) -> Tensor:
    """(people, embedding) unit vectors: each person's mean direction over their first few faces.

    The network is used as in inference and left in training mode.
    """
    labels = faces.labels
    first = np.searchsorted(labels, labels)  # samples are sorted by label
    chosen = np.flatnonzero(np.arange(len(labels)) - first < IMPRINT_FACES)
    device = next(model.parameters()).device
    sums = torch.zeros(len(faces.folder.identities), model.spec.embedding)
    model.eval()
    for start in range(0, len(chosen), batch):
        part = chosen[start : start + batch]
        pixels = torch.from_numpy(np.stack([faces[int(index)] for index in part]))
        vectors = torch.nn.functional.normalize(model(to_input(pixels.to(device)).contiguous()))
        sums.index_add_(0, torch.from_numpy(labels[part]), vectors.cpu())
    model.train()
    return torch.nn.functional.normalize(sums)


def data_words(folder: FaceFolder, settings: TrainSettings) -> str:
    """What it was trained on, for a checkpoint's `data`."""
    words = [folder.name]
    if settings.stage == "occluded":
        words.append(f"{settings.occluded_part:.0%} of the samples covered ({', '.join(settings.kinds)})")
    if settings.background != "none":
        words.append(f"{settings.background_part:.0%} before another background")
    return ", ".join(words)


def finished_meta(
    start: CheckpointMeta, settings: TrainSettings, folder: FaceFolder, epochs: int, faces_seen: int
) -> CheckpointMeta:
    """What the checkpoint says after `epochs` of this run."""
    count = f"{epochs} epochs" if epochs == settings.epochs else f"{epochs} of {settings.epochs} epochs"
    line = (
        f"{settings.stage}: {count}, {settings.loss}, lr {settings.first_lr:g}, batch {settings.batch}, "
        f"seed {settings.seed}, {faces_seen} faces seen, {data_words(folder, settings)}"
    )
    if settings.freeze != "none":
        line += f", {settings.freeze} frozen"
    if settings.patterns:
        line += f", patterns of a {settings.patterns}x{settings.patterns} grid (weight {settings.pattern_weight:g})"
    return start.step(
        line,
        stage=settings.stage,
        loss=settings.loss,
        seed=settings.seed,
        data=data_words(folder, settings),
        epochs=start.epochs + epochs,
        faces_seen=start.faces_seen + faces_seen,
    )
