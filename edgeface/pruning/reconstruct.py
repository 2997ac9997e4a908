"""Least-squares repair of a pruned network: every layer learns to give again what it gave in the whole one.

After He et al. 2017 (channel pruning) and Zhang et al. 2015 (asymmetric: a layer is fitted on what really reaches it
in the pruned network, so errors before it are mended too, not summed up). The last convolution of a residual block
also takes on what its shortcut misses. No gradients and no labels: faces go once through both networks.

What stays as it was cut: depthwise convolutions, and a mask's linear layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from edgeface.models.iresnet import FaceNet
from edgeface.pruning.groups import OUT_CONV, cuts
from edgeface.pruning.least_squares import cells_of, fit, patches
from edgeface.pruning.maps import CHUNK, Again, Maps, call, run
from edgeface.pruning.observe import Seen, next_norm
from edgeface_runtime.errors import InputError

__all__ = ["FEWEST", "check_refit", "parts", "reconstruct"]

ROWS_PER_INPUT = 6
"""Samples of a layer for every value it reads, where the faces have so many."""
RIDGE = 0.3
"""Pull towards the weights as cut."""
HEAD_RIDGES = (1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1e3)
"""The head may read more values than there are faces, so its pull is chosen."""
FEWEST = 16
"""Faces."""


@torch.inference_mode()
def reconstruct(
    whole: FaceNet,
    pruned: FaceNet,
    kept: dict[str, Tensor],
    faces: Tensor,
    *,
    blocks: Mapping[str, str] | None = None,
    seed: int = 0,
    progress: Callable[[str], None] | None = None,
) -> None:
    """Refit the layers of `pruned`, in place, to `whole`.

    Args:
        whole: the network before, in evaluation mode.
        pruned: the smaller one, in evaluation mode, on the same device.
        kept: indices of the channels that stayed, per group of `whole`.
        blocks: every block of `pruned` -> its name in `whole`, where some are gone; what they gave is then up to the
            blocks behind them.
        faces: (N, 3, H, W) float in [-1, 1], some hundreds.
        progress: called with each part's name when it is done.
    """
    job = _Job(whole, pruned, kept, torch.Generator().manual_seed(seed))
    places = {first: now for now, first in (blocks or {}).items()}
    before: list[Maps] = [faces]
    now: list[Maps] = [faces]
    maps: list[tuple[Maps, Maps]] = []
    for name, ends_stage in parts(whole):
        if blocks is not None and name.startswith("stages") and name not in places:
            before = [run(whole.get_submodule(name), name, before)]
        else:
            given, given_now = job.part(name, places.get(name, name), before, now, keep=name != "stem")
            before, now = [given], [given_now]
        if ends_stage and whole.decoder is not None:
            maps = [*maps[-2:], (before[0], now[0])]
        if progress:
            progress(name)
    if whole.decoder is not None:
        if whole.top is not None:
            maps[-1] = (before[0], now[0])
        read, read_now = (list(entries) for entries in zip(*maps, strict=True))
        mask, mask_now = job.part("decoder", "decoder", read, read_now)
        if mask[:1].dim() == 4:  # else it is the embedding's
            before, now = [before[0][:] * mask[:]], [now[0][:] * mask_now[:]]
    job.head(before[0][:], now[0][:])
    if progress:
        progress("head")


def check_refit(count: int, has_faces: bool) -> None:
    """Raise InputError unless there are faces to refit on, and enough of them; 0 is none at all."""
    if count and not has_faces:
        raise InputError("--reconstruct refits on real faces: give them with --data")
    if count < 0 or 0 < count < FEWEST:
        raise InputError(f"--reconstruct must be at least {FEWEST} faces, or 0, got {count}")


def parts(model: FaceNet) -> Iterator[tuple[str, bool]]:
    """The trunk in order: names of modules, and whether one ends a stage."""
    yield "stem", False
    for index, stage in enumerate(model.spec.stages):
        for number in range(len(stage.inner)):
            yield f"stages.{index}.{number}", number + 1 == len(stage.inner)
    if model.top is not None:
        yield "top", False


@dataclass(frozen=True)
class _Job:
    whole: FaceNet
    pruned: FaceNet
    kept: dict[str, Tensor]
    generator: torch.Generator

    def part(
        self, part: str, place: str, before: Sequence[Maps], now: Sequence[Maps], keep: bool = True
    ) -> tuple[Maps, Maps]:
        """Refit a part's convolutions, a block's last one after its shortcut; what it gives in both networks.

        Args:
            part, place: its names in the whole and in the pruned network.
            keep: whether what it gives is kept, or computed again where it is read; a stem's has no addition to mend.
        """
        whole, pruned = self.whole.get_submodule(part), self.pruned.get_submodule(place)
        last = OUT_CONV[self.whole.spec.block] if part.startswith("stages") else ""
        convs = {
            name: conv for name, conv in pruned.named_modules() if isinstance(conv, nn.Conv2d) and conv.groups == 1
        }
        kept = {name: self.kept[cuts(self.whole.spec)[f"{part}.{name}.weight"][0].group] for name in convs}
        cells = self._cells(pruned, part, now, convs)
        wanted: dict[str, list[Tensor]] = {name: [] for name in convs}
        given: list[Tensor] = []
        for at in range(0, len(before[0]), CHUNK):
            with Seen(whole, convs) as seen:
                found = call(whole, part, before, at)
            if keep:
                given.append(found)
            for name in convs:
                some = cells[name][at : at + CHUNK]
                wanted[name].append(cells_of(seen.outputs[name], some)[..., kept[name]])
        for name, conv in sorted(convs.items(), key=lambda entry: entry[0] == last):
            norm = next_norm(pruned, name)
            sums = name == last and norm is not None and self.whole.spec.block != "basic"  # basic: activated after it
            reads, gives = [], []
            for number, at in enumerate(range(0, len(now[0]), CHUNK)):
                with Seen(pruned, {name: conv}) as seen:
                    total = call(pruned, part, now, at)
                some, gap = cells[name][at : at + CHUNK], wanted[name][number]
                if sums:
                    assert norm is not None
                    branch = gap - cells_of(seen.outputs[name], some)
                    left = cells_of(given[number], some)[..., kept[name]] - cells_of(total, some)
                    gap = gap + _missed(norm, branch, left)
                gives.append(gap.flatten(0, 1))
                reads.append(patches(seen.inputs[name], conv, seen.outputs[name].shape[3], some).flatten(0, 1))
            centred = norm is not None or conv.bias is not None
            weight, offset = fit(torch.cat(reads), torch.cat(gives), conv.weight.flatten(1), RIDGE, centred)
            _put(conv, weight.view_as(conv.weight), offset, norm)
        if not keep:
            return Again(whole, before[0]), Again(pruned, now[0])
        return torch.cat(given), run(pruned, part, now)

    def _cells(
        self, pruned: nn.Module, part: str, now: Sequence[Maps], convs: Mapping[str, nn.Conv2d]
    ) -> dict[str, Tensor]:
        """(N, p) of every convolution's outputs, drawn for every face: enough rows for what it reads."""
        with Seen(pruned, convs) as seen:
            call(pruned, part, [value[:1] for value in now], 0)
        chosen, faces = {}, len(now[0])
        for name, conv in convs.items():
            places = seen.outputs[name].shape[2] * seen.outputs[name].shape[3]
            each = min(places, -(-ROWS_PER_INPUT * conv.weight[0].numel() // faces))
            drawn = [torch.randperm(places, generator=self.generator)[:each] for _ in range(faces)]
            chosen[name] = torch.stack(drawn).to(now[0].device)
        return chosen

    def head(self, before: Tensor, now: Tensor) -> None:
        """Refit the linear layer that gives the embedding, pulled as strongly as is best for a fifth of the faces."""
        head = self.pruned.head
        at = max(index for index, module in enumerate(head) if isinstance(module, nn.Linear))
        linear, norm = head[at], head[at + 1] if at + 1 < len(head) else None
        assert isinstance(linear, nn.Linear)
        wanted, reads = self.whole.head[: at + 1](before), head[:at](now)
        part = max(1, len(reads) // 5)
        seen = reads[part:], wanted[part:], linear.weight

        def missed(ridge: float) -> float:
            weight, offset = fit(*seen, ridge, True)
            return float((reads[:part] @ weight.T + offset - wanted[:part]).square().mean())

        weight, offset = fit(reads, wanted, linear.weight, min(HEAD_RIDGES, key=missed), True)
        _put(linear, weight, offset, norm)


def _missed(norm: nn.BatchNorm2d, branch: Tensor, total: Tensor) -> Tensor:
    """What a block's last convolution must give besides, because its shortcut misses it; before the norm.

    Args:
        branch: (..., channels), the convolution's output in the whole network less that in the pruned one.
        total: the block's, likewise.
    """
    assert norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return torch.where(scale.abs() > 1e-4, total / scale - branch, 0.0)


def _put(layer: nn.Conv2d | nn.Linear, weight: Tensor, offset: Tensor, norm: nn.Module | None) -> None:
    """An offset goes into the bias, or into the mean of the norm that follows."""
    layer.weight.copy_(weight)
    if isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d):
        assert norm.running_mean is not None
        norm.running_mean -= offset
    elif layer.bias is not None:
        layer.bias.copy_(offset)
