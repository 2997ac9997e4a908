"""Answers of a live page, each with the headers that keep it to itself."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

__all__ = ["Response", "refuse"]

COMMON = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
NOTHING_LOADS = "default-src 'none'; frame-ancestors 'none'"


@dataclass(frozen=True)
class Response:
    """An answer."""

    status: int
    """HTTP status."""
    body: bytes = b""
    """What is sent unless only the head was asked for."""
    kind: str = "text/plain; charset=utf-8"
    """Content-Type."""
    headers: tuple[tuple[str, str], ...] = ()
    """Further headers, with values that are safe in a header."""
    policy: str = NOTHING_LOADS
    """Content-Security-Policy: what the answer, shown as a page, may load and run."""

    def to_bytes(self, with_body: bool, keep: bool) -> bytes:
        """As it goes over the wire; `keep` says whether the connection stays open."""
        fields = [*COMMON, ("Content-Security-Policy", self.policy), *self.headers]
        if self.status != HTTPStatus.NO_CONTENT:
            fields += [("Content-Type", self.kind), ("Content-Length", str(len(self.body)))]
        fields.append(("Connection", "keep-alive" if keep else "close"))
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}", *(f"{k}: {v}" for k, v in fields)]
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        return head + self.body if with_body else head


def refuse(status: int, line: str, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """An error in one line of text."""
    return Response(status, f"{line}\n".encode(), headers=headers)
