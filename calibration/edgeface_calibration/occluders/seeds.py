"""Seeds that stay the same on every machine and in every process."""

from __future__ import annotations

import hashlib

__all__ = ["sample_seed"]


def sample_seed(seed: int, name: str) -> int:
    """A stable number in [0, 2**63) for one picture of one set: the first bytes of SHA-256 over seed and name.

    `name` is the picture's path relative to its set, with forward slashes.
    """
    digest = hashlib.sha256(f"{seed}\n{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
