"""The learning side of edgeface (torch) and its command line."""

from __future__ import annotations

from edgeface_runtime import __version__

__all__ = ["__version__"]
