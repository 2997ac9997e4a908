"""Settings of a segmenter's training. Johnston & Ngxande 2022 give none of theirs; the values are ours."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import ClassVar

from edgeface.models.segmenter import SEGMENTERS
from edgeface.training.checks import check_occluders, one_of, within
from edgeface.training.run_settings import RunSettings
from edgeface_calibration.segment_labels import LABELS
from edgeface_runtime.align import CROP_SIZE

__all__ = ["OPTIMIZERS", "SegmentSettings"]

OPTIMIZERS = {"adamw": 2e-3, "sgd": 0.05}
"""Optimiser: its first learning rate by default."""
DEFAULT_KINDS = (
    *("mix", "nine", "random", "hand", "cup", "block"),
    *("mask", "surgical", "cloth", "n95", "sunglasses"),
    *("forehead", "eyes", "nose", "mouth", "chin"),
)
"""Objects, worn things and blocks on landmarks; the hand, which has the face's colour, more often than by chance."""
SCHEDULES = ("cosine", "constant")


@dataclass(frozen=True)
class SegmentSettings(RunSettings):
    """One run. Raises ValueError in the words of the command line's flags."""

    arch: str = "unet-light"
    """unet-light (ours, for a device) or unet-vgg16 (Johnston & Ngxande 2022)."""
    width: float = 1.0
    """Scale of every width."""
    input_size: tuple[int, int] = CROP_SIZE
    """Height, width of the crops, multiples of 16."""
    epochs: int = 10
    """Passes over the evened data set."""
    batch: int = 32
    """Faces per step, at least 2 (batch normalisation)."""
    optimizer: str = "adamw"
    """adamw or sgd (momentum .9)."""
    lr: float | None = None
    """First learning rate; None: .002 for adamw, .05 for sgd."""
    weight_decay: float = 1e-4
    """On every parameter."""
    schedule: str = "cosine"
    """cosine: down to zero in half a cosine. constant."""
    warmup: float = 0.05
    """Share of all steps in which the rate climbs linearly to its first value."""
    dice: float = 1.0
    """Weight of the soft Dice loss beside binary cross entropy."""
    label: str = "exact"
    """exact: the occluder's own mask. difference: |covered - clean|, opened and closed (the paper's)."""
    kinds: tuple[str, ...] = DEFAULT_KINDS
    """Occluders, drawn evenly."""
    occluded_part: float = 0.85
    """Covered share of the samples; the others are clean faces."""
    share: tuple[float, float] | None = None
    """Range of the covered share of the area, within 0..0.9; None: sizes follow `scale`."""
    scale: tuple[float, float] | None = None
    """Range of the occluder's size, within 1..5; None: as each occluder draws it."""
    held_out: float = 0.1
    """Share of the people that is not trained on but measured after every epoch, at least one person."""
    held_faces: int = 500
    """At most this many of their faces."""
    seed: int = 0
    """Decides first weights, order, augmentation, occluders and who is held out."""
    flip: bool = True
    """Mirror half of the faces."""
    shift_px: int = 4
    """Shift faces by up to this many pixels."""
    jitter: float = 0.25
    """Brightness, contrast and each colour change by up to about this factor."""
    precision: str = "auto"
    """auto: bf16 autocast where the processor computes in it, else fp32."""
    device: str = "auto"
    """auto: cuda if there is one, else cpu."""
    threads: int = 0
    """CPU threads; 0: as torch decides. Resuming is bit-equal only with the same number."""
    workers: int = 0
    """Processes that prepare samples; 0: in the training process. Has no influence on the samples."""
    memory_mib: int = 4096
    """Faces stay decoded in memory if they need no more than this, else they are read from disk."""
    log_every: int = 20
    """Steps between two lines of log.jsonl."""

    FLAGS: ClassVar = {"kinds": "--kind", "label": "--labels"}

    def __post_init__(self) -> None:
        one_of("--arch", self.arch, SEGMENTERS)
        one_of("--optimizer", self.optimizer, OPTIMIZERS)
        one_of("--schedule", self.schedule, SCHEDULES)
        one_of("--labels", self.label, LABELS)
        one_of("--precision", self.precision, ("auto", "fp32", "bf16"))
        one_of("--device", self.device, ("auto", "cpu", "cuda"))
        within("--width", self.width, 1 / 16, 4)
        within("--epochs", self.epochs, 1, 100_000)
        within("--batch", self.batch, 2, 65_536)
        within("--weight-decay", self.weight_decay, 0, 1)
        within("--warmup", self.warmup, 0, 0.9)
        within("--dice", self.dice, 0, 100)
        within("--occluded-part", self.occluded_part, 0, 1)
        within("--held-out", self.held_out, 0.001, 0.9)
        within("held_faces", self.held_faces, 1, 1 << 30)
        within("--seed", self.seed, 0, 2**63 - 1)
        within("--shift", self.shift_px, 0, 16)
        within("jitter", self.jitter, 0, 0.9)
        within("--threads", self.threads, 0, 4096)
        within("--workers", self.workers, 0, 256)
        within("--memory-mib", self.memory_mib, 0, 1 << 30)
        within("--log-every", self.log_every, 1, 1 << 30)
        if any(side < 16 or side % 16 for side in self.input_size):
            height, width = self.input_size
            raise ValueError(f"--input-size must be multiples of 16, such as 112x96, got {height}x{width}")
        if self.lr is not None and not 0 < self.lr <= 10:
            raise ValueError(f"--lr must be above 0 and at most 10, got {self.lr}")
        check_occluders(self.kinds, self.share, self.scale)

    @property
    def first_lr(self) -> float:
        """The learning rate to start with."""
        return OPTIMIZERS[self.optimizer] if self.lr is None else self.lr

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of step `step` (from 0) of `steps` in the whole run."""
        first = self.first_lr
        done = step / steps
        if done < self.warmup:
            return first * (step + 1) / math.ceil(self.warmup * steps)
        if self.schedule == "constant":
            return first
        return first * 0.5 * (1 + math.cos(math.pi * (done - self.warmup) / (1 - self.warmup)))

    def digest(self, data_digest: str) -> str:
        """Hex SHA-256 of all that must stay the same when a run is resumed."""
        same = {key: value for key, value in self.to_dict().items() if key not in self.FREE}
        return hashlib.sha256(json.dumps([same, data_digest], sort_keys=True).encode()).hexdigest()
