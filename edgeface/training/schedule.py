"""The learning rate as a pure function of the step."""

from __future__ import annotations

import math

from edgeface.training.settings import STAGES, TrainSettings

__all__ = ["learning_rate"]


def learning_rate(settings: TrainSettings, step: int, steps: int) -> float:
    """Rate for step `step` (from 0) of `steps` in the whole run.

    Steps of the rate lie at FROM's shares of the run: with 40 epochs after 15 and 30 (clean) or 10 and 25 (occluded),
    with 8 epochs after 3 and 6, or 2 and 5.
    """
    done = step / steps
    if done < settings.warmup:
        return settings.first_lr * (step + 1) / math.ceil(settings.warmup * steps)
    if settings.schedule == "cosine":
        rest = (done - settings.warmup) / (1 - settings.warmup)
        return settings.first_lr * 0.5 * (1 + math.cos(math.pi * rest))
    drops = sum(step >= round(share * steps) for share in STAGES[settings.stage][1])
    return settings.first_lr * 0.1**drops
