"""Training one region's mask generator on features that are at hand: trunk and head stay as they are."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgeface.dictionary.loss import PairLoss, pair_loss
from edgeface.dictionary.settings import DictionarySettings
from edgeface.models.generator import MaskGenerator
from edgeface.training.margin import MarginSoftmax
from edgeface_calibration.occluders import sample_seed
from edgeface_runtime.errors import GateError

__all__ = ["Epoch", "fit_generator"]


@dataclass(frozen=True)
class Epoch:
    """What one pass gave; losses are means per pair."""

    epoch: int
    """Counted from 1."""
    loss: float
    classification: float
    difference: float
    validation: float | None
    """Eq. (3) on the pairs kept for validation, None without any."""


def fit_generator(
    region: str,
    head: nn.Module,
    margin: MarginSoftmax,
    clean: Tensor,
    occluded: Tensor,
    labels: Tensor,
    settings: DictionarySettings,
    precision: str,
    report: Callable[[Epoch], None] = lambda epoch: None,
) -> MaskGenerator:
    """Train the generator of one region; the weights of the best epoch are returned, in evaluation mode.

    Args:
        region: its name; with the seed it decides first weights, order and which pairs are kept for validation.
        head: frozen, in evaluation mode.
        clean, occluded: (N, C, h, w) float16 or float32 trunk features of the same faces.
        labels: (N,) int64.

    Raises:
        GateError: the loss is not finite any more.
    """
    device = next(head.parameters()).device
    generator, rule = _start(clean.shape[1], margin, region, settings, device)
    shuffle = torch.Generator().manual_seed(sample_seed(settings.seed, f"order of {region}"))
    order = torch.randperm(len(labels), generator=shuffle)
    kept = int(len(labels) * settings.validation)
    held, trained = order[:kept], order[kept:]
    parameters = [*generator.parameters(), *(rule.parameters() if settings.learn_classes else ())]
    optimizer = torch.optim.SGD(
        parameters, lr=settings.lr, momentum=settings.momentum, weight_decay=settings.weight_decay
    )
    batches = max(1, len(trained) // settings.batch)
    steps = batches * settings.epochs
    best, best_loss, waited = copy.deepcopy(generator.state_dict()), math.inf, 0

    def loss_of(chosen: Tensor) -> PairLoss:
        first, second = (part[chosen].to(device).float() for part in (clean, occluded))
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            mask = generator((first - second).abs())
            return pair_loss(
                head, rule, mask, first, second, labels[chosen].to(device), settings.weight_of_difference
            )

    for epoch in range(settings.epochs):
        generator.train()
        sums = torch.zeros(3)
        mixed = trained[torch.randperm(len(trained), generator=shuffle)]
        for number in range(batches):
            rate = settings.lr * 0.5 * (1 + math.cos(math.pi * (epoch * batches + number) / steps))
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = loss_of(mixed[number * settings.batch : (number + 1) * settings.batch])
            optimizer.zero_grad(set_to_none=True)
            loss.total.backward()
            optimizer.step()
            sums += torch.stack([part.detach().float() for part in loss]).cpu()
        total, classification, difference = (float(value) / batches for value in sums)
        validation = _validate(generator, loss_of, held, settings.batch)
        judged = total if validation is None else validation
        if not math.isfinite(judged) or not math.isfinite(total):
            raise GateError(f"training of region {region} diverged in epoch {epoch + 1}: use a smaller --lr")
        report(Epoch(epoch + 1, total, classification, difference, validation))
        if judged < best_loss:
            best, best_loss, waited = copy.deepcopy(generator.state_dict()), judged, 0
        else:
            waited += 1
            if settings.patience and waited >= settings.patience:
                break
    generator.load_state_dict(best)
    return generator.eval()


def _start(
    channels: int, margin: MarginSoftmax, region: str, settings: DictionarySettings, device: torch.device
) -> tuple[MaskGenerator, MarginSoftmax]:
    """A new generator, and class weights that no other region has touched."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(sample_seed(settings.seed, region))
        generator = MaskGenerator(channels)
    rule = copy.deepcopy(margin)
    rule.requires_grad_(settings.learn_classes)
    return generator.to(device), rule.to(device)


@torch.no_grad()
def _validate(
    generator: MaskGenerator, loss_of: Callable[[Tensor], PairLoss], held: Tensor, batch: int
) -> float | None:
    if not len(held):
        return None
    generator.eval()
    total = 0.0
    for start in range(0, len(held), batch):
        part = held[start : start + batch]
        total += float(loss_of(part).total) * len(part)
    return total / len(held)
