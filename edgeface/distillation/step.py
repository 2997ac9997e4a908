"""The steps of a distillation: views, targets, loss, AdamW, and the running mean that is kept."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from edgeface.distillation.answers import CachedTeacher
from edgeface.distillation.covers import Covers
from edgeface.distillation.settings import DistillSettings
from edgeface.distillation.teacher import Teacher
from edgeface.distillation.views import Views, make_views
from edgeface.models import FaceNet

__all__ = ["Distiller", "rate_at"]


def rate_at(step: int, settings: DistillSettings) -> float:
    """Learning rate of a step: up in a line, down as a half cosine."""
    first = max(1, round(settings.steps * settings.warmup))
    if step < first:
        return settings.lr * (step + 1) / first
    return settings.lr * 0.5 * (1 + math.cos(math.pi * (step - first) / max(1, settings.steps - first)))


class Distiller:
    """A distillation under way; `student` is trained, `mean` is what is kept.

    Args:
        student: in training mode, on the device everything happens on.
        faces: (N, H, W, 3) uint8 BGR on that device.
        covers: occluders on that device; needed if a part is to be covered.
    """

    def __init__(
        self,
        student: FaceNet,
        teacher: Teacher | CachedTeacher,
        faces: Tensor,
        settings: DistillSettings,
        covers: Covers | None = None,
        precision: str = "fp32",
    ) -> None:
        if settings.covered_part and covers is None:
            raise ValueError("a part is to be covered, but there are no covers")
        self.student, self.teacher, self.faces, self.covers = student.train(), teacher, faces, covers
        self.settings, self.precision, self.done = settings, precision, 0
        self.mean = copy.deepcopy(student).eval().requires_grad_(False)
        self.generator = torch.Generator(faces.device)
        decayed = [p for p in student.parameters() if p.dim() > 1]
        others = [p for p in student.parameters() if p.dim() <= 1]
        groups = [
            {"params": decayed, "weight_decay": settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.lr, fused=faces.device.type == "cuda")

    def loss(self, views: Views) -> tuple[Tensor, Tensor]:
        """The loss of a batch, and (clean, covered, pattern) parts of it without gradient; an empty part is 0.

        1 - cosine to the target, which the teacher finds on the clean view, meaned over the batch; with a pattern
        head the pattern's cross entropy besides.
        """
        settings, device = self.settings, self.faces.device
        target = self.teacher(views.clean)
        told = self.student.pattern is not None
        with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            seen = views.seen.contiguous(memory_format=torch.channels_last) if device.type == "cuda" else views.seen
            output = self.student.forward_masked(seen, patterns=told)
        away = 1 - nn.functional.cosine_similarity(output.embedding.float(), target)
        loss, words = away.mean(), away.new_zeros(())
        if output.pattern is not None:
            words = nn.functional.cross_entropy(output.pattern.float(), views.pattern)
            loss = loss + settings.pattern_weight * words
        count = round(settings.batch * settings.covered_part) if self.covers is not None else 0
        parts = [part.detach().sum() / max(1, len(part)) for part in (away[count:], away[:count])]
        return loss, torch.stack([*parts, words.detach()])

    def step(self) -> Tensor:
        """One batch; what `loss` gives as its parts."""
        settings = self.settings
        self._seed()
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.done, settings)
        loss, parts = self.loss(make_views(self.faces, self.covers, settings, self.generator))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.student.parameters(), settings.clip, foreach=True)
        self.optimizer.step()
        self.done += 1
        self._average()
        return parts

    def _seed(self) -> None:
        """Every step's random numbers follow from the seed and its number, so that a run resumes exactly."""
        words = np.random.SeedSequence([self.settings.seed, 16, self.done]).generate_state(2)
        self.generator.manual_seed(int(words[0]))
        torch.manual_seed(int(words[1]))  # the pattern head's dropout

    @torch.no_grad()
    def _average(self) -> None:
        """Weights and batch statistics alike; in the beginning over all there were so far."""
        weight = max(1 - self.settings.ema, 1 / (self.done + 1))
        pairs = [
            (mean, now) for mean, now in zip(_floats(self.mean).values(), _floats(self.student).values(), strict=True)
        ]
        torch._foreach_lerp_([mean for mean, _ in pairs], [now for _, now in pairs], weight)


def _floats(model: nn.Module) -> Mapping[str, Tensor]:
    return {name: tensor for name, tensor in model.state_dict().items() if tensor.is_floating_point()}
