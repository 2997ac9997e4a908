"""The live page itself: its routes, and the thread that serves them beside the stream.

A viewer asks for each picture, and gets the newest when it has taken the last: a slow one misses pictures, holds none
back, and nothing is queued for it. A picture is encoded when the first viewer asks for it, in the page's thread.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import re
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgeface_runtime.closing import Closing
from edgeface_runtime.serve.address import Address, listen
from edgeface_runtime.serve.board import Board
from edgeface_runtime.serve.guard import Guard, check_token, new_token
from edgeface_runtime.serve.limits import Limits
from edgeface_runtime.serve.request import Request
from edgeface_runtime.serve.response import Response, refuse
from edgeface_runtime.serve.server import Server

__all__ = ["LivePage"]

HTML = Path(__file__).with_name("live.html")
GONE_S = 2.0
"""Nobody looks when nothing was asked for this long; what is older may be from before somebody looked."""


class LivePage(Closing):
    """Shows a stream in browsers until it is closed; a context manager."""

    def __init__(self, host: str, port: int, token: str | None = None, limits: Limits | None = None) -> None:
        """Listen and serve from a background thread.

        Args:
            host: address or name to listen on, as `parse_address` gives it.
            port: 0 takes a free one.
            token: what viewers must know; None makes a new one.
            limits: what visitors may take.

        Raises:
            InputError: the token cannot be one, or the address cannot be listened on.
        """
        self.limits = limits or Limits()
        secret = new_token() if token is None else check_token(token)
        self._html = HTML.read_bytes()
        self._policy = content_policy(self._html)
        self._socket = listen(Address(host, port))
        self.address = Address(host, self._socket.getsockname()[1])
        """Where it listens."""
        self._guard = Guard(secret, self.address)
        self._board = Board()
        self._routes = {"/": self._page, "/frame.jpg": self._frame, "/state.json": self._state}
        shown = socket.gethostname() if host in ("0.0.0.0", "::") else host
        self._url = f"http://{Address(shown, self.address.port)}/?token={secret}"
        self._asked = -GONE_S
        self._waiting = 0
        self._waking = False
        self._ended = False
        self._loop = asyncio.new_event_loop()
        self._stop, self._fresh = asyncio.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="edgeface-live-page", daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """What to open, with the token: for the terminal of who started the stream, and no log."""
        return self._url

    @property
    def warning(self) -> str:
        """What to tell about the address, in one line; empty on a loopback address."""
        return self.address.warning

    def wanted(self) -> bool:
        """Whether anybody is looking: whether it pays to draw."""
        return not self._ended and (self._waiting > 0 or time.monotonic() - self._asked < GONE_S)

    def publish(self, picture: Callable[[], bytes], state: Mapping[str, Any]) -> None:
        """Show a frame. Never waits and keeps only the last; after `close` it does nothing.

        Args:
            picture: gives the frame as a JPEG, annotated. Called at most once, later, in the page's thread, and only
                when somebody looks: what it reads must not change any more.
            state: `fps`, `drops`, `stages` ({name: {p50_ms, p99_ms}}), `faces` ([{track, name or None, score}]) and
                `events`, the latest, oldest first: each has `wall_s` (Unix time, seconds) and `kind`; `came` and
                `changed` are shown by `name` (None is unknown) and `score`, others by `message`. What is missing is
                shown as not known, what is there besides stays unseen. Copied; numpy's numbers will do.

        Raises:
            TypeError: `state` holds what is no data.
        """
        if self._ended:
            return
        self._board.post(picture, state)
        if not self._waking:
            self._waking = True
            self._in_loop(self._wake)

    def close(self) -> None:
        """Tell viewers that the stream has ended, and end the thread."""
        self._ended = True
        self._in_loop(self._stop.set)
        self._in_loop(self._wake)
        self._thread.join()

    def _in_loop(self, call: Callable[[], None]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there to be told
            self._loop.call_soon_threadsafe(call)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._socket.close()
            self._loop.close()

    async def _serve(self) -> None:
        await Server(self._answer, self.limits).run(self._socket, self._stop)
        rest = asyncio.all_tasks() - {asyncio.current_task()}
        await asyncio.gather(*rest, return_exceptions=True)

    def _wake(self) -> None:
        self._waking = False
        waiting, self._fresh = self._fresh, asyncio.Event()
        waiting.set()

    async def _answer(self, request: Request) -> Response:
        refusal = self._guard.refusal(request)
        if refusal is not None:
            return refusal
        route = self._routes.get(request.path)
        return (
            refuse(404, "404: there is only /, /frame.jpg and /state.json") if route is None else await route(request)
        )

    async def _page(self, request: Request) -> Response:
        if "token" in request.query:
            return self._guard.welcome()
        return Response(200, self._html, "text/html; charset=utf-8", policy=self._policy)

    async def _frame(self, request: Request) -> Response:
        """The newest picture; with `?after=N` once it is another than number N, or 204 when none comes."""
        await self._wait_for_news(request)
        number, jpeg, trouble = self._board.picture()
        if trouble:
            return refuse(500, f"500: the picture could not be made: {trouble}")
        if not jpeg or str(number) == request.query.get("after"):
            return Response(204)
        return Response(200, jpeg, "image/jpeg", (("X-Number", str(number)),))

    async def _state(self, request: Request) -> Response:
        """The state; with `?after=N` once it is another than number N, or the same when none comes."""
        await self._wait_for_news(request)
        return Response(200, self._board.to_json(self._ended), "application/json")

    async def _wait_for_news(self, request: Request) -> None:
        """Until there is something else than what the viewer has, and of now: a stream that nobody looked at need not
        have published."""
        known, end = request.query.get("after", "0"), time.monotonic() + self.limits.wait_s
        self._waiting += 1
        try:
            while not self._ended and not self._has_news(known) and (left := end - time.monotonic()) > 0:
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._fresh.wait(), left)
        finally:
            self._waiting -= 1
            self._asked = time.monotonic()

    def _has_news(self, known: str) -> bool:
        return str(self._board.number) != known and self._board.age_s() < GONE_S


def content_policy(html: bytes) -> str:
    """The Content-Security-Policy of a page: its own script and style, by their hashes, and this server's data."""

    def own(tag: bytes) -> str:
        found = re.findall(rb"<%b>(.*?)</%b>" % (tag, tag), html, re.DOTALL)
        return " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'" for text in found)

    return (
        f"default-src 'none'; script-src {own(b'script')}; style-src {own(b'style')}; connect-src 'self'; "
        "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    )
