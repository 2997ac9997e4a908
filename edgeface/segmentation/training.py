"""Training a segmenter: one process, resumable after every epoch, bit for bit.

A run's folder holds run.json (what it is), log.jsonl, state.safetensors (the last finished epoch, all of it),
last.safetensors (its segmenter) and, when done, segmenter.safetensors.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from edgeface.data.dataset import Augment, Occlusion
from edgeface.data.faces import load_faces
from edgeface.data.folders import FaceFolder, Skipped, scan
from edgeface.models.digest import weights_digest
from edgeface.models.segmenter import (
    Segmenter,
    SegmenterMeta,
    build_segmenter,
    count_segmenter,
    load_segmenter,
    read_segmenter,
)
from edgeface.segmentation.dataset import SegmentDataset, split_people
from edgeface.segmentation.job import SegmentJob
from edgeface.segmentation.settings import SegmentSettings
from edgeface.segmentation.state import MODEL_NAME, RUN, SegmentRun, load_state
from edgeface.training.device import choose_device, choose_precision, prepare_cpu
from edgeface.training.distributed import ranks_from_environment
from edgeface.training.log import Monitor, RunLog
from edgeface.training.run_folder import LAST_NAME, LOG_NAME, STATE_NAME, claim_folder
from edgeface_calibration.segment_metrics import SegmentScores
from edgeface_runtime.errors import InputError

__all__ = ["SegmentTraining", "claim_run", "train_segmenter"]


@dataclass(frozen=True)
class SegmentTraining:
    """How a run ended."""

    checkpoint: Path
    """segmenter.safetensors when done, else last.safetensors (which is missing if no epoch was finished)."""
    done: bool
    """False: stopped by Ctrl-C; `resume=True` goes on."""
    epochs: int
    """Finished ones."""
    losses: tuple[float, ...]
    """Mean loss of each."""
    scores: SegmentScores | None
    """On the people held out, after the last finished epoch."""
    faces_per_s: float
    """Throughput of the last epoch; 0 if this call finished none."""
    skipped: tuple[Skipped, ...]
    """Pictures of the data set that were left out."""


def claim_run(out: Path, resume: bool) -> None:
    """Refuse to write over a run, or to resume where there is none; InputError in one line."""
    claim_folder(out, resume, "segmenter")
    if not resume and (out / MODEL_NAME).exists():
        raise InputError(f"{out} holds a segmenter already ({MODEL_NAME}): choose another --out")


def train_segmenter(
    settings: SegmentSettings,
    data: Path | FaceFolder,
    out: Path,
    *,
    start: Path | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> SegmentTraining:
    """Train a segmenter on faces covered as they are drawn.

    Args:
        settings: everything that is a number or a name.
        data: identity folder of crops of the settings' input size; box crops with their `landmarks.json`.
        out: the run's folder; must hold no run unless `resume`.
        start: a segmenter whose weights and widths to start from; the settings' width is not used then.
        resume: go on after the last finished epoch; settings and data must be the same.
        quiet: no progress bar and no lines on stderr.

    Raises:
        InputError: bad data, a folder that holds another run, or several processes.
        ArtefactError: a damaged state.
        DeviceError: CUDA was asked for and there is none.
        GateError: the loss is not a number any more; the last finished epoch is kept.
    """
    if ranks_from_environment().world > 1:
        raise InputError("a segmenter is trained in one process: start it without torchrun")
    claim_run(out, resume)
    prepare_cpu(settings.threads)
    device = choose_device(settings.device)
    with Monitor(quiet) as monitor:
        folder = data if isinstance(data, FaceFolder) else scan(data)
        monitor.begin("reading faces", len(folder.samples))
        faces = load_faces(
            folder, settings.memory_mib, lambda done, _: monitor.update(done), size=settings.input_size
        )
        for entry in faces.folder.skipped[:5]:
            monitor.say(f"left out {entry.path}: {entry.reason}")
        notes = () if faces.landmarks is None else faces.landmarks.notes
        for note in notes:
            monitor.say(note)
        model = _network(settings, start)
        origin = ("new", "") if start is None else (start.name, weights_digest(model))
        run = SegmentRun(settings, faces.folder.name, faces.digest, *origin)
        if resume:
            old = RUN.read(out)
            old.refuse_other(run, out)
        state = load_state(out / STATE_NAME, run) if resume else None
        precision = choose_precision(settings.precision, device)
        layout = torch.channels_last if precision == "bf16" else torch.contiguous_format
        model = model.to(device).to(memory_format=layout).train()  # type: ignore[call-overload]
        optimizer = _optimizer(settings, model)
        if state is not None:
            state.restore(model, optimizer)
        train, held = split_people(faces.labels, settings.held_out, settings.held_faces, settings.seed)
        occlusion = Occlusion(settings.occluded_part, settings.kinds, settings.share, settings.scale)
        augment = Augment(settings.flip, settings.shift_px)
        samples = SegmentDataset(
            faces, train, settings.seed, occlusion, label=settings.label, augment=augment, jitter=settings.jitter
        )
        if not resume:
            RUN.write(out, run)
        log = RunLog(out / LOG_NAME)
        log.rewind(len(state.losses) if state else 0)
        cost = count_segmenter(model.spec)
        log.write(
            "start",
            device=torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            precision=precision,
            threads=torch.get_num_threads(),
            torch=torch.__version__,
            faces=len(train),
            held_out=len(held),
            skipped=[f"{entry.path}: {entry.reason}" for entry in faces.folder.skipped],
            landmarks=list(notes),
            parameters=cost.parameters,
            macs=cost.macs,
            resumed_after=len(state.losses) if state else 0,
        )
        monitor.say(
            f"{settings.arch}: {faces.folder.name}, {len(train)} to train on; "
            f"{cost.parameters / 1e6:.2f} M parameters, {cost.macs / 1e9:.3f} GMAC, "
            f"in {precision}, {torch.get_num_threads()} threads"
        )
        job = SegmentJob(
            identity=run,
            out=out,
            device=device,
            precision=precision,
            monitor=monitor,
            log=log,
            model=model,
            optimizer=optimizer,
            samples=samples,
            labels=np.unique(faces.labels[train], return_inverse=True)[1],
            held=SegmentDataset(faces, held, settings.seed + 1, occlusion),
            before=SegmenterMeta() if start is None else read_segmenter(start)[1],
            losses=state.losses if state else (),
            scores=SegmentScores(**state.scores) if state else None,
        )
        done = job.run()
    return SegmentTraining(
        checkpoint=out / (MODEL_NAME if done else LAST_NAME),
        done=done,
        epochs=len(job.losses),
        losses=job.losses,
        scores=job.scores,
        faces_per_s=job.faces_per_s,
        skipped=faces.folder.skipped,
    )


def _network(settings: SegmentSettings, start: Path | None) -> Segmenter:
    """A new network (first weights from the seed), or that of `start` for the settings' input size."""
    if start is not None:
        model = load_segmenter(start)
        if model.spec.arch != settings.arch:
            raise InputError(f"{start} is a {model.spec.arch}, not the {settings.arch} that --arch asks for")
        model.spec = replace(model.spec, input_size=settings.input_size)
        return model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        return build_segmenter(settings.arch, settings.input_size, settings.width)


def _optimizer(settings: SegmentSettings, model: torch.nn.Module) -> torch.optim.Optimizer:
    rate = settings.first_lr
    if settings.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), lr=rate, momentum=0.9, weight_decay=settings.weight_decay)
    return torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=settings.weight_decay)
