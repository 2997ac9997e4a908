"""Where a live page listens, by which token and within which limits."""

from __future__ import annotations

import errno
import re
import socket

import pytest

from edgeface_runtime.errors import InputError
from edgeface_runtime.serve import Limits, LivePage, parse_address
from edgeface_runtime.serve.address import Address


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("127.0.0.1:8080", "127.0.0.1", 8080),
        (" [::1]:8080\n", "::1", 8080),
        ("0.0.0.0:0", "0.0.0.0", 0),
        ("board-7.local:65535", "board-7.local", 65535),
    ],
)
def test_addresses(text: str, host: str, port: int) -> None:
    assert parse_address(text) == (host, port)
    assert parse_address(str(parse_address(text))) == (host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8080",
        ":8080",
        "localhost",
        "127.0.0.1:",
        "127.0.0.1:http",
        "127.0.0.1:65536",
        "127.0.0.1:-1",
        "1.2.3:80",
        "::1:8080",
        "[::1]",
        "[127.0.0.1]:80",
        "999.0.0.1:80",
        "a b:80",
        "http://localhost:80",
        "a/b:80",
        "h:８０",
    ],
)
def test_bad_addresses_are_one_line(text: str) -> None:
    with pytest.raises(InputError, match=r"--serve") as caught:
        parse_address(text)
    assert len(str(caught.value).splitlines()) == 1


def test_only_what_is_not_loopback_is_warned_about() -> None:
    for text in ("127.0.0.1:1", "127.8.0.1:1", "[::1]:1", "localhost:1"):
        assert parse_address(text).warning == ""
    for text in ("0.0.0.0:1", "[::]:1", "192.168.1.7:1", "board.local:1"):
        assert "unencrypted" in parse_address(text).warning
    with LivePage("0.0.0.0", 0) as everywhere:
        assert everywhere.warning
        assert socket.gethostname() in everywhere.url


def test_an_address_that_cannot_be_had_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = r"the port is taken by another program: .* such as \d+$"
    with LivePage("127.0.0.1", 0) as page, pytest.raises(InputError, match=taken):
        LivePage("127.0.0.1", page.address.port)
    with pytest.raises(InputError, match="no address of this machine"):
        LivePage("192.0.2.1", 8080)

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(socket, "create_server", refused)
    with pytest.raises(InputError, match=r"--serve 127\.0\.0\.1:80: this user may not listen there"):
        LivePage("127.0.0.1", 80)

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(InputError, match="the host is not known here"):
        LivePage("nowhere.invalid", 8080)


def test_tokens() -> None:
    with LivePage("127.0.0.1", 0) as one, LivePage("127.0.0.1", 0) as other:
        tokens = [re.search(r"\?token=([\w-]{32})$", each.url) for each in (one, other)]
        assert all(tokens)
        assert tokens[0] is not None and tokens[1] is not None and tokens[0][1] != tokens[1][1]
    for bad in ("", "short", "x" * 201, "sixteen chars ok", "sixteen-chars\r\nok", "schlüssel-schlüssel"):
        with pytest.raises(InputError, match="16 to 200"):
            LivePage("127.0.0.1", 0, bad)


def test_limits_speak() -> None:
    for bad in ({"connections": 0}, {"head_bytes": 10}, {"wait_s": 0.0}):
        with pytest.raises(ValueError, match="live page"):
            Limits(**bad)  # type: ignore[arg-type]
    assert str(Address("::1", 80)) == "[::1]:80"
