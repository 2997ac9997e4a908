"""A network as if channels or a block were gone: merely cut, or with what stays making up for what it can.

A layer that reads channels which went can be refitted so that it reads, in their place, what the channels beside them
predict linearly. So a group is not silenced here but its channels predicted, at every place they are read. In the
place of a block the one behind it adds what it can predict of what is missing from its own inner channels. Both are
what `edgeface.pruning.reconstruct` can do, without its minutes, and not all: it fits 3x3 surroundings one by one.

A mask's groups are silenced, as without refitting, and basic blocks bypassed: they are activated after the addition.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import torch
from torch import Tensor, nn

from edgeface.models.iresnet import FaceNet
from edgeface.pruning.depth import bypassed, removable
from edgeface.pruning.groups import groups
from edgeface.pruning.maps import CHUNK
from edgeface.pruning.moments import Line, Moments
from edgeface.pruning.observe import Seen
from edgeface.pruning.silence import carriers, silenced

__all__ = ["Cut", "Repair", "as_if_gone"]

FITTED = 256
"""Faces that are enough to fit the predictions on."""


class Cut:
    """What goes leaves nothing."""

    def __init__(self, model: FaceNet) -> None:
        self.model = model

    def narrowed(self, group: str, weak: Tensor) -> AbstractContextManager[None]:
        """While open, the group's channels `weak` are silent."""
        return silenced(self.model, {group: weak})

    def without(self, block: str) -> AbstractContextManager[None]:
        """While open, the block is bypassed."""
        return bypassed(self.model, block)


class Repair(Cut):
    """Predictions of a network's channels from one another, and of what its blocks add."""

    def __init__(self, model: FaceNet, faces: Tensor, blocks: bool = True) -> None:
        """Look at the faces.

        Args:
            model: in evaluation mode.
            faces: (N, 3, H, W) float in [-1, 1]; others than losses are judged on.
            blocks: whether blocks are asked about, too; if not, they would merely be bypassed.
        """
        super().__init__(model)
        self.behind = _behind(model) if blocks and model.spec.block != "basic" else {}
        names = {module: name for name, module in model.named_modules()}
        self.groups = {
            part.name: [names[module] for module, _ in carriers(model, part.name)]
            for part in groups(model.spec)
            if not part.name.startswith("decoder.")
        }
        self.inners = {name: self.groups[f"{name}.inner"][0] for name in self.behind.values() if name}
        self.channels = {name: Moments() for names in self.groups.values() for name in names}
        self.blocks = {name: Moments() for name in self.behind}
        with torch.inference_mode():
            for chunk in faces.split(CHUNK):
                self._see(chunk)

    def _see(self, faces: Tensor) -> None:
        with Seen(self.model, {*self.channels, *self.behind, *self.inners}) as seen:
            self.model(faces)
        for name, moments in self.channels.items():
            moments.add(seen.outputs[name], seen.outputs[name])
        for name, behind in self.behind.items():
            given, left = seen.outputs[name], seen.inputs[name]
            if behind is None:
                self.blocks[name].add(left, given - left)
                continue
            inner = self.inners[behind]
            with Seen(self.model, [inner]) as again:
                now = self.model.get_submodule(behind)(left)
            reads = _at(again.outputs[inner], now)
            self.blocks[name].add(reads, seen.outputs[behind] - now)

    def narrowed(self, group: str, weak: Tensor) -> AbstractContextManager[None]:
        """While open, the group's channels `weak` are predicted from its others."""
        if group not in self.groups or not len(weak):  # of one channel none can go
            return super().narrowed(group, weak)
        return self._narrowed(group, weak)

    @contextmanager
    def _narrowed(self, group: str, weak: Tensor) -> Iterator[None]:
        with ExitStack() as stack:
            for name in self.groups[group]:
                width = len(self.channels[name].sums[0])
                stay = torch.ones(width, dtype=torch.bool).index_fill(0, weak, False).nonzero().flatten()
                hook = _predicted(self.channels[name].line(stay, weak), stay, weak)
                stack.enter_context(self.model.get_submodule(name).register_forward_hook(hook))
            yield

    def without(self, block: str) -> AbstractContextManager[None]:
        """While open, the block is bypassed and the one behind it makes up for what it can."""
        return self._without(block) if block in self.behind else super().without(block)

    @contextmanager
    def _without(self, block: str) -> Iterator[None]:
        line, behind = self.blocks[block].line(), self.behind[block]
        with ExitStack() as stack:
            if behind is None:
                there = self.model.get_submodule(block)
                stack.enter_context(
                    there.register_forward_hook(lambda module, inputs, output: inputs[0] + line(inputs[0]))
                )
            else:
                inner, there = self.inners[behind], self.model.get_submodule(behind)
                stack.enter_context(bypassed(self.model, block))
                reads = stack.enter_context(Seen(self.model, [inner])).outputs
                stack.enter_context(
                    there.register_forward_hook(
                        lambda module, inputs, output: output + line(_at(reads[inner], output))
                    )
                )
            yield


def as_if_gone(model: FaceNet, refit: Tensor | None, blocks: bool = True) -> Cut:
    """Merely cut, or, with faces (M, 3, H, W) to refit on, made up for as a look at the first of them says."""
    return Cut(model) if refit is None else Repair(model, refit[:FITTED], blocks)


def _behind(model: FaceNet) -> dict[str, str | None]:
    """Removable block -> the block that reads it next; None for the network's last."""
    depths = [len(stage.inner) for stage in model.spec.stages]
    blocks = [f"stages.{index}.{number}" for index, depth in enumerate(depths) for number in range(depth)]
    following = dict(zip(blocks, [*blocks[1:], None], strict=True))
    return {name: following[name] for name in removable(model.spec)}


def _predicted(line: Line, stay: Tensor, weak: Tensor) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], Tensor]:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return output.index_copy(1, weak.to(output.device), line(output[:, stay.to(output.device)]))

    return hook


def _at(maps: Tensor, like: Tensor) -> Tensor:
    """The places of a map that a convolution with a stride puts its kernel's middle on."""
    stride = -(-maps.shape[2] // like.shape[2])
    return maps[:, :, ::stride, ::stride]
