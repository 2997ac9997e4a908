"""The head of an HTTP/1.1 request, as far as a live page needs it: no bodies, no other targets than paths."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl

__all__ = ["Request", "parse_head"]

LINE = re.compile(r"([A-Z]{1,16}) (/[!-~]*) HTTP/1\.([01])\Z")
FIELD = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*)\Z")
QUERY_FIELDS = 8


@dataclass(frozen=True)
class Request:
    """What was asked for."""

    method: str
    """In capitals."""
    path: str
    """As sent, from the slash to the question mark, nothing decoded: routes are compared as they are."""
    query: Mapping[str, str]
    """Decoded; of a name given twice the last."""
    host: str
    """The Host header, with the port if there is one."""
    cookies: Mapping[str, str]
    """By name."""
    keep: bool
    """Whether the connection may take another request: no body follows and the client did not ask to close."""


def parse_head(head: bytes) -> Request:
    """Read a head up to and with its empty line.

    Raises:
        ValueError: it is not a well-formed head of HTTP/1.0 or 1.1 with exactly one Host; the message says what.
    """
    first, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    line = LINE.match(first)
    if line is None:
        raise ValueError("the request line is not METHOD /path HTTP/1.1")
    fields: dict[str, list[str]] = {}
    for text in lines:
        field = FIELD.match(text)
        if field is None:
            raise ValueError("a header is not NAME: VALUE")
        fields.setdefault(field[1].lower(), []).append(field[2].rstrip())
    if len(fields.get("host", ())) != 1:
        raise ValueError("exactly one Host header is needed")
    path, _, query = line[2].partition("?")
    has_body = "transfer-encoding" in fields or any(value != "0" for value in fields.get("content-length", ()))
    asks_to_close = "close" in ",".join(fields.get("connection", ())).lower()
    return Request(
        method=line[1],
        path=path,
        query=dict(parse_qsl(query, keep_blank_values=True, max_num_fields=QUERY_FIELDS)),
        host=fields["host"][0],
        cookies=_cookies(fields.get("cookie", ())),
        keep=line[3] == "1" and not has_body and not asks_to_close,
    )


def _cookies(values: list[str] | tuple[str, ...]) -> dict[str, str]:
    pairs = (part.strip().partition("=") for value in values for part in value.split(";"))
    return {name: value for name, equals, value in pairs if equals}
