"""Starting, resuming and running one stage of training, in one process or several under torchrun.

A run's folder holds run.json (what it is), log.jsonl, state.safetensors (the last finished epoch, all of it),
last.safetensors (its network) and, when done, model.safetensors.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch

from edgeface.data.faces import Faces, load_faces
from edgeface.data.folders import FaceFolder, scan
from edgeface.models import ArchSpec, FaceNet, count, load_checkpoint
from edgeface.models.checkpoint import read_meta
from edgeface.models.digest import weights_digest
from edgeface.training.device import choose_device, choose_precision, prepare_cpu
from edgeface.training.distributed import Ranks, process_group, ranks_from_environment
from edgeface.training.job import Job, TrainResult
from edgeface.training.log import Monitor, RunLog
from edgeface.training.margin import MARGINS, MarginSoftmax
from edgeface.training.run_folder import LOG_NAME, STATE_NAME, claim_folder
from edgeface.training.settings import TrainSettings
from edgeface.training.start import is_trained, start_margin, start_network
from edgeface.training.state import RUN, Run, load_state, read_run, read_spec
from edgeface.training.step import TrainStep
from edgeface_calibration.landmarks import LANDMARKS_NAME
from edgeface_runtime.errors import InputError

__all__ = ["TrainResult", "train"]


def train(
    settings: TrainSettings,
    data: Path | FaceFolder,
    out: Path,
    init: ArchSpec | Path | None = None,
    *,
    mask: str | None = None,
    resume: bool = False,
    quiet: bool = False,
    words: str = "",
) -> TrainResult:
    """Train one stage.

    Args:
        settings: everything that is a number or a name.
        data: identity folder of crops of the network's input size, aligned 112x96 as a rule; box crops may have
            their landmarks in landmarks.json in its root.
        out: the run's folder; must hold no run unless `resume`.
        init: an architecture or a checkpoint to start from; may be left out when resuming after a finished epoch.
        mask: decoder, spatial or vector adds such a mask to a checkpoint without one.
        resume: go on after the last finished epoch; settings, data and start must be the same.
        quiet: no progress bar and no lines on stderr.
        words: `init` in words, such as the flags that chose it, to tell runs apart; default: its name.

    Raises:
        InputError: bad data, a folder that holds another run, or flags that contradict each other.
        ArtefactError: a damaged checkpoint or state.
        DeviceError: CUDA was asked for and there is none.
        GateError: the loss is not a number any more; the last finished epoch is kept.
    """
    ranks = ranks_from_environment()
    claim_folder(out, resume, settings.stage)
    prepare_cpu(settings.threads)
    device = choose_device(settings.device, ranks.local)
    with process_group(ranks, device), Monitor(quiet or not ranks.first) as monitor:
        folder = data if isinstance(data, FaceFolder) else scan(data)
        monitor.begin("reading faces", len(folder.samples))
        size = _input_size(init, out, resume)
        faces = load_faces(folder, settings.memory_mib, lambda done, _: monitor.update(done), size)
        for entry in faces.folder.skipped[:5]:
            monitor.say(f"left out {entry.path}: {entry.reason}")
        if len(faces.folder.skipped) > 5:
            monitor.say(f"left out {len(faces.folder.skipped)} pictures in all, listed in {out / LOG_NAME}")
        for note in faces.landmarks.notes if faces.landmarks else ():
            monitor.say(note)
        job = _prepare(settings, faces, out, init, mask, resume, ranks, device, monitor, words)
        return job.run()


def _input_size(init: ArchSpec | Path | None, out: Path, resume: bool) -> tuple[int, int]:
    """Height and width of the network's input, before there is a network."""
    if init is None and not resume:
        raise InputError("nothing to start from: give --arch or --from")
    if isinstance(init, Path):
        return read_meta(init)[0].input_size
    spec = read_spec(out / STATE_NAME) if init is None else init
    if spec is None:
        raise InputError(f"{out} has no finished epoch: give the same --arch or --from again")
    return spec.input_size


