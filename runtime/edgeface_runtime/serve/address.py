"""Where a live page listens: `--serve HOST:PORT` read, judged and bound."""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from typing import NamedTuple

from edgeface_runtime.errors import InputError

__all__ = ["Address", "is_loopback", "listen", "parse_address"]

EXAMPLE = "127.0.0.1:8080"
NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.[A-Za-z0-9-]{1,63})*\Z")


class Address(NamedTuple):
    """A host and a port; unpacks as both."""

    host: str
    """IPv4 or IPv6 address without brackets, or a host name."""
    port: int
    """0 to 65535; 0 takes a free one."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def warning(self) -> str:
        """What to tell who listens beyond this machine, in one line; empty on a loopback address."""
        if is_loopback(self.host):
            return ""
        return (
            f"--serve {self}: pictures, names and the token cross the network unencrypted (plain HTTP): "
            f"over a network you do not trust use 127.0.0.1:{self.port} and ssh -L {self.port}:127.0.0.1:{self.port}"
        )


def is_loopback(host: str) -> bool:
    """Whether `host` is an address of this machine only: 127.0.0.0/8, ::1 or `localhost`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def parse_address(text: str) -> Address:
    """Read HOST:PORT: `127.0.0.1:8080`, `[::1]:8080`, `board.local:8080`.

    Raises:
        InputError: anything else; the host is required, so that nobody listens everywhere by accident.
    """
    host, colon, port = text.strip().rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        good = _is_ip(host, 6)
    elif ":" in host:
        raise InputError(f"--serve {text!r}: put an IPv6 address in brackets, such as [::1]:8080")
    else:
        good = _is_ip(host, 4) if re.fullmatch(r"[\d.]+", host) else NAME.match(host) is not None
    if not (colon and good):
        raise InputError(f"--serve takes HOST:PORT such as {EXAMPLE}, got {text!r}")
    if not (re.fullmatch(r"[0-9]{1,5}", port) and int(port) <= 65535):
        raise InputError(f"--serve {text!r}: the port must be a number from 0 to 65535, such as in {EXAMPLE}")
    return Address(host, int(port))


def _is_ip(text: str, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False


def listen(address: Address) -> socket.socket:
    """A socket that listens on `address`.

    Raises:
        InputError: the host is not known or not this machine's, the port is taken or not allowed.
    """
    host, port = address
    flag = f"--serve {address}"
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, where = min(found, key=lambda entry: entry[0] != socket.AF_INET)
        return socket.create_server(where[:2], family=family)
    except (socket.gaierror, UnicodeError) as exc:
        raise InputError(f"{flag}: the host is not known here: use 127.0.0.1, or an address of this machine") from exc
    except OSError as exc:
        if exc.errno == errno.EADDRINUSE:
            other = port + 1 if port < 65535 else port - 1
            what = f"the port is taken by another program: stop that, or give another port, such as {other}"
        elif exc.errno in (errno.EACCES, errno.EPERM):
            what = "this user may not listen there: ports below 1024 need root, so take one above, such as 8080"
        elif exc.errno == errno.EADDRNOTAVAIL:
            what = "that is no address of this machine: use 127.0.0.1, or one that `ip address` shows"
        else:
            what = f"cannot listen there ({exc.strerror}): try {EXAMPLE}"
        raise InputError(f"{flag}: {what}") from exc
