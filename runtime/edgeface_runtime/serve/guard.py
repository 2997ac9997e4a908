"""Who is let in: the Host header against DNS rebinding, the token, read-only methods."""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket

from edgeface_runtime.errors import InputError
from edgeface_runtime.serve.address import Address, is_loopback
from edgeface_runtime.serve.request import Request
from edgeface_runtime.serve.response import Response, refuse

__all__ = ["Guard", "check_token", "new_token"]

TOKEN = re.compile(r"[A-Za-z0-9_-]{16,200}\Z")
LOOPBACK_NAMES = {"localhost", "127.0.0.1", "::1"}
HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^:\[\]]+))(?::[0-9]{1,5})?\Z")


def new_token() -> str:
    """A token nobody guesses: 192 random bits, in characters that need no quoting."""
    return secrets.token_urlsafe(24)


def check_token(token: str) -> str:
    """The token itself, if it can be one.

    Raises:
        InputError: it is too short to be secret, or has characters that do not go into an address and a cookie.
    """
    if TOKEN.match(token) is None:
        raise InputError("a token of the live page has 16 to 200 letters, digits, - or _: give such a one, or none")
    return token


class Guard:
    """Judges each request before anything is looked up."""

    def __init__(self, token: str, address: Address) -> None:
        """`address` is where the page really listens, its port not 0."""
        self._token = token.encode()
        self.cookie = f"edgeface-{address.port}"
        """Name of the cookie: browsers keep one jar for all ports of a host."""
        self._everywhere = not is_loopback(address.host)
        self._names = {*LOOPBACK_NAMES, address.host.lower()}
        if self._everywhere:
            name = socket.gethostname().lower()
            self._names |= {name, f"{name.partition('.')[0]}.local"}

    def refusal(self, request: Request) -> Response | None:
        """Why the request goes no further; None where it may."""
        if not self.knows_host(request.host):
            return refuse(403, "403: this page does not go by that name: open the address that was printed")
        if not self.knows_token(request):
            return refuse(401, "401: the token is missing or wrong: open the whole address that was printed")
        if request.method not in ("GET", "HEAD"):
            return refuse(405, "405: only GET and HEAD are answered", (("Allow", "GET, HEAD"),))
        return None

    def knows_host(self, host: str) -> bool:
        """Whether a Host header names this page.

        A page elsewhere whose name is made to point here (DNS rebinding) sends its own name. Beyond loopback any IP
        address is let through: it cannot be rebound, and forwarded ports change it.
        """
        found = HOST.match(host)
        if found is None:
            return False
        name = (found[1] or found[2]).lower().rstrip(".")
        if name in self._names:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return self._everywhere

    def knows_token(self, request: Request) -> bool:
        """Whether the query's token, or without one the cookie's, is ours; takes the same time for any wrong one."""
        given = request.query.get("token", request.cookies.get(self.cookie, ""))
        return secrets.compare_digest(given.encode("utf-8", "replace"), self._token)

    def welcome(self) -> Response:
        """Moves the token from the address bar into a cookie that no script can read.

        By `Refresh` and not by a redirect: after a link from another site a redirect would carry no strict cookie.
        """
        cookie = f"{self.cookie}={self._token.decode()}; Path=/; HttpOnly; SameSite=Strict"
        return Response(200, b"Opening the live page.\n", headers=(("Set-Cookie", cookie), ("Refresh", "0; url=/")))
