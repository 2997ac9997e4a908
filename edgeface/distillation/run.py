"""A distillation as a run in a folder: stopped at any time, it goes on exactly where it was.

The folder holds run.json (what it is), log.jsonl, state.safetensors (everything after the last finished round),
last.safetensors (its network) and, when done, model.safetensors. A round is one look at about all faces.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgeface.data.cache_folder import check_cache
from edgeface.data.faces import load_faces
from edgeface.data.folders import Skipped, scan
from edgeface.distillation.answers import CachedTeacher
from edgeface.distillation.covers import draw_covers
from edgeface.distillation.identity import RUN, DistillRun
from edgeface.distillation.settings import DistillSettings
from edgeface.distillation.step import Distiller
from edgeface.distillation.teacher import Teacher
from edgeface.models import ArchSpec, CheckpointMeta, load_checkpoint, save_checkpoint
from edgeface.models.digest import weights_digest
from edgeface.training.checks import check_patterns
from edgeface.training.device import choose_device, choose_precision, prepare_cpu
from edgeface.training.log import Monitor, RunLog
from edgeface.training.run_folder import LAST_NAME, LOG_NAME, MODEL_NAME, STATE_NAME, claim_folder
from edgeface.training.start import start_network
from edgeface.training.state_file import StateFormat
from edgeface.training.step import to_input
from edgeface_runtime.errors import GateError, InputError

__all__ = ["DistillResult", "distill"]

STATE = StateFormat(
    "edgeface-distillation-state",
    1,
    "distillation's",
    "run",
    memory={entry: f"optimizer.{entry}." for entry in ("step", "exp_avg", "exp_avg_sq")},
)


@dataclass(frozen=True)
class DistillResult:
    """How a run ended."""

    checkpoint: Path
    """model.safetensors when done, else last.safetensors (missing if no round was finished)."""
    done: bool
    faces_seen: int
    faces_per_s: float
    """Throughput of this call's last round; 0 without one."""
    away: float
    """1 - cosine to the teacher on the faces held out, seen clean; NaN before the first round."""
    skipped: tuple[Skipped, ...]
    stopped: bool
    """Whether Ctrl-C or its like ended it."""
    cached: int = 0
    """Views whose targets came from the cache."""


