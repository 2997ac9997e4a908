"""The live page over real sockets: who is let in, what a visitor can take, and what the stream never waits for."""

from __future__ import annotations

import gc
import http.client
import json
import math
import re
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeface_runtime.errors import InputError
from edgeface_runtime.serve import Limits, LivePage
from edgeface_runtime.serve import page as page_module
from edgeface_runtime.serve.board import plain

TOKEN = "a-token-for-tests-only"
JPEG = b"\xff\xd8 a picture \xff\xd9"
QUICK = Limits(connections=4, head_s=0.4, send_s=0.6, wait_s=0.3, parting_s=0.3)
ROUTES = ("/", "/frame.jpg", "/state.json")


@pytest.fixture
def page() -> Iterator[LivePage]:
    with LivePage("127.0.0.1", 0, TOKEN, QUICK) as opened:
        yield opened


Reply = tuple[int, dict[str, str], bytes]


def ask(page: LivePage, target: str, method: str = "GET", token: str | None = TOKEN, **headers: str) -> Reply:
    """Status, headers (lower case) and body; the token goes by the cookie."""
    connection = http.client.HTTPConnection("127.0.0.1", page.address.port, timeout=10)
    connection.putrequest(method, target, skip_host="host" in headers, skip_accept_encoding=True)
    if token is not None:
        headers["cookie"] = f"other=1; edgeface-{page.address.port}={token}"
    for name, value in headers.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    found = answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    connection.close()
    return found


def connect(page: LivePage, sent: bytes = b"", receive_bytes: int | None = None) -> socket.socket:
    visitor = socket.socket()
    if receive_bytes is not None:
        visitor.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    visitor.settimeout(10)
    visitor.connect(("127.0.0.1", page.address.port))
    visitor.sendall(sent)
    return visitor


def head(page: LivePage, target: str) -> bytes:
    return (
        f"GET {target} HTTP/1.1\r\nHost: localhost\r\nCookie: edgeface-{page.address.port}={TOKEN}\r\n\r\n".encode()
    )


def until(condition: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def is_served(page: LivePage) -> bool:
    try:
        return ask(page, "/")[0] == 200
    except OSError:
        return False


def read_all(visitor: socket.socket) -> bytes:
    data = b""
    while part := visitor.recv(65536):
        data += part
    return data


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
def test_ipv6() -> None:
    try:
        opened = LivePage("::1", 0, TOKEN, QUICK)
    except InputError as exc:
        pytest.skip(f"needs ::1: {exc}")
    with opened:
        assert opened.url == f"http://[::1]:{opened.address.port}/?token={TOKEN}"
        visitor = socket.create_connection(("::1", opened.address.port), timeout=10)
        visitor.sendall(head(opened, "/").replace(b"localhost", b"[::1]:8080"))
        assert visitor.recv(12) == b"HTTP/1.1 200"


@pytest.mark.parametrize("target", [*ROUTES, "/nothing", "/../etc/passwd"])
@pytest.mark.parametrize("token", [None, "", "wrong", TOKEN[:-1], TOKEN + "x", TOKEN.upper()])
def test_nothing_without_the_token(page: LivePage, target: str, token: str | None) -> None:
    page.publish(lambda: JPEG, {"faces": [{"name": "Ada"}]})
    for method in ("GET", "HEAD", "POST", "OPTIONS"):
        status, headers, body = ask(page, target, method, token)
        assert status == 401
        assert b"Ada" not in body and len(body.splitlines()) == (method != "HEAD")
        assert "set-cookie" not in headers
        assert headers["connection"] == "close", "who is not let in holds no connection"
    if token is not None:
        assert ask(page, f"{target}?token={token}", token=TOKEN)[0] == 401, "a wrong token in the address decides"


def test_the_token_moves_from_the_address_into_a_cookie(page: LivePage) -> None:
    status, headers, body = ask(page, page.url.removeprefix(f"http://{page.address}"), token=None)
    assert status == 200 and TOKEN.encode() not in body
    assert headers["refresh"] == "0; url=/"
    assert headers["referrer-policy"] == "no-referrer"
    cookie, *attributes = headers["set-cookie"].split("; ")
    assert {"HttpOnly", "SameSite=Strict", "Path=/"} == set(attributes)
    status, headers, body = ask(page, "/", token=None, cookie=cookie)
    assert status == 200 and headers["content-type"].startswith("text/html")
    assert TOKEN.encode() not in body, "a script cannot read the token"
    assert ask(page, "/state.json", token=None, cookie=cookie)[0] == 200


def test_only_get_and_head(page: LivePage) -> None:
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "TRACE"):
        status, headers, _ = ask(page, "/", method)
        assert (status, headers["allow"]) == (405, "GET, HEAD")
    page.publish(lambda: JPEG, {})
    for target in ROUTES:
        whole, bare = ask(page, target), ask(page, target, "HEAD")
        assert bare[0] == 200 and bare[2] == b""
        assert bare[1]["content-type"] == whole[1]["content-type"]
    assert ask(page, "/frame.jpg", "HEAD")[1]["content-length"] == str(len(JPEG))


