"""The numbers of a distillation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeface.training.checks import check_occluders, one_of, within
from edgeface.training.run_settings import RunSettings

__all__ = ["DistillSettings"]


@dataclass(frozen=True)
class DistillSettings(RunSettings):
    """All that decides what is learned, besides the faces, the teacher and the start."""

    FREE: ClassVar[tuple[str, ...]] = ("device", "threads", "workers", "memory_mib")
    FLAGS: ClassVar[dict[str, str]] = {"kinds": "--kind", "covered_part": "--covered"}

    faces: int
    """Faces to see in all, a step's batch each time."""
    batch: int = 64
    lr: float = 3e-3
    """Highest learning rate of AdamW: risen to over `warmup`, then falling to 0 as a half cosine."""
    weight_decay: float = 0.05
    """Of weights of convolutions and linear layers; norms, slopes and biases are let be."""
    warmup: float = 0.05
    """Share of the steps."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.998
    """The network kept is the running mean of the one trained, with this weight on what it was."""
    covered_part: float = 0.0
    """Share of every batch that the student sees covered; the teacher sees it clean."""
    pattern_weight: float = 0.05
    """Of the occlusion pattern's cross entropy, for a network with a pattern head."""
    mixed_part: float = 0.7
    """Share of the faces that are mixed with another."""
    turn_deg: float = 8.0
    zoom: float = 0.08
    shift: float = 0.03
    """Of the picture's side."""
    bend: float = 0.04
    """Standard deviation of the smooth displacement at its knots, as a share of half the side."""
    colour: float = 0.25
    """Contrast and brightness vary by up to this."""
    kinds: tuple[str, ...] = ("mix",)
    """Occluders, drawn in turn."""
    covers: int = 8000
    """Occluders drawn, once; every face gets one of them at random, perhaps mirrored."""
    held_out: float = 0.03
    """Share of the faces that are only measured on."""
    seed: int = 0
    precision: str = "auto"
    """fp32, bf16 or auto; weights are FP32 either way."""
    device: str = "auto"
    threads: int = 0
    workers: int = 1
    """Processes that draw occluders."""
    memory_mib: int = 4096

    def __post_init__(self) -> None:
        within("--batch", self.batch, 2, 65_536)
        if self.faces < self.batch:
            raise ValueError(f"--faces is {self.faces}: give at least a step's, --batch {self.batch}")
        if not 0 < self.lr <= 10:
            raise ValueError(f"--lr must be above 0 and at most 10, got {self.lr}")
        one_of("--precision", self.precision, ("auto", "fp32", "bf16"))
        check_occluders(self.kinds, None, None)
        for name in ("held_out", "covered_part", "mixed_part", "warmup", "ema", "zoom", "shift", "bend", "colour"):
            within(self.FLAGS.get(name, name), float(getattr(self, name)), 0.0, 1.0)
        within("--seed", self.seed, 0, 2**63 - 1)
        within("--threads", self.threads, 0, 4096)
        within("--workers", self.workers, 0, 256)

    @property
    def steps(self) -> int:
        """Batches."""
        return self.faces // self.batch
