"""Looking at layers while a network runs, and at which layer follows which."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from torch import Tensor, nn

__all__ = ["Seen", "next_norm"]


def next_norm(module: nn.Module, name: str) -> nn.BatchNorm2d | None:
    """The norm right behind a convolution; modules are registered in the order they are used."""
    order = [entry for entry in module.named_modules() if not list(entry[1].children())]
    at = [entry for entry, _ in order].index(name)
    following = order[at + 1][1] if at + 1 < len(order) else None
    return following if isinstance(following, nn.BatchNorm2d) else None


class Seen:
    """While open, what layers last read and gave, by name."""

    def __init__(self, module: nn.Module, names: Iterable[str]) -> None:
        self.layers = {name: module.get_submodule(name) for name in names}
        self.inputs: dict[str, Tensor] = {}
        self.outputs: dict[str, Tensor] = {}

    def __enter__(self) -> Seen:
        self.hooks = [layer.register_forward_hook(self._keep(name)) for name, layer in self.layers.items()]
        return self

    def _keep(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def keep(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            self.inputs[name], self.outputs[name] = inputs[0], output

        return keep

    def __exit__(self, *details: object) -> None:
        for hook in self.hooks:
            hook.remove()