@pytest.mark.parametrize(
    "target",
    [
        "/../pyproject.toml",
        "/..%2f..%2fetc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "//etc/passwd",
        "/./",
        "/%2e/",
        "/live.html",
        "/page.py",
        "/static/",
        "/frame.jpg/",
        "/frame.jpg/../state.json",
        "/%00",
        "/state.json%00.jpg",
        "/....//....//etc/passwd",
        "/..\\..\\etc\\passwd",
        "/index.html",
        "/favicon.ico",
        "/;/state.json",
    ],
)
def test_there_are_three_routes_and_no_files(page: LivePage, target: str) -> None:
    status, _, body = ask(page, target)
    assert (status, body) == (404, b"404: there is only /, /frame.jpg and /state.json\n")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: localhost\r\n\r\n", 400),
        (b"GET http://localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET /\x00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400),
        (b"GET /?" + b"&".join(b"a%d=1" % i for i in range(50)) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"x" * 100_000, 431),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nGET / HTT", 401),
    ],
)
def test_malformed_heads_are_refused_and_the_connection_closed(page: LivePage, sent: bytes, status: int) -> None:
    visitor = connect(page, sent)
    answer = read_all(visitor)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.count(b"Connection: close") == answer.count(b"Connection: ") == 1


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:9000", 200),
        ("127.0.0.1", 200),
        ("[::1]:8080", 200),
        ("LOCALHOST.", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example:8080", 403),
        ("localhost:8080@evil.example", 403),
        ("192.168.1.7", 403),
        ("", 403),
    ],
)
def test_names_that_were_made_to_point_here_are_refused(page: LivePage, host: str, status: int) -> None:
    assert ask(page, "/", host=host)[0] == status


def test_beyond_loopback_it_goes_by_addresses_and_its_own_name() -> None:
    with LivePage("0.0.0.0", 0, TOKEN, QUICK) as page:
        for host in ("192.168.1.7:8080", "[fe80::1]", "localhost", socket.gethostname()):
            assert ask(page, "/", host=host)[0] == 200
        for host in ("evil.example", "192.168.1.7.evil.example"):
            assert ask(page, "/", host=host)[0] == 403


def test_one_connection_takes_many_requests(page: LivePage) -> None:
    page.publish(lambda: JPEG, {})
    connection = http.client.HTTPConnection("127.0.0.1", page.address.port, timeout=10)
    for _ in range(3):
        connection.request("GET", f"/frame.jpg?token={TOKEN}")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, JPEG)
    assert connection.sock is not None
    for last in (b"HTTP/1.0\r\n", b"HTTP/1.1\r\nConnection: close\r\n"):
        answer = read_all(connect(page, head(page, "/frame.jpg").replace(b"HTTP/1.1\r\n", last)))
        assert answer.endswith(JPEG) and b"Connection: close" in answer


def test_what_follows_a_head_as_its_body_is_no_request(page: LivePage) -> None:
    second = b"GET /second HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for field in (b"Content-Length: %d" % len(second), b"Transfer-Encoding: chunked"):
        first = head(page, "/state.json?after=x").removesuffix(b"\r\n") + field + b"\r\n\r\n"
        answer = read_all(connect(page, first + second))
        assert answer.startswith(b"HTTP/1.1 200") and answer.count(b"Content-Length") == 1


def test_connections_are_bounded_and_take_no_threads(page: LivePage) -> None:
    threads = threading.active_count()
    holders = [connect(page) for _ in range(QUICK.connections)]
    for _ in range(20):
        answer = read_all(connect(page, head(page, "/")))
        assert answer.startswith(b"HTTP/1.1 503 ")
    assert threading.active_count() == threads
    for holder in holders:
        holder.close()
    assert until(lambda: is_served(page))


