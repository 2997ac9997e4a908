"""The epochs of a segmenter's run: forward, backward, logging, a measurement and a state after each of them."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from edgeface.data.sampler import Draw, EvenBatches
from edgeface.models.segmenter import Segmenter, SegmenterMeta, save_segmenter
from edgeface.segmentation.dataset import SegmentDataset
from edgeface.segmentation.loss import segment_loss
from edgeface.segmentation.predict import BATCH, predict
from edgeface.segmentation.state import MODEL_NAME, SegmentRun, save_state
from edgeface.training.loader import sample_loader
from edgeface.training.log import Monitor, RunLog
from edgeface.training.run_folder import LAST_NAME, STATE_NAME
from edgeface.training.step import to_input
from edgeface_calibration.segment_metrics import SegmentScores, Tally
from edgeface_runtime.errors import GateError

__all__ = ["SegmentJob"]


@dataclass
class SegmentJob:
    """A run under way."""

    identity: SegmentRun
    out: Path
    device: torch.device
    precision: str
    monitor: Monitor
    log: RunLog
    model: Segmenter
    optimizer: torch.optim.Optimizer
    samples: SegmentDataset
    labels: NDArray[np.int64]
    """People of the samples, numbered without gaps, for evening."""
    held: SegmentDataset
    before: SegmenterMeta
    """Of the segmenter the run started from."""
    losses: tuple[float, ...]
    """Mean loss of every finished epoch."""
    scores: SegmentScores | None
    faces_per_s: float = 0.0

    def run(self) -> bool:
        """All epochs that are left; False if stopped by Ctrl-C."""
        settings = self.identity.settings
        sampler = EvenBatches(self.labels, settings.batch, settings.seed)
        loader = self._loader(sampler)
        self.monitor.begin("training", len(sampler) * settings.epochs, len(self.losses) * len(sampler))
        if self.losses:
            self._write(LAST_NAME)  # a kill may have come between the state and it
        try:
            for epoch in range(len(self.losses), settings.epochs):
                sampler.set_epoch(epoch)
                self._epoch(epoch, loader, len(sampler))
            self._write(MODEL_NAME)
            self.log.write("done", epochs=len(self.losses), loss=self.losses[-1])
        except KeyboardInterrupt:
            self.log.write("stop", reason="interrupted", epochs=len(self.losses))
            self.monitor.say(
                f"stopped after {len(self.losses)} finished epochs; go on with the same command and --resume"
            )
            return False
        return True

    def measure(self) -> SegmentScores:
        """IoU and accuracy on the people held out, covered the same way every time; truth is the occluder's mask."""
        tally = Tally()
        for start in range(0, len(self.held), BATCH):
            places = range(start, min(start + BATCH, len(self.held)))
            pairs = [self.held[Draw(0, place, place)] for place in places]
            found = predict(self.model, np.stack([image for image, _ in pairs]))
            tally.add(found > 0.5, np.stack([mask for _, mask in pairs]))
        return tally.scores()

    def _loader(self, sampler: EvenBatches) -> DataLoader[tuple[Tensor, Tensor]]:
        workers = self.identity.settings.workers
        if workers:
            self.samples.base.faces.share()
        return sample_loader(self.samples, sampler, _collate, workers)

    def _epoch(self, epoch: int, loader: DataLoader[tuple[Tensor, Tensor]], steps: int) -> None:
        settings = self.identity.settings
        total, words = steps * settings.epochs, f"epoch {epoch + 1}/{settings.epochs}"
        self.monitor.update(epoch * steps, words)
        begun = mark = time.perf_counter()
        whole, part, counted, rate = 0.0, 0.0, 0, 0.0
        for number, (pixels, truth) in enumerate(loader):
            rate = settings.rate(epoch * steps + number, total)
            part += self._step(pixels, truth, rate)
            counted += 1
            if counted == settings.log_every or number + 1 == steps:
                now, mean = time.perf_counter(), part / counted
                if not math.isfinite(mean):
                    self._diverged(f"the loss is {mean} in epoch {epoch + 1}, about step {number + 1}")
                speed = counted * settings.batch / (now - mark)
                self.log.write(
                    "step",
                    epoch=epoch + 1,
                    step=number + 1,
                    steps=steps,
                    loss=mean,
                    lr=rate,
                    faces_per_s=round(speed, 1),
                )
                self.monitor.update(epoch * steps + number + 1, words, f"loss {mean:.3f}  {speed:.0f} faces/s")
                whole, part, counted, mark = whole + part, 0.0, 0, now
            else:
                self.monitor.update(epoch * steps + number + 1)
        if not all(bool(torch.isfinite(value).all()) for value in self.model.state_dict().values()):
            self._diverged(f"a weight is not finite after epoch {epoch + 1}")
        seconds = time.perf_counter() - begun
        self.faces_per_s = steps * settings.batch / seconds
        self._finish(epoch, whole / steps, rate, seconds)

    def _step(self, pixels: Tensor, truth: Tensor, rate: float) -> float:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        bf16 = self.precision == "bf16"
        inputs = to_input(pixels.to(self.device))
        inputs = inputs.contiguous(memory_format=torch.channels_last if bf16 else torch.contiguous_format)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            logits = self.model(inputs)
        loss = segment_loss(logits.float(), truth.to(self.device)[:, None].float(), self.identity.settings.dice)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def _finish(self, epoch: int, loss: float, rate: float, seconds: float) -> None:
        """Measure and keep the epoch that just ended, whole or not at all."""
        scores, losses = self.measure(), (*self.losses, loss)
        save_state(self.out / STATE_NAME, self.identity, self.model, self.optimizer, losses, asdict(scores))
        self.losses, self.scores = losses, scores
        self._write(LAST_NAME)
        self.monitor.epoch(
            f"epoch {epoch + 1}/{self.identity.settings.epochs}  loss {loss:.3f}  held out: IoU {scores.iou:.3f}, "
            f"pixels right {scores.pixel_accuracy:.1%}  {self.faces_per_s:.0f} faces/s  {seconds:.0f} s"
        )
        self.log.write(
            "epoch",
            epoch=epoch + 1,
            loss=loss,
            iou=scores.iou,
            pixel_accuracy=scores.pixel_accuracy,
            lr=rate,
            faces_per_s=round(self.faces_per_s, 1),
            seconds=round(seconds, 2),
        )

    def _write(self, name: str) -> None:
        settings, done = self.identity.settings, len(self.losses)
        seen = done * settings.batch * len(EvenBatches(self.labels, settings.batch, settings.seed))
        covered = f"{settings.occluded_part:.0%} of the samples covered ({', '.join(settings.kinds)})"
        epochs = f"{done} epochs" if done == settings.epochs else f"{done} of {settings.epochs} epochs"
        meta = SegmenterMeta(
            data=f"{self.identity.data}, {covered}",
            seed=settings.seed,
            occluders=settings.kinds,
            labels=settings.label,
            epochs=self.before.epochs + done,
            faces_seen=self.before.faces_seen + seen,
            iou=self.scores.iou if self.scores else None,
            pixel_accuracy=self.scores.pixel_accuracy if self.scores else None,
            held_out=f"{len(self.held)} faces of people not trained on",
            history=(
                *self.before.history,
                f"{self.identity.start} {settings.arch}: {epochs}, {settings.optimizer}, lr {settings.first_lr:g}, "
                f"batch {settings.batch}, seed {settings.seed}, {seen} faces seen",
            ),
        )
        save_segmenter(self.out / name, self.model, meta)

    def _diverged(self, what: str) -> NoReturn:
        kept = (
            f"epoch {len(self.losses)} is kept in {self.out / LAST_NAME}" if self.losses else "no epoch was finished"
        )
        self.log.write("stop", reason=what, epochs=len(self.losses))
        raise GateError(f"training diverged: {what}; {kept}: start another --out with a smaller --lr")


def _collate(samples: list[tuple[NDArray[np.uint8], NDArray[np.bool_]]]) -> tuple[Tensor, Tensor]:
    """(N, H, W, 3) uint8 and (N, H, W) bool."""
    return torch.from_numpy(np.stack([image for image, _ in samples])), torch.from_numpy(
        np.stack([mask for _, mask in samples])
    )