def distill(
    settings: DistillSettings,
    data: Sequence[Path],
    teacher: Path,
    out: Path,
    init: ArchSpec | Path,
    *,
    mask: str | None = None,
    patterns: int = 0,
    minutes: float | None = None,
    cache: Path | None = None,
    resume: bool = False,
    quiet: bool = False,
) -> DistillResult:
    """Train a network to give a teacher's embeddings.

    Args:
        data: identity folders of aligned 112x96 crops; who is who does not matter.
        teacher: a checkpoint whose embedding is no longer than the student's.
        init: an architecture, or a checkpoint to start from, such as a pruned one.
        mask, patterns: as in `start_network`.
        minutes: end after the round in which so much time has passed; `resume` goes on.
        cache: folder to keep the teacher's answers in, and to take them from; see `CachedTeacher`.

    Raises:
        InputError: bad data, a folder that holds another run, a teacher that does not fit.
        ArtefactError: a damaged checkpoint or state.
        DeviceError: CUDA was asked for and there is none.
        GateError: the loss is not a number any more; the last finished round is kept.
    """
    begun = time.perf_counter()
    try:
        check_patterns(patterns, settings.covered_part > 0, "--covered .667")
    except ValueError as exc:
        raise InputError(str(exc)) from exc
    if cache is not None:
        check_cache(cache)
    claim_folder(out, resume, "distilled")
    prepare_cpu(settings.threads)
    device = choose_device(settings.device)
    precision = choose_precision(settings.precision, device)
    with Monitor(quiet) as monitor, torch.random.fork_rng(devices=[]):
        taught = load_checkpoint(teacher).model
        crops, people, digests, skipped = _read(settings, data, monitor)
        run = DistillRun.of(settings, people, digests, teacher.name, weights_digest(taught), init, mask, patterns)
        if resume:
            RUN.read(out).refuse_other(run, out)
        student, meta = start_network(init, mask, settings.seed, patterns)
        held = np.arange(len(crops)) % max(1, round(1 / settings.held_out)) == 0 if settings.held_out else None
        faces, rest = (crops, None) if held is None else (crops[~held], crops[held])
        layout = torch.channels_last if device.type == "cuda" or precision == "bf16" else torch.contiguous_format
        guide = Teacher(taught, student.spec.embedding, precision)
        guide.to(device).to(memory_format=layout)  # type: ignore[call-overload]
        kept = None if cache is None else CachedTeacher(guide, cache, device)
        covers = None
        if settings.covered_part:
            monitor.say(f"drawing {settings.covers} occluders")
            covers = draw_covers(settings.covers, settings.kinds, settings.seed, settings.workers).to(device)
        job = Distiller(
            student.to(device).to(memory_format=layout),  # type: ignore[call-overload]
            kept or guide,
            torch.from_numpy(faces).to(device),
            settings,
            covers,
            precision,
        )
        both = nn.ModuleDict({"student": job.student, "mean": job.mean})
        away = float("nan")
        if resume and (out / STATE_NAME).exists():
            header, tensors = STATE.read(out / STATE_NAME, run.digest)
            STATE.restore(tensors, both, job.optimizer)
            _to_device(job.optimizer, device)
            job.done, away = int(header["steps"]), float(header["away"])
        if not resume:
            RUN.write(out, run)
        log = RunLog(out / LOG_NAME)
        log.write(
            "start",
            faces=len(faces),
            device=str(device),
            precision=precision,
            torch=torch.__version__,
            after=job.done * settings.batch,
            skipped=[f"{entry.path}: {entry.reason}" for entry in skipped],
        )
        round_steps, rate = max(1, len(faces) // settings.batch), 0.0
        monitor.begin("distilling", settings.steps, job.done)
        stopped = False
        checked = None if rest is None else torch.from_numpy(rest).to(device)
        try:
            while job.done < settings.steps:
                if minutes is not None and time.perf_counter() - begun > 60 * minutes:
                    monitor.say(f"stopped after {minutes:g} minutes; go on with the same command and --resume")
                    break
                rate, parts = _round(job, min(round_steps, settings.steps - job.done), monitor)
                away = _away(job, checked)
                seen = job.done * settings.batch
                words = dict(zip(("clean", "covered", "pattern"), parts, strict=True))
                log.write("round", faces=seen, **words, held_out=away, faces_per_s=rate)
                header = {"run": run.digest, "steps": str(job.done), "away": repr(away)}
                STATE.save(out / STATE_NAME, both, job.optimizer, header)
                done = job.done >= settings.steps
                save_checkpoint(out / (MODEL_NAME if done else LAST_NAME), job.mean, _meta(meta, run, seen))
        except KeyboardInterrupt:
            stopped = True
            monitor.say("stopped; go on with the same command and --resume")
        if kept is not None:
            for note in kept.notes:
                monitor.say(note)
            monitor.say(f"the teacher's answers to {kept.taken} views taken from {cache}, to {kept.put} put there")
    finished = job.done >= settings.steps
    if finished:
        (out / LAST_NAME).unlink(missing_ok=True)
    return DistillResult(
        out / (MODEL_NAME if finished else LAST_NAME),
        finished,
        job.done * settings.batch,
        rate,
        away,
        skipped,
        stopped,
        kept.taken if kept else 0,
    )


def _round(job: Distiller, steps: int, monitor: Monitor) -> tuple[float, list[float]]:
    """Faces a second, and the means of what `Distiller.step` gives."""
    begun, sums = time.perf_counter(), torch.zeros(3, device=job.faces.device)
    for _ in range(steps):
        sums += job.step()
        monitor.update(job.done)
    parts = [float(value) for value in sums / steps]
    weights = all(bool(torch.isfinite(value).all()) for value in job.mean.state_dict().values())
    if not weights or not all(np.isfinite(parts)):
        raise GateError(f"the loss is not a number after {job.done} steps: lower --lr and start again")
    rate = steps * job.settings.batch / (time.perf_counter() - begun)
    monitor.update(job.done, note=f"1-cos {parts[0]:.3f} clean {parts[1]:.3f} covered  {rate:.0f} faces/s")
    return rate, parts


@torch.no_grad()
def _away(job: Distiller, crops: Tensor | None) -> float:
    """1 - cosine to the teacher on faces held out, clean."""
    if crops is None or not len(crops):
        return float("nan")
    total = 0.0
    for start in range(0, len(crops), 64):
        faces = to_input(crops[start : start + 64]).contiguous()
        total += float((1 - nn.functional.cosine_similarity(job.mean(faces).float(), job.teacher(faces))).sum())
    return total / len(crops)


def _to_device(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    for kept in optimizer.state.values():
        kept.update({name: value.to(device) for name, value in kept.items() if isinstance(value, Tensor)})


def _read(
    settings: DistillSettings,
    data: Sequence[Path],
    monitor: Monitor,
) -> tuple[NDArray[np.uint8], str, list[str], tuple[Skipped, ...]]:
    """All faces as (N, 112, 96, 3) uint8 BGR, the folders in words, their digests, and what was left out."""
    read = []
    for root in data:
        folder = scan(root)
        monitor.begin("reading faces", len(folder.samples))
        read.append(load_faces(folder, settings.memory_mib, lambda done, _: monitor.update(done)))
        if read[-1].pixels is None:
            raise InputError(f"the faces of {root} do not fit into --memory {settings.memory_mib} MiB: allow more")
    crops = np.concatenate([faces.pixels for faces in read if faces.pixels is not None])
    words = ", ".join(faces.folder.name for faces in read)
    return (
        crops,
        words,
        [faces.digest for faces in read],
        tuple(entry for faces in read for entry in faces.folder.skipped),
    )


def _meta(start: CheckpointMeta, run: DistillRun, seen: int) -> CheckpointMeta:
    settings = run.settings
    covered = f", {settings.covered_part:.0%} covered ({', '.join(settings.kinds)})" if settings.covered_part else ""
    line = (
        f"distilled from {run.teacher}: {seen} faces seen of {settings.faces}, AdamW {settings.lr:g}, "
        f"batch {settings.batch}, seed {settings.seed}, {run.data}{covered}"
    )
    return start.step(
        line,
        stage="occluded" if settings.covered_part else "clean",
        loss="distilled",
        seed=settings.seed,
        data=f"{run.data}{covered}",
        faces_seen=start.faces_seen + seen,
    )
