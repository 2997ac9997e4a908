"""A checksum of a JSON object within itself: what no other hash covers, an accident in the small file, is seen too.

It is taken over the data, not the bytes, so a file that was only laid out anew still holds. Files written before
there were seals have none and are read as before. A seal stops accidents, not attackers: see signature.py.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Container, Mapping
from typing import Any

__all__ = ["is_intact", "seal"]

DIGEST = re.compile(r"[0-9a-f]{64}")


def seal(data: Mapping[str, Any], name: str) -> dict[str, Any]:
    """JSON data with its own checksum as the field `name`, last."""
    plain = json.loads(json.dumps({key: value for key, value in data.items() if key != name}))
    return {**plain, name: _digest(plain)}


def is_intact(data: Mapping[str, Any], name: str, known: Container[str]) -> bool:
    """Whether data that was read is what was sealed under `name`, or was never sealed.

    Args:
        known: fields of the format. A checksum under a name that is not among them is a seal whose name was damaged.
    """
    if name not in data:
        return not any(
            key not in known and isinstance(value, str) and DIGEST.fullmatch(value) for key, value in data.items()
        )
    return bool(data[name] == _digest({key: value for key, value in data.items() if key != name}))


def _digest(data: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
