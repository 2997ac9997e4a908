"""One run's epochs: forward, backward, logging, and a state written after each of them."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from edgeface.data.dataset import Augment, FaceDataset, Occlusion
from edgeface.data.faces import Faces
from edgeface.data.folders import Skipped
from edgeface.data.sampler import EvenBatches
from edgeface.models import CheckpointMeta, save_checkpoint
from edgeface.training.distributed import Ranks
from edgeface.training.log import Monitor, RunLog
from edgeface.training.schedule import learning_rate
from edgeface.training.settings import TrainSettings
from edgeface.training.start import finished_meta
from edgeface.training.state import LAST_NAME, MODEL_NAME, STATE_NAME, Run, save_state, weights_digest
from edgeface.training.step import TrainStep
from edgeface_runtime.errors import GateError

__all__ = ["Job", "TrainResult"]


@dataclass(frozen=True)
class TrainResult:
    """How a run ended."""

    checkpoint: Path
    """model.safetensors when done, else last.safetensors (which is missing if no epoch was finished)."""
    done: bool
    """False: stopped by Ctrl-C; `resume=True` goes on."""
    epochs: int
    """Finished ones."""
    losses: tuple[float, ...]
    """Mean loss of each."""
    faces_per_s: float
    """Throughput of the last epoch, all processes together; 0 if this call finished none."""
    skipped: tuple[Skipped, ...]
    """Pictures of the data set that were left out."""
    digest: str
    """Hex SHA-256 of this process's weights and class weights."""


