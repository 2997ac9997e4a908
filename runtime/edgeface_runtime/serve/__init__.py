"""A live page: the annotated stream, the latest matches and what each stage costs, in a browser.

Headless boards have no screen. `LivePage` serves one page over HTTP from a background thread, on the loopback address
and behind a token unless told otherwise, with the standard library only.
"""

from __future__ import annotations

from edgeface_runtime.serve.address import Address, parse_address
from edgeface_runtime.serve.limits import Limits
from edgeface_runtime.serve.page import LivePage

__all__ = ["Address", "Limits", "LivePage", "parse_address"]
