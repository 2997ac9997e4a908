"""What runs on the device: detect, align, infer, match. No torch, ever."""

from __future__ import annotations

__version__ = "0.1.0"

__all__ = ["__version__"]
