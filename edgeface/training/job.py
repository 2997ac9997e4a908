"""One run's epochs: forward, backward, logging, and a state written after each of them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from edgeface.data.dataset import Augment, Background, FaceDataset, Occlusion
from edgeface.data.faces import Faces
from edgeface.data.folders import Skipped
from edgeface.data.sampler import EvenBatches
from edgeface.models import CheckpointMeta, save_checkpoint
from edgeface.models.digest import weights_digest
from edgeface.training.distributed import Ranks
from edgeface.training.loader import sample_loader
from edgeface.training.log import Monitor, RunLog
from edgeface.training.run_folder import LAST_NAME, MODEL_NAME, STATE_NAME
from edgeface.training.schedule import learning_rate
from edgeface.training.settings import TrainSettings
from edgeface.training.start import finished_meta
from edgeface.training.state import Run, save_state
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
                with self._dropout(epoch):
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

    def _loader(self) -> DataLoader[tuple[Tensor, ...]]:
        settings = self.settings
        if settings.workers:
            self.faces.share()
        samples = FaceDataset(
            self.faces,
            settings.seed,
            Augment(settings.flip, settings.shift_px),
            _occlusion(settings) if settings.stage == "occluded" else None,
            patterns=settings.patterns,
            background=Background(settings.background_part) if settings.background != "none" else None,
        )
        pinned = self.device.type == "cuda"
        return sample_loader(samples, self.sampler, _collate, settings.workers, pinned=pinned)

    @contextmanager
    def _dropout(self, epoch: int) -> Iterator[None]:
        """Only the pattern head's dropout is drawn by torch: it too follows from seed and epoch, so runs resume."""
        if not self.settings.patterns:
            yield
            return
        words = np.random.SeedSequence([self.settings.seed, 14, epoch, self.ranks.rank]).generate_state(2)
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            torch.manual_seed(int(words[0]) << 31 | int(words[1]) >> 1)
            yield

    def _epoch(
        self,
        epoch: int,
        module: torch.nn.Module,
        loader: DataLoader[tuple[Tensor, ...]],
    ) -> None:
        settings, steps = self.settings, len(self.sampler)
        total = steps * settings.epochs
        measures = self.step.measures
        sums, part = (torch.zeros(len(measures), device=self.device) for _ in range(2))
        words = f"epoch {epoch + 1}/{settings.epochs}"
        self.monitor.update(epoch * steps, words)
        begun = mark = time.perf_counter()
        counted, rate = 0, 0.0
        for number, batch in enumerate(loader):
            rate = learning_rate(settings, epoch * steps + number, total)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            loss, found = module(*(tensor.to(self.device, non_blocking=True) for tensor in batch))
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
            part += found
            counted += 1
            if counted == settings.log_every or number + 1 == steps:
                means = self._means(part / counted, epoch, number)
                now = time.perf_counter()
                speed = counted * settings.batch * self.ranks.world / (now - mark)
                self.log.write(
                    "step",
                    epoch=epoch + 1,
                    step=number + 1,
                    steps=steps,
                    **means,
                    lr=rate,
                    faces_per_s=round(speed, 1),
                )
                sums += part
                part.zero_()
                mark, counted = now, 0
                note = f"{_words(means)}  {speed:.0f} faces/s"
                self.monitor.update(epoch * steps + number + 1, words, note)
            else:
                self.monitor.update(epoch * steps + number + 1)
        means = self._means(sums / steps, epoch, steps - 1)
        self._check_weights(epoch)
        seconds = time.perf_counter() - begun
        self.faces_per_s = steps * settings.batch * self.ranks.world / seconds
        self._save((*self.losses, means["loss"]))
        self.monitor.epoch(
            f"epoch {epoch + 1}/{self.settings.epochs}  {_words(means)}  "
            f"{self.faces_per_s:.0f} faces/s  {seconds:.0f} s"
        )
        self.log.write(
            "epoch",
            epoch=epoch + 1,
            **means,
            lr=rate,
            faces_per_s=round(self.faces_per_s, 1),
            seconds=round(seconds, 2),
        )

    def _means(self, values: Tensor, epoch: int, number: int) -> dict[str, float]:
        """The step's measures over all processes; a loss that is not finite ends the run."""
        found = self.ranks.mean((float(value) for value in values), self.device)
        means = dict(zip(self.step.measures, found, strict=True))
        if not math.isfinite(means["loss"]):
            self._diverged(f"the loss is {means['loss']} in epoch {epoch + 1}, about step {number + 1}")
        return means

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


def _words(means: dict[str, float]) -> str:
    """Measures for people."""
    words = f"loss {means['loss']:.3f}  right {means['accuracy']:.0%}"
    return f"{words}  patterns right {means['pattern_accuracy']:.0%}" if "pattern_accuracy" in means else words


def _collate(samples: list[tuple[Any, ...]]) -> tuple[Tensor, ...]:
    """(N, H, W, 3) uint8, (N,) int64, and with patterns another (N,) int64."""
    images, *labels = zip(*samples, strict=True)
    return torch.from_numpy(np.stack(images)), *(torch.tensor(column) for column in labels)
