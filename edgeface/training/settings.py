"""Training settings: the paper's values are the defaults (Liu et al. 2023, section 2.3; FROM's steps of the rate)."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar

from edgeface.data.background import BACKGROUNDS
from edgeface.training.checks import check_occluders, check_patterns, one_of, within
from edgeface.training.margin import MARGINS
from edgeface.training.run_settings import RunSettings
from edgeface.training.step import FREEZES

__all__ = ["STAGES", "TrainSettings"]

STAGES: dict[str, tuple[float, tuple[float, ...]]] = {
    "clean": (0.1, (15 / 40, 30 / 40)),
    "occluded": (0.01, (10 / 40, 25 / 40)),
}
"""Stage: first learning rate, and the shares of the epochs after which it is divided by ten (FROM's, of 40)."""
SCHEDULES = ("step", "cosine")
PRECISIONS = ("auto", "fp32", "bf16")
DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class TrainSettings(RunSettings):
    """One stage of training. Raises ValueError in the words of the command line's flags."""

    stage: str = "clean"
    """clean: faces as they are. occluded: clean and occluded faces mixed."""
    epochs: int = 40
    """Passes over the evened data set."""
    batch: int = 8
    """Faces per step and process, at least 2 (batch normalisation)."""
    lr: float | None = None
    """First learning rate; None: .1 clean (the paper's), .01 occluded (FROM's second stage)."""
    momentum: float = 0.9
    """SGD momentum."""
    weight_decay: float = 5e-4
    """On every parameter, the margin head's included."""
    loss: str = "cosface"
    """sphereface, arcface or cosface: settings of eq. (1)."""
    schedule: str = "step"
    """step: divided by ten twice, see STAGES. cosine: down to zero in half a cosine."""
    warmup: float = 0.0
    """Share of all steps in which the rate climbs linearly to its first value (the paper has none)."""
    seed: int = 0
    """Decides first weights, order, augmentation and occluders."""
    even: bool = True
    """Even out class sizes (the paper does); False: every picture once an epoch."""
    flip: bool = True
    """Mirror half of the faces."""
    shift_px: int = 2
    """Shift faces by up to this many pixels."""
    occluded_part: float = 2 / 3
    """Stage occluded: covered share of the samples; 2/3 is the paper's 1:2."""
    kinds: tuple[str, ...] = ("mix",)
    """Stage occluded: occluders, drawn evenly."""
    share: tuple[float, float] | None = None
    """Stage occluded: range of the covered share of the area, within 0..0.9; None: sizes follow `scale`."""
    scale: tuple[float, float] | None = None
    """Stage occluded: range of the occluder's size, within 1..5; None: as each occluder draws it."""
    patterns: int = 0
    """Stage occluded: side K of the grid whose occlusion patterns are told apart (FROM: 3, 4 or 5); 0: not at all."""
    pattern_weight: float = 1.0
    """Weight of the patterns' cross entropy in the loss (FROM: 1)."""
    freeze: str = "none"
    """trunk: stem, stages and top map stay as they are. network: all but the mask and the pattern head. The class
    weights always learn."""
    background: str = "none"
    """random: replace what is not face by noise, one colour or another picture's background."""
    background_part: float = 0.5
    """Background random: share of the samples."""
    precision: str = "auto"
    """auto: bf16 autocast where the processor computes in it, else fp32."""
    device: str = "auto"
    """auto: cuda if there is one, else cpu; the log says which."""
    threads: int = 0
    """CPU threads; 0: as torch decides. Resuming is bit-equal only with the same number."""
    workers: int = 0
    """Processes that prepare samples; 0: in the training process. Has no influence on the samples."""
    memory_mib: int = 4096
    """Faces stay decoded in memory if they need no more than this (31.5 KiB each), else they are read from disk."""
    log_every: int = 20
    """Steps between two lines of log.jsonl."""

    FLAGS: ClassVar = {"kinds": "--kind", "even": "evening (--uneven)"}
    ADDED: ClassVar = ("patterns", "pattern_weight", "freeze", "background", "background_part")
    """Younger than the first runs: at their defaults they are not part of what a run is, so that old runs resume."""

    def __post_init__(self) -> None:
        one_of("--stage", self.stage, STAGES, others=("dictionary", "segmenter"))
        one_of("--loss", self.loss, MARGINS)
        one_of("--schedule", self.schedule, SCHEDULES)
        one_of("--precision", self.precision, PRECISIONS)
        one_of("--device", self.device, DEVICES)
        one_of("--freeze", self.freeze, FREEZES)
        one_of("--background", self.background, BACKGROUNDS)
        check_patterns(self.patterns, self.stage == "occluded", "--stage occluded")
        within("--epochs", self.epochs, 1, 100_000)
        within("--batch", self.batch, 2, 65_536)
        within("--momentum", self.momentum, 0, 0.9999)
        within("--weight-decay", self.weight_decay, 0, 1)
        within("--warmup", self.warmup, 0, 0.9)
        within("--seed", self.seed, 0, 2**63 - 1)
        within("--shift", self.shift_px, 0, 16)
        within("--occluded-part", self.occluded_part, 0, 1)
        within("--pattern-weight", self.pattern_weight, 0, 100)
        within("--background-part", self.background_part, 0, 1)
        within("--threads", self.threads, 0, 4096)
        within("--workers", self.workers, 0, 256)
        within("--memory-mib", self.memory_mib, 0, 1 << 30)
        within("--log-every", self.log_every, 1, 1 << 30)
        if self.lr is not None and not 0 < self.lr <= 10:
            raise ValueError(f"--lr must be above 0 and at most 10, got {self.lr}")
        check_occluders(self.kinds, self.share, self.scale)

    @property
    def first_lr(self) -> float:
        """The learning rate to start with."""
        return STAGES[self.stage][0] if self.lr is None else self.lr

    def fixed(self) -> dict[str, Any]:
        """What must stay the same when a run is resumed, as JSON-ready data."""
        plain = {entry.name: entry.default for entry in fields(self)}
        return {
            key: value
            for key, value in self.to_dict().items()
            if key not in self.FREE and not (key in self.ADDED and value == plain[key])
        }