def test_a_crowd_that_is_turned_away_is_bounded_too(page: LivePage) -> None:
    holders = [connect(page) for _ in range(QUICK.connections)]
    crowd = [connect(page) for _ in range(40)]  # they do not leave
    answered = sum(is_answered(each) for each in crowd)
    assert 1 <= answered < 20, "while some are turned away politely, more are cut off"
    for each in holders + crowd:
        each.close()
    assert until(lambda: is_served(page))


def is_answered(visitor: socket.socket) -> bool:
    try:
        return visitor.recv(12) == b"HTTP/1.1 503"
    except ConnectionResetError:
        return False


def page_tasks(page: LivePage) -> set[Any]:
    import asyncio

    return asyncio.all_tasks(page._loop)


@pytest.mark.parametrize("drip", [b"G", b"X: y\r\n"])
def test_a_head_that_drips_is_closed(page: LivePage, drip: bytes) -> None:
    visitor = connect(page, b"GET / HTTP/1.1\r\nHost: localhost\r\n")
    begun, drips = time.monotonic(), 0
    with pytest.raises(OSError):
        while True:
            visitor.sendall(drip)
            drips += 1
            time.sleep(0.02)
            assert time.monotonic() - begun < 10, "it was let drip for as long as it liked"
    assert drips > 5
    assert ask(page, "/")[0] == 200


def test_a_slow_viewer_costs_one_picture_and_no_waiting(page: LivePage) -> None:
    """A viewer asks for a picture larger than what sockets hold, and does not read."""
    alive: weakref.WeakSet[Shot] = weakref.WeakSet()
    made = []

    class Shot:
        def __init__(self) -> None:
            alive.add(self)

        def __call__(self) -> bytes:
            made.append(1)
            return bytes(8_000_000)

    page.publish(Shot(), {})
    slow = connect(page, head(page, "/frame.jpg"), receive_bytes=4096)
    assert until(lambda: bool(made))
    for number in range(3000):
        page.publish(Shot(), {"frame": number})
        if number % 500 == 0:
            gc.collect()
            assert len(alive) <= 3
    assert len(made) == 1, "pictures that nobody takes are not made"
    # Others are served meanwhile.
    assert json.loads(ask(page, "/state.json")[2])["state"]["frame"] == 2999
    # Whoever does not take an answer in time is cut off.
    assert until(lambda: len(page_tasks(page)) <= 1)
    with pytest.raises(OSError):
        assert len(read_all(slow)) < 8_000_000
        raise ConnectionResetError


def test_pictures_are_made_when_somebody_looks_and_once_for_all(page: LivePage) -> None:
    made: list[int] = []

    def picture(number: int) -> Callable[[], bytes]:
        return lambda: made.append(number) or b"%d" % number  # type: ignore[func-returns-value]

    assert not page.wanted()
    for number in range(1, 4):
        page.publish(picture(number), {})
    assert made == []
    assert [ask(page, "/frame.jpg")[2] for _ in range(3)] == [b"3"] * 3
    assert made == [3]
    assert page.wanted()


def test_nobody_looks_any_more_after_a_while(page: LivePage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "GONE_S", 0.1)
    waiting = connect(page, head(page, "/frame.jpg"))
    assert until(page.wanted)
    waiting.close()
    assert until(lambda: not page.wanted())


def test_a_viewer_is_told_of_the_next_picture_when_it_comes(page: LivePage) -> None:
    page.publish(lambda: b"first", {})
    status, headers, body = ask(page, "/frame.jpg?after=0")
    assert (status, headers["x-number"], body) == (200, "1", b"first")
    waiting = connect(page, head(page, "/frame.jpg?after=1"))
    time.sleep(0.05)
    page.publish(lambda: b"second", {})
    waiting.shutdown(socket.SHUT_WR)
    answer = read_all(waiting)
    assert answer.endswith(b"\r\n\r\nsecond") and b"X-Number: 2\r\n" in answer
    assert ask(page, "/frame.jpg?after=2")[::2] == (204, b"")
    assert ask(page, "/frame.jpg?after=900")[2] == b"second", "the number of a stream before this one"


def test_what_was_published_before_somebody_looked_is_not_taken_for_now(
    page: LivePage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "GONE_S", 0.05)
    page.publish(lambda: b"old", {})
    time.sleep(0.1)
    waiting = connect(page, head(page, "/frame.jpg?after=0"))
    assert until(page.wanted)
    page.publish(lambda: b"new", {})
    waiting.shutdown(socket.SHUT_WR)
    assert read_all(waiting).endswith(b"new")
    time.sleep(0.1)
    assert ask(page, "/frame.jpg?after=0")[2] == b"new", "better an old one than none"