def _prepare(
    settings: TrainSettings,
    faces: Faces,
    out: Path,
    init: ArchSpec | Path | None,
    mask: str | None,
    resume: bool,
    ranks: Ranks,
    device: torch.device,
    monitor: Monitor,
    words: str,
) -> Job:
    """Network, class weights and optimiser, new or as they were."""
    old = read_run(out) if resume else None
    identity = _identity(settings, faces, out, init, mask, ranks, old, words)
    state = load_state(out / STATE_NAME, identity) if resume else None
    if state is not None:
        model, meta = FaceNet(state.spec).train(), state.meta
        people = len(faces.folder.identities)
        margin, origin = MarginSoftmax(model.spec.embedding, people, *MARGINS[settings.loss]), "resumed"
    else:
        if init is None:
            raise InputError(f"{out} has no finished epoch: give the same --arch or --from again")
        model, meta = start_network(init, mask, settings.seed, settings.patterns)
        if settings.freeze != "none" and not is_trained(meta):
            raise InputError(f"--freeze {settings.freeze} keeps what is trained: give a trained network with --from")
        if settings.freeze == "network" and model.spec.mask is None:
            raise InputError("--freeze network leaves nothing to learn: add a mask with --mask, or freeze the trunk")
        margin, origin = start_margin(settings, model.to(device), meta, faces, init)
    precision = choose_precision(settings.precision, device)
    step = TrainStep(model, margin, precision, freeze=settings.freeze, pattern_weight=settings.pattern_weight).to(
        device
    )
    optimizer = torch.optim.SGD(
        step.learning,
        lr=settings.first_lr,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
    )
    if state is not None:
        state.restore(step, optimizer)
    log = RunLog(out / LOG_NAME, ranks.first)
    ranks.share(None)  # nobody writes before everybody has looked at the folder
    if ranks.first:
        for left in out.glob(".*.part"):
            left.unlink()
        if not resume:
            RUN.write(out, identity)
    log.rewind(state.epochs if state else 0)
    cost = count(model.spec)
    described = {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "precision": precision,
        "threads": torch.get_num_threads(),
        "processes": ranks.world,
        "torch": torch.__version__,
        "people": len(faces.folder.identities),
        "faces": len(faces),
        "in_memory": faces.pixels is not None,
        "skipped": [f"{entry.path}: {entry.reason}" for entry in faces.folder.skipped],
        "parameters": cost.parameters,
        "macs": cost.macs,
        "input_size": list(model.spec.input_size),
        "mask": model.spec.mask.kind if model.spec.mask else "none",
        "learning": sum(parameter.numel() for parameter in step.learning),
        "landmarks": "template" if faces.landmarks is None else LANDMARKS_NAME,
        "landmark_notes": list(faces.landmarks.notes) if faces.landmarks else [],
        "class_weights": origin,
        "resumed_after": state.epochs if state else 0,
    }
    log.write("start", **described)
    monitor.say(
        f"{settings.stage}: {faces.folder.name}; {cost.parameters / 1e6:.2f} M parameters on "
        f"{described['device']} in {precision}, {described['threads']} threads, {ranks.world} process(es); "
        f"class weights: {origin}"
    )
    losses = state.losses if state else ()
    return Job(settings, faces, out, identity, ranks, device, monitor, log, meta, step, optimizer, losses)


def _identity(
    settings: TrainSettings,
    faces: Faces,
    out: Path,
    init: ArchSpec | Path | None,
    mask: str | None,
    ranks: Ranks,
    old: Run | None,
    words: str,
) -> Run:
    """What this run is; on resuming, checked against what it was."""
    if init is None:
        if old is None:
            raise InputError("nothing to start from: give --arch or --from")
        name, digest = old.start, old.start_digest
    elif isinstance(init, ArchSpec):
        text = json.dumps(init.to_dict(), sort_keys=True)
        name, digest = init.name, hashlib.sha256(f"{text} {mask}".encode()).hexdigest()
    else:
        weights = weights_digest(load_checkpoint(init).model)  # its metadata may gain a measured accuracy meanwhile
        name, digest = init.name, hashlib.sha256(f"{weights} {mask}".encode()).hexdigest()
    asked = Run(settings, faces.folder.name, faces.digest, words or name, digest, ranks.world)
    if old is None:
        return asked
    old.refuse_other(asked, out)
    return old