@dataclass
class Job:
    """A run under way."""

    settings: TrainSettings
    faces: Faces
    out: Path
    identity: Run
    ranks: Ranks
    device: torch.device
    monitor: Monitor
    log: RunLog
    start_meta: CheckpointMeta
    step: TrainStep
    optimizer: torch.optim.Optimizer
    losses: tuple[float, ...]
    """Mean loss of every finished epoch."""
    faces_per_s: float = 0.0
    sampler: EvenBatches = field(init=False)

    def __post_init__(self) -> None:
        self.sampler = EvenBatches(
            self.faces.labels,
            self.settings.batch,
            self.settings.seed,
            even=self.settings.even,
            rank=self.ranks.rank,
            world=self.ranks.world,
        )

    def run(self) -> TrainResult:
        """All epochs that are left."""
        settings, ranks = self.settings, self.ranks
        if len(self.losses) == settings.epochs and (self.out / MODEL_NAME).exists():
            return self._result()
        loader = self._loader()
        steps = len(self.sampler)
        self.monitor.begin("training", steps * settings.epochs, len(self.losses) * steps)
        module = ranks.wrap(self.step)
        if self.losses and ranks.first:
            self._write_checkpoint(LAST_NAME, len(self.losses))  # a kill may have come between the state and it
        try:
            for epoch in range(len(self.losses), settings.epochs):
                self.sampler.set_epoch(epoch)
                self._epoch(epoch, module, loader)
            if ranks.first:
                self._write_checkpoint(MODEL_NAME, len(self.losses))
            self.log.write("done", epochs=len(self.losses), loss=self.losses[-1])
        except KeyboardInterrupt:
            self.log.write("stop", reason="interrupted", epochs=len(self.losses))
            self.monitor.say(
                f"stopped after {len(self.losses)} finished epochs; go on with the same command and --resume"
            )
        return self._result()

    def _loader(self) -> DataLoader[tuple[Tensor, Tensor]]:
        settings = self.settings
        if settings.workers:
            self.faces.share()
        samples = FaceDataset(
            self.faces,
            settings.seed,
            Augment(settings.flip, settings.shift_px),
            _occlusion(settings) if settings.stage == "occluded" else None,
        )
        return DataLoader(
            samples,  # type: ignore[arg-type]  # _collate makes the tensors
            batch_sampler=self.sampler,
            num_workers=settings.workers,
            collate_fn=_collate,
            # Not forked: a copy of a process whose OpenMP or OpenCV threads have run hangs sooner or later.
            multiprocessing_context="spawn" if settings.workers else None,
            worker_init_fn=_quiet_worker if settings.workers else None,
            generator=torch.Generator(),
            pin_memory=self.device.type == "cuda",
            persistent_workers=settings.workers > 0,
        )

    def _epoch(
        self,
        epoch: int,
        module: torch.nn.Module,
        loader: DataLoader[tuple[Tensor, Tensor]],
    ) -> None:
        settings, steps = self.settings, len(self.sampler)
        total = steps * settings.epochs
        sums, part = torch.zeros(2, device=self.device), torch.zeros(2, device=self.device)
        words = f"epoch {epoch + 1}/{settings.epochs}"
        self.monitor.update(epoch * steps, words)
        begun = mark = time.perf_counter()
        counted, rate = 0, 0.0
        for number, (pixels, labels) in enumerate(loader):
            rate = learning_rate(settings, epoch * steps + number, total)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            loss, accuracy = module(
                pixels.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)
            )
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            part += torch.stack([loss.detach(), accuracy])
            counted += 1
            if counted == settings.log_every or number + 1 == steps:
                mean_loss, mean_accuracy = self._means(part / counted, epoch, number)
                now = time.perf_counter()
                speed = counted * settings.batch * self.ranks.world / (now - mark)
                self.log.write(
                    "step",
                    epoch=epoch + 1,
                    step=number + 1,
                    steps=steps,
                    loss=mean_loss,
                    accuracy=mean_accuracy,
                    lr=rate,
                    faces_per_s=round(speed, 1),
                )
                sums += part
                part.zero_()
                mark, counted = now, 0
                note = f"loss {mean_loss:.3f}  right {mean_accuracy:.0%}  {speed:.0f} faces/s"
                self.monitor.update(epoch * steps + number + 1, words, note)
            else:
                self.monitor.update(epoch * steps + number + 1)
        mean_loss, mean_accuracy = self._means(sums / steps, epoch, steps - 1)
        self._check_weights(epoch)
        seconds = time.perf_counter() - begun
        self.faces_per_s = steps * settings.batch * self.ranks.world / seconds
        self._save((*self.losses, mean_loss))
        self.monitor.epoch(
            f"epoch {epoch + 1}/{self.settings.epochs}  loss {mean_loss:.3f}  right {mean_accuracy:.0%}  "
            f"{self.faces_per_s:.0f} faces/s  {seconds:.0f} s"
        )
        self.log.write(
            "epoch",
            epoch=epoch + 1,
            loss=mean_loss,
            accuracy=mean_accuracy,
            lr=rate,
            faces_per_s=round(self.faces_per_s, 1),
            seconds=round(seconds, 2),
        )

    def _means(self, values: Tensor, epoch: int, number: int) -> tuple[float, float]:
        """Loss and accuracy over all processes; a loss that is not finite ends the run."""
        loss, accuracy = self.ranks.mean((float(value) for value in values), self.device)
        if not math.isfinite(loss):
            self._diverged(f"the loss is {loss} in epoch {epoch + 1}, about step {number + 1}")
        return loss, accuracy

    def _check_weights(self, epoch: int) -> None:
        if not all(bool(torch.isfinite(value).all()) for value in self.step.state_dict().values()):
            self._diverged(f"a weight is not finite after epoch {epoch + 1}")

    def _diverged(self, what: str) -> NoReturn:
        kept = (
            f"epoch {len(self.losses)} is kept in {self.out / LAST_NAME}" if self.losses else "no epoch was finished"
        )
        self.log.write("stop", reason=what, epochs=len(self.losses))
        raise GateError(
            f"training diverged: {what}; {kept}: start another --out with a smaller --lr or with --warmup .05"
        )

    def _save(self, losses: tuple[float, ...]) -> None:
        """The epoch that just ended, whole or not at all."""
        self.ranks.share_tensors(self.step.buffers())  # BN statistics: everybody goes on with the first one's
        if self.ranks.first:
            save_state(
                self.out / STATE_NAME,
                self.identity,
                self.step,
                self.optimizer,
                spec=self.step.model.spec,
                meta=self.start_meta,
                people=self.faces.folder.identities,
                losses=losses,
            )
            self._write_checkpoint(LAST_NAME, len(losses))
        self.losses = losses

    def _write_checkpoint(self, name: str, done: int) -> None:
        seen = done * len(self.sampler) * self.settings.batch * self.ranks.world
        meta = finished_meta(self.start_meta, self.settings, self.faces.folder, done, seen)
        save_checkpoint(self.out / name, self.step.model, meta)

    def _result(self) -> TrainResult:
        done = len(self.losses) == self.settings.epochs
        return TrainResult(
            checkpoint=self.out / (MODEL_NAME if done else LAST_NAME),
            done=done,
            epochs=len(self.losses),
            losses=self.losses,
            faces_per_s=self.faces_per_s,
            skipped=self.faces.folder.skipped,
            digest=weights_digest(self.step),
        )


def _occlusion(settings: TrainSettings) -> Occlusion:
    """What covers the faces in the occluded stage."""
    return Occlusion(settings.occluded_part, settings.kinds, settings.share, settings.scale)


def _collate(samples: list[tuple[NDArray[np.uint8], int]]) -> tuple[Tensor, Tensor]:
    """(N, 112, 96, 3) uint8 and (N,) int64."""
    pixels = torch.from_numpy(np.stack([image for image, _ in samples]))
    return pixels, torch.tensor([label for _, label in samples])


def _quiet_worker(_: int) -> None:
    """One thread per sample process: OpenCV's own would only compete."""
    cv2.setNumThreads(1)
