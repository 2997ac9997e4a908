"""How much a live page's visitors may take."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True)
class Limits:
    """Bounds of one live page; a browser tab holds two connections."""

    connections: int = 32
    """Open connections; one more is answered 503 at once."""
    head_bytes: int = 8192
    """Longest head (request line and headers) of a request."""
    head_s: float = 5.0
    """A head must have arrived this long after the connection or the last answer, else the connection is closed."""
    send_s: float = 20.0
    """An answer must have been taken this long after it was begun, else the connection is cut."""
    wait_s: float = 4.0
    """How long a request for something newer waits for it."""
    parting_s: float = 0.5
    """How long a closed page waits for viewers to take the news that the stream has ended."""

    def __post_init__(self) -> None:
        if self.connections < 1 or self.head_bytes < 256:
            raise ValueError(
                f"a live page needs at least one connection and heads of 256 bytes, got {self.connections} and "
                f"{self.head_bytes}"
            )
        if min(self.head_s, self.send_s, self.wait_s, self.parting_s) <= 0:
            raise ValueError("the times of a live page must be above 0 seconds")