def test_a_picture_that_cannot_be_made_is_said_in_one_line(page: LivePage) -> None:
    def fails() -> bytes:
        raise ValueError("no\ncolour")

    page.publish(fails, {})
    assert ask(page, "/frame.jpg")[::2] == (500, b"500: the picture could not be made: ValueError: no colour\n")
    page.publish(lambda: JPEG, {})
    assert ask(page, "/frame.jpg")[2] == JPEG


def test_the_state(page: LivePage) -> None:
    assert json.loads(ask(page, "/state.json")[2]) == {
        "number": 0,
        "age_s": None,
        "ended": False,
        "state": {},
        "events": [],
    }
    events = [{"kind": "came", "name": "Ada", "wall_s": time.time() - 60}, {"kind": "lost", "message": "away"}]
    state = {"fps": np.float32(24.5), "drops": np.int64(3), "stages": {"detect": {"p50_ms": math.nan}}}
    page.publish(lambda: JPEG, {**state, "faces": ({"box": np.array([1, 2])},), "events": events})
    events.clear()  # the state was copied
    status, headers, body = ask(page, "/state.json")
    assert status == 200 and headers["cache-control"] == "no-store"
    data = json.loads(body, parse_constant=pytest.fail)
    assert data["number"] == 1 and 0 <= data["age_s"] < 10
    assert data["state"] == {
        "fps": 24.5,
        "drops": 3,
        "stages": {"detect": {"p50_ms": None}},
        "faces": [{"box": [1, 2]}],
    }
    latest, first = data["events"]
    assert latest == {"kind": "lost", "message": "away", "ago_s": None}
    assert first["name"] == "Ada" and 60 <= first["ago_s"] < 70


def test_what_is_no_data_is_refused() -> None:
    assert plain({1: [True, None, "x", 2, -math.inf]}) == {"1": [True, None, "x", 2, None]}
    with pytest.raises(TypeError, match="cannot show a bytes"):
        plain({"name": b"Ada"})


def test_names_cannot_become_markup(page: LivePage) -> None:
    """The page's own script puts them in as text (tests/browser); here what holds if it did not."""
    name = "<script>alert(1)</script>\u2028\ud800"
    page.publish(lambda: JPEG, {"faces": [{"name": name}]})
    _, headers, body = ask(page, "/state.json")
    assert json.loads(body)["state"]["faces"][0]["name"] == name[:-1] + "?"
    assert (headers["content-type"], headers["x-content-type-options"]) == ("application/json", "nosniff")
    _, headers, body = ask(page, "/")
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'" and policy["require-trusted-types-for"] == "'script'"
    assert re.fullmatch(r"'sha256-[\w+/]{43}='", policy["script-src"])
    assert "unsafe" not in str(policy)
    assert headers["x-frame-options"] == "DENY"


def test_the_page_loads_nothing_from_elsewhere() -> None:
    html = Path(page_module.HTML).read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^'\"\s)]+", html)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\bon\w+=|\bstyle=", html)


def test_closing_tells_viewers_and_ends_the_thread() -> None:
    before = set(threading.enumerate())
    limits = Limits(wait_s=60, head_s=60, send_s=60)
    page = LivePage("127.0.0.1", 0, TOKEN, limits)
    page.publish(lambda: bytes(8_000_000), {"frame": 1})
    assert {thread.name for thread in set(threading.enumerate()) - before} == {"edgeface-live-page"}
    waiting = connect(page, head(page, "/state.json?after=1"))
    watching = connect(page, head(page, "/frame.jpg?after=1"))
    dripping = connect(page, b"GET /")
    stuck = connect(page, head(page, "/frame.jpg"), receive_bytes=4096)
    assert until(lambda: len(page_tasks(page)) >= 5)
    page.close()
    assert set(threading.enumerate()) == before
    answer = read_all(waiting)
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["ended"] is True
    assert b"Connection: close" in answer
    assert read_all(watching).startswith(b"HTTP/1.1 204")
    with pytest.raises(OSError):
        connect(page)
    assert not page.wanted()
    page.publish(lambda: JPEG, {})  # does nothing
    page.close()
    for each in (waiting, watching, dripping, stuck):
        each.close()


def test_publishing_from_many_threads(page: LivePage) -> None:
    def publish() -> None:
        for number in range(200):
            page.publish(lambda: JPEG, {"frame": number})

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        assert ask(page, "/frame.jpg")[2] == JPEG
    assert json.loads(ask(page, "/state.json")[2])["number"] == 800
