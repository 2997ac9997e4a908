"""Training: margin softmax, settings, the loop, resuming."""

from __future__ import annotations

from edgeface.training.loop import TrainResult, train
from edgeface.training.margin import MARGINS, Margin, MarginSoftmax
from edgeface.training.schedule import learning_rate
from edgeface.training.settings import TrainSettings
from edgeface.training.state import read_run

__all__ = [
    "MARGINS",
    "Margin",
    "MarginSoftmax",
    "TrainResult",
    "TrainSettings",
    "learning_rate",
    "read_run",
    "train",
]
