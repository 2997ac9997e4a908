"""A network's weights as one hash: what belongs to exactly these weights names it."""

from __future__ import annotations

import hashlib

from torch import nn

from edgeface_runtime.dictionary import MaskDictionary
from edgeface_runtime.errors import InputError

__all__ = ["DIGEST", "check_same_network", "weights_digest"]

DIGEST = "network_sha256"
"""Where a mask dictionary keeps the hash of the network it is of."""


def weights_digest(module: nn.Module) -> str:
    """Hex SHA-256 over all weights and buffers, in the order of their names."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(value.shape)}\n".encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def check_same_network(dictionary: MaskDictionary, model: nn.Module, where: str) -> None:
    """Refuse a dictionary of other weights: its shape may fit, its masks would discard the wrong features.

    Raises:
        InputError: the dictionary says which network it is of, and it is not this one.
    """
    known = dictionary.extra.get(DIGEST)
    if known is not None and known != weights_digest(model):
        raise InputError(f"{where} was made for other weights of such a network: train one from this checkpoint")
