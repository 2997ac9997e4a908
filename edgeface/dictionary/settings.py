"""Everything about the training of a mask dictionary that is a number or a name."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edgeface.dictionary.blocks import FILLS
from edgeface.dictionary.layouts import TAU
from edgeface.training.margin import MARGINS
from edgeface_runtime.dictionary import DICTIONARY_KINDS, DISCARDED

__all__ = ["DictionarySettings"]


@dataclass(frozen=True)
class DictionarySettings:
    """Settings of a dictionary run; messages use the command line's words."""

    kind: str = "grid"
    """How regions are laid out: grid, lm1, lm2, lm2s, lmface or cell."""
    grid: int = 3
    """Blocks along each side; only for grid."""
    tau: float | None = None
    """Share of the features a region discards, in (0, 1); None: the kind's own (TAU). May differ on --resume."""
    discarded: str = "mean"
    """What a discarded feature becomes: mean over clean faces, or zero (the paper's). May differ on --resume."""
    fill: str = "block"
    """What covers a region: block, noise, object or mix."""
    pairs: int = 1000
    """Most pairs of a clean and a covered face per region, as many people as possible."""
    epochs: int = 10
    """Most passes over the pairs per region."""
    patience: int = 2
    """A region ends when its validation loss did not fall for this many epochs; 0: never before `epochs`."""
    validation: float = 0.1
    """Share of the pairs kept for validation."""
    batch: int = 32
    """Pairs per step."""
    lr: float = 0.1
    """First learning rate; falls along a cosine."""
    momentum: float = 0.9
    weight_decay: float = 5e-4
    weight_of_difference: float = 10.0
    """Lambda of eq. (3)."""
    loss: str = "cosface"
    """Classification loss of eq. (2): cosface, arcface or sphereface."""
    learn_classes: bool = False
    """Whether the class weights are trained along, each region from the same start."""
    seed: int = 0
    """Which faces, which covers, first weights, order."""
    precision: str = "auto"
    """auto: bf16 autocast where the processor computes in it, else fp32."""
    device: str = "auto"
    """auto: cuda if there is one, else cpu."""
    threads: int = 0
    """CPU threads; 0: as torch decides."""

    def __post_init__(self) -> None:
        for flag, value, known in (
            ("--mask", self.kind, DICTIONARY_KINDS),
            ("--discarded", self.discarded, DISCARDED),
            ("--fill", self.fill, FILLS),
            ("--loss", self.loss, MARGINS),
            ("--precision", self.precision, ("auto", "fp32", "bf16")),
            ("--device", self.device, ("auto", "cpu", "cuda")),
        ):
            if value not in known:
                raise ValueError(f"unknown {flag} {value!r}: choose one of {', '.join(known)}")
        for flag, number, low, high in (
            ("--grid", self.grid, 1, 32),
            ("--pairs", self.pairs, 4, 10_000_000),
            ("--epochs", self.epochs, 1, 100_000),
            ("--patience", self.patience, 0, 100_000),
            ("--validation", self.validation, 0, 0.9),
            ("--batch", self.batch, 2, 65_536),
            ("--momentum", self.momentum, 0, 0.9999),
            ("--weight-decay", self.weight_decay, 0, 1),
            ("--lambda", self.weight_of_difference, 0, 1e6),
            ("--seed", self.seed, 0, 2**63 - 1),
            ("--threads", self.threads, 0, 4096),
        ):
            if not low <= number <= high:
                raise ValueError(f"{flag} must be between {low} and {high}, got {number}")
        if not 0 < self.lr <= 10:
            raise ValueError(f"--lr must be above 0 and at most 10, got {self.lr}")
        if self.tau is not None and not 0 < self.tau < 1:
            raise ValueError(f"--tau must be between 0 and 1, got {self.tau}")
        if self.tau is not None and self.kind == "cell":
            raise ValueError("--mask cell has no --tau: a cell that is covered loses its own features")

    @property
    def percentile(self) -> float | None:
        """The share of features a region discards; None for `cell`, whose regions lose their own."""
        return TAU.get(self.kind) if self.tau is None else self.tau

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return asdict(self)

    @property
    def identity(self) -> dict[str, Any]:
        """What makes the generators: not what is made of their masks, nor where they are computed."""
        return {
            key: value for key, value in asdict(self).items() if key not in ("tau", "discarded", "device", "threads")
        }
